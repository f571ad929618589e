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

    /// Moves on by one tick; gives what is due, with the tick that it was scheduled for.
    pub(crate) fn tick(&mut self) -> Vec<(u64, u64)> {
        self.now += 1;
        let slot = usize::try_from(self.now % SLOTS).unwrap_or(0);
        self.slots.get_mut(slot).map(std::mem::take).unwrap_or_default()
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
            seen.extend(wheel.tick().into_iter().map(|(id, at)| (now, id, at)));
        }
        assert_eq!(seen, [(1, 2, 1), (3, 1, 3), (SLOTS - 1, 3, SLOTS - 1)]);
    }
}
