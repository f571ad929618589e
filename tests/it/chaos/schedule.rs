//! Which faults come, in what order: decided by a seed alone, so that a run can be had again.

use std::{fmt, time::Duration};

/// What a fault is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    Worker,
    Gateway,
    Controller,
}

/// A network between two sorts of parties; what lies behind it is chosen by a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Link {
    /// Workers to one broker.
    WorkersKafka,
    /// Gateways to one broker.
    GatewaysKafka,
    /// Controllers to one broker.
    ControllersKafka,
    /// Workers to PostgreSQL.
    WorkersPostgres,
    /// Gateways to PostgreSQL.
    GatewaysPostgres,
    /// Controllers to the API server.
    ControllersApi,
    /// Browsers to one gateway.
    Browsers,
    /// Brokers to one of them.
    Brokers,
    /// The API server to etcd.
    ApiEtcd,
    /// PostgreSQL's synchronous standby, which stands by for that long, to PostgreSQL.
    Standby,
}

/// What is wrong with a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Everything takes longer.
    Delay,
    /// What TCP makes of lost packets: now and then nothing comes for a while.
    Loss,
    /// All connections break.
    Reset,
    /// No connection can be made, and those that were are gone.
    Refused,
    /// Connections stay open, and nothing passes on them ever again.
    HalfOpen,
    /// What is sent arrives, answers do not.
    OneWay,
}

/// One fault. `who` chooses among those that there are at its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Kill(Service, u64),
    Freeze(Service, u64, Duration),
    Terminate(Service, u64),
    BrokerKill(u16),
    BrokerFreeze(u16, Duration),
    /// Each broker restarted, one after another.
    BrokersRoll,
    /// Two of three brokers killed at once: no controller quorum, no in-sync replicas.
    QuorumLoss,
    PostgresKill,
    PostgresRestart,
    PostgresFreeze(Duration),
    /// All connections of workers and gateways ended by the server.
    PostgresCut,
    /// PostgreSQL killed, and its standby promoted; for this long everybody finds the standby while it is none but that.
    PostgresFailover(Duration),
    /// No room on PostgreSQL's disk.
    PostgresDiskFull(Duration),
    /// No room on one broker's disk.
    BrokerDiskFull(u16, Duration),
    Network(Link, u64, Trouble, Duration),
    /// A process whose clock is wrong by so many seconds for a while, and then right again.
    Clock(Service, u64, i64, Duration),
    ApiServerKill,
    /// One more partition for messages; the controller follows with workers.
    Grow,
    /// The chat pool brought down to one worker, and then up to this many at most.
    Scale(i32),
    /// Every service replaced, one by one.
    Roll,
}

/// SplitMix64: the same numbers on every machine and with every version of any library.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

/// A hundred faults hold each of these so often, beside every trouble of every link once.
const DECK: [(Class, usize); 23] = {
    use Service::{Controller, Gateway, Worker};
    [
        (Class::Kill(Worker), 3),
        (Class::Kill(Gateway), 2),
        (Class::Kill(Controller), 2),
        (Class::Freeze(Worker), 2),
        (Class::Freeze(Gateway), 2),
        (Class::Freeze(Controller), 2),
        (Class::Terminate(Worker), 2),
        (Class::Terminate(Gateway), 2),
        (Class::Terminate(Controller), 2),
        (Class::BrokerKill, 1),
        (Class::BrokerFreeze, 1),
        (Class::BrokersRoll, 1),
        (Class::QuorumLoss, 1),
        (Class::PostgresKill, 1),
        (Class::PostgresRestart, 1),
        (Class::PostgresFreeze, 1),
        (Class::PostgresCut, 1),
        (Class::Failover, 1),
        (Class::PostgresDiskFull, 1),
        (Class::BrokerDiskFull, 1),
        (Class::ApiServer, 1),
        (Class::Grow, 1),
        (Class::Roll, 1),
    ]
};
/// How wrong clocks get. Each comes once in a hundred; whose clock it is goes round, so that each service has one in a hundred too.
const WRONG_BY: [i64; 4] = [45, -45, 3_600, -3_600];
/// Between so many workers the pool of a resize ends.
const BOUNDS: [i32; 3] = [2, 3, 4];
pub(super) const LINKS: [Link; 10] = [
    Link::WorkersKafka,
    Link::GatewaysKafka,
    Link::ControllersKafka,
    Link::WorkersPostgres,
    Link::GatewaysPostgres,
    Link::ControllersApi,
    Link::Browsers,
    Link::Brokers,
    Link::ApiEtcd,
    Link::Standby,
];
const TROUBLES: [Trouble; 6] =
    [Trouble::Delay, Trouble::Loss, Trouble::Reset, Trouble::Refused, Trouble::HalfOpen, Trouble::OneWay];

#[derive(Clone, Copy)]
enum Class {
    Kill(Service),
    Freeze(Service),
    Terminate(Service),
    BrokerKill,
    BrokerFreeze,
    BrokersRoll,
    QuorumLoss,
    PostgresKill,
    PostgresRestart,
    PostgresFreeze,
    PostgresCut,
    Failover,
    PostgresDiskFull,
    BrokerDiskFull,
    Network(Link, Trouble),
    Clock(Service, i64),
    ApiServer,
    Grow,
    Scale(i32),
    Roll,
}

/// All cards of one hundred, in order.
fn hundred(nth: usize) -> Vec<Class> {
    const SERVICES: [Service; 3] = [Service::Worker, Service::Gateway, Service::Controller];
    let mut deck: Vec<Class> =
        DECK.iter().flat_map(|(class, times)| std::iter::repeat_n(*class, *times)).collect();
    deck.extend(LINKS.iter().flat_map(|link| TROUBLES.map(|trouble| Class::Network(*link, trouble))));
    let clocks = (0..).zip(WRONG_BY);
    deck.extend(clocks.map(|(n, wrong_by)| Class::Clock(SERVICES[(nth + n) % 3], wrong_by)));
    deck.extend(BOUNDS.map(Class::Scale));
    deck
}

/// The first `count` faults of a seed: hundred after hundred, each shuffled.
pub(super) fn schedule(seed: u64, count: usize) -> Vec<Fault> {
    let mut dice = Dice(seed);
    let mut faults = Vec::with_capacity(count);
    for nth in 0.. {
        if faults.len() >= count {
            break;
        }
        let mut deck = hundred(nth);
        for last in (1..deck.len()).rev() {
            let other = usize::try_from(dice.below(last as u64 + 1)).expect("small");
            deck.swap(last, other);
        }
        faults.extend(deck.into_iter().map(|class| deal(class, &mut dice)));
    }
    faults.truncate(count);
    faults
}

fn deal(class: Class, dice: &mut Dice) -> Fault {
    let broker = u16::try_from(dice.below(3)).expect("small");
    match class {
        Class::Kill(service) => Fault::Kill(service, dice.roll()),
        Class::Freeze(service) => Fault::Freeze(service, dice.roll(), dice.millis(500, 6_000)),
        Class::Terminate(service) => Fault::Terminate(service, dice.roll()),
        Class::BrokerKill => Fault::BrokerKill(broker),
        Class::BrokerFreeze => Fault::BrokerFreeze(broker, dice.millis(1_000, 6_000)),
        Class::BrokersRoll => Fault::BrokersRoll,
        Class::QuorumLoss => Fault::QuorumLoss,
        Class::PostgresKill => Fault::PostgresKill,
        Class::PostgresRestart => Fault::PostgresRestart,
        Class::PostgresFreeze => Fault::PostgresFreeze(dice.millis(500, 5_000)),
        Class::PostgresCut => Fault::PostgresCut,
        Class::Failover => Fault::PostgresFailover(dice.millis(0, 1_500)),
        Class::PostgresDiskFull => Fault::PostgresDiskFull(dice.millis(1_000, 3_000)),
        Class::BrokerDiskFull => Fault::BrokerDiskFull(broker, dice.millis(1_000, 3_000)),
        // Long enough that somebody comes by: quiet links speak once a second.
        Class::Network(link, trouble) => {
            Fault::Network(link, dice.roll(), trouble, dice.millis(1_500, 4_000))
        }
        Class::Clock(service, wrong_by) => {
            Fault::Clock(service, dice.roll(), wrong_by, dice.millis(1_000, 4_000))
        }
        Class::ApiServer => Fault::ApiServerKill,
        Class::Grow => Fault::Grow,
        Class::Scale(most) => Fault::Scale(most),
        Class::Roll => Fault::Roll,
    }
}

impl Fault {
    /// Whether it is done to a server, of which one at a time is enough.
    pub(super) fn alone(&self) -> bool {
        match self {
            Self::Kill(..) | Self::Freeze(..) | Self::Terminate(..) | Self::Clock(..) => false,
            Self::Network(link, ..) => matches!(link, Link::Brokers | Link::ApiEtcd | Link::Standby),
            _ => true,
        }
    }

    /// The class by which recovery times are told.
    pub(super) fn class(&self) -> String {
        match self {
            Self::Kill(service, _) => format!("{service:?} killed"),
            Self::Freeze(service, ..) => format!("{service:?} frozen for up to 6 s"),
            Self::Terminate(service, _) => format!("{service:?} asked to stop"),
            Self::BrokerKill(_) => "Broker killed".to_owned(),
            Self::BrokerFreeze(..) => "Broker frozen for up to 6 s".to_owned(),
            Self::BrokersRoll => "Brokers restarted one by one".to_owned(),
            Self::QuorumLoss => "Two of three brokers killed".to_owned(),
            Self::PostgresKill => "PostgreSQL killed".to_owned(),
            Self::PostgresRestart => "PostgreSQL restarted".to_owned(),
            Self::PostgresFreeze(_) => "PostgreSQL frozen for up to 5 s".to_owned(),
            Self::PostgresCut => "PostgreSQL's connections ended".to_owned(),
            Self::PostgresFailover(_) => "PostgreSQL killed, its standby promoted".to_owned(),
            Self::PostgresDiskFull(_) => "PostgreSQL's disk full".to_owned(),
            Self::BrokerDiskFull(..) => "A broker's disk full".to_owned(),
            Self::Network(Link::ApiEtcd, ..) => "Network between API server and etcd".to_owned(),
            Self::Network(Link::Standby, ..) => "Network between PostgreSQL and its standby".to_owned(),
            Self::Network(_, _, trouble, _) => format!("Network: {trouble:?}"),
            Self::Clock(_, _, wrong_by, _) => format!("A clock wrong by {wrong_by} s"),
            Self::ApiServerKill => "API server killed".to_owned(),
            Self::Grow => "Partitions added".to_owned(),
            Self::Scale(_) => "Pool resized".to_owned(),
            Self::Roll => "All services replaced one by one".to_owned(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn pairs(faults: &[Fault]) -> BTreeSet<String> {
        let pair = |fault: &Fault| match fault {
            Fault::Network(link, _, trouble, _) => Some(format!("{link:?} {trouble:?}")),
            _ => None,
        };
        faults.iter().filter_map(pair).collect()
    }

    /// What a hundred must hold, told from the faults and not from the deck.
    fn lacks(faults: &[Fault]) -> Vec<String> {
        let classes: BTreeSet<String> = faults.iter().map(Fault::class).collect();
        let pairs = pairs(faults);
        let mut lacks = Vec::new();
        for service in ["Worker", "Gateway", "Controller"] {
            for what in ["killed", "frozen for up to 6 s", "asked to stop"] {
                lacks.push(format!("{service} {what}"));
            }
        }
        lacks.extend(
            [
                "Broker killed",
                "Broker frozen for up to 6 s",
                "Brokers restarted one by one",
                "Two of three brokers killed",
                "PostgreSQL killed",
                "PostgreSQL restarted",
                "PostgreSQL frozen for up to 5 s",
                "PostgreSQL's connections ended",
                "PostgreSQL killed, its standby promoted",
                "PostgreSQL's disk full",
                "A broker's disk full",
                "A clock wrong by 45 s",
                "A clock wrong by -45 s",
                "A clock wrong by 3600 s",
                "A clock wrong by -3600 s",
                "API server killed",
                "Partitions added",
                "Pool resized",
                "All services replaced one by one",
            ]
            .map(str::to_owned),
        );
        lacks.retain(|class| !classes.contains(class));
        for link in LINKS {
            for trouble in TROUBLES {
                let pair = format!("{link:?} {trouble:?}");
                lacks.extend((!pairs.contains(&pair)).then_some(pair));
            }
        }
        for service in [Service::Worker, Service::Gateway, Service::Controller] {
            let wrong = |fault: &Fault| matches!(fault, Fault::Clock(of, ..) if *of == service);
            lacks.extend((!faults.iter().any(wrong)).then(|| format!("the clock of a {service:?}")));
        }
        lacks
    }

    #[test]
    fn a_seed_is_a_schedule() {
        assert_eq!(schedule(7, 250), schedule(7, 250));
        assert_ne!(schedule(7, 100), schedule(8, 100));
        assert_eq!(schedule(7, 250)[..100], schedule(7, 100));
        assert_eq!(hundred(0).len(), 100);
        let mut poorer = schedule(7, 100);
        poorer.retain(|fault| {
            !matches!(fault, Fault::Grow | Fault::Network(Link::Browsers, _, Trouble::Loss, _))
        });
        assert_eq!(lacks(&poorer), ["Partitions added", "Browsers Loss"], "what is not there is missed");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn every_hundred_holds_every_class_and_every_trouble_of_every_link(seed in any::<u64>(), nth in 0_usize..10) {
            let faults = schedule(seed, 100 * (nth + 1));
            let lacks = lacks(&faults[100 * nth..]);
            prop_assert!(lacks.is_empty(), "hundred {} of seed {}: {:?}", nth, seed, lacks);
        }
    }
}
