//! Who leads, judged from the lease record alone. Pure.
//!
//! Time is counted on our own monotonic clock from the moment *we* saw the record change, never from the `renewTime`
//! that another node's clock wrote.

use std::time::Duration;

use tokio::time::Instant;

/// The parts of a lease record that matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// Who holds it; none or empty when it was released.
    pub(crate) holder: Option<String>,
    /// For how long, from each renewal.
    pub(crate) duration: Duration,
    /// Changes with every write of anybody.
    pub(crate) version: String,
}

/// A record and when we first saw it as it is.
#[derive(Clone, Debug)]
pub(crate) struct Observed {
    pub(crate) record: Record,
    pub(crate) since: Instant,
}

impl Observed {
    /// Takes in a read: the time moves only when the record did.
    pub(crate) fn update(seen: Option<Self>, record: Record, now: Instant) -> Self {
        match seen {
            Some(before) if before.record == record => before,
            _ => Self { record, since: now },
        }
    }
}

/// What to do about the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// There is no record: make one with our name.
    Create,
    /// It is free, or its holder has not renewed it in time: take it.
    Take,
    /// It is ours: renew it.
    Renew,
    /// Somebody else's, for at least so much longer.
    Wait(Duration),
}

/// Decides.
pub(crate) fn evaluate(lease: Option<&Observed>, me: &str, now: Instant) -> Action {
    let Some(seen) = lease else { return Action::Create };
    match seen.record.holder.as_deref() {
        None | Some("") => Action::Take,
        Some(holder) if holder == me => Action::Renew,
        Some(_) => {
            let left = (seen.since + seen.record.duration).saturating_duration_since(now);
            if left.is_zero() { Action::Take } else { Action::Wait(left) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(7);

    fn record(holder: Option<&str>, version: &str) -> Record {
        Record { holder: holder.map(str::to_owned), duration: TTL, version: version.to_owned() }
    }

    #[test]
    fn decisions() {
        let start = Instant::now();
        let seen = |holder| Observed { record: record(holder, "1"), since: start };
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(evaluate(None, "me", start), Action::Create);
        assert_eq!(evaluate(Some(&seen(None)), "me", start), Action::Take);
        assert_eq!(evaluate(Some(&seen(Some(""))), "me", start), Action::Take);
        assert_eq!(evaluate(Some(&seen(Some("me"))), "me", at(100)), Action::Renew);
        assert_eq!(evaluate(Some(&seen(Some("other"))), "me", at(3)), Action::Wait(Duration::from_secs(4)));
        assert_eq!(evaluate(Some(&seen(Some("other"))), "me", at(7)), Action::Take);
    }

    #[test]
    fn only_a_changed_record_starts_the_clock_again() {
        let start = Instant::now();
        let later = start + Duration::from_secs(5);
        let first = Observed::update(None, record(Some("other"), "1"), start);
        let same = Observed::update(Some(first.clone()), record(Some("other"), "1"), later);
        assert_eq!(same.since, start);
        let renewed = Observed::update(Some(first), record(Some("other"), "2"), later);
        assert_eq!(renewed.since, later);
    }
}
