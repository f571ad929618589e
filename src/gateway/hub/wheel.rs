/// When each stream of a shard is due next: one timer for all of them. Scheduling and expiry cost the same for any number.
#[derive(Debug)]
pub(crate) struct Wheel {
    slots: Vec<Vec<(u64, u64)>>,
    /// Ticks since the start.
    now: u64,
}

/// Ticks a second.
pub(crate) const TICKS_PER_SECOND: u64 = 4;
/// How far ahead the wheel reaches: 64 s. What is due later is looked at on the way.
const SLOTS: u64 = 256;

impl Wheel {
    pub(crate) fn new() -> Self {
        Self { slots: (0..SLOTS).map(|_| Vec::new()).collect(), now: 0 }
    }

    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// Has `id` come up at tick `at`, at the earliest one tick from now and at the latest at the wheel's reach; gives the tick.
    pub(crate) fn schedule(&mut self, id: u64, at: u64) -> u64 {
        let at = at.clamp(self.now + 1, self.now + SLOTS - 1);
        if let Some(slot) = self.slots.get_mut(usize::try_from(at % SLOTS).unwrap_or(0)) {
            slot.push((id, at));
        }
        at
    }

    /// Moves on by so many ticks; gives what is due by then, each once, with the tick that it was scheduled for.
    pub(crate) fn pass(&mut self, ticks: u64) -> Vec<(u64, u64)> {
        let mut due = Vec::new();
        // Nothing is scheduled beyond one turn.
        for at in self.now + 1..=self.now + ticks.min(SLOTS) {
            let slot = usize::try_from(at % SLOTS).unwrap_or(0);
            if let Some(slot) = self.slots.get_mut(slot) {
                // Taken whole: what room a crowded moment took is not kept.
                due.extend(std::mem::take(slot));
            }
        }
        self.now += ticks;
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_comes_up_once_and_in_time() {
        let mut wheel = Wheel::new();
        assert_eq!(wheel.schedule(1, 3), 3);
        assert_eq!(wheel.schedule(2, 0), 1, "the past is the next tick");
        assert_eq!(wheel.schedule(3, 10_000), SLOTS - 1, "beyond its reach is its reach");
        let mut seen = Vec::new();
        for _ in 0..2 * SLOTS {
            let now = wheel.now() + 1;
            seen.extend(wheel.pass(1).into_iter().map(|(id, at)| (now, id, at)));
        }
        assert_eq!(seen, [(1, 2, 1), (3, 1, 3), (SLOTS - 1, 3, SLOTS - 1)]);
    }

    #[test]
    fn after_a_stall_all_that_is_overdue_comes_up_at_once() {
        for stall in [10, SLOTS, 10 * SLOTS + 3] {
            let mut wheel = Wheel::new();
            wheel.pass(SLOTS - 5);
            let now = wheel.now();
            let due = [(1, now + 2), (2, now + 9), (3, now + SLOTS - 1)];
            due.iter().for_each(|(id, at)| assert_eq!(wheel.schedule(*id, *at), *at));
            let overdue = due.iter().filter(|(_, at)| *at <= now + stall).count();
            assert_eq!((wheel.pass(0).len(), wheel.pass(stall)), (0, due[..overdue].to_vec()), "{stall}");
            assert_eq!(wheel.now(), now + stall);
            assert_eq!(wheel.pass(SLOTS), due[overdue..], "{stall}");
        }
    }
}
