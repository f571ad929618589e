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
}

/// What is wrong with a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
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
    /// Another bound for the number of chat workers.
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

/// A hundred faults hold each class so often.
const DECK: [(Class, usize); 20] = {
    use Service::{Controller, Gateway, Worker};
    [
        (Class::Kill(Worker), 9),
        (Class::Kill(Gateway), 7),
        (Class::Kill(Controller), 4),
        (Class::Freeze(Worker), 7),
        (Class::Freeze(Gateway), 6),
        (Class::Freeze(Controller), 4),
        (Class::Terminate(Worker), 5),
        (Class::Terminate(Gateway), 5),
        (Class::Terminate(Controller), 2),
        (Class::Broker, 4),
        (Class::BrokersRoll, 1),
        (Class::QuorumLoss, 1),
        (Class::Postgres, 10),
        (Class::Failover, 1),
        (Class::DiskFull, 2),
        (Class::Network, 20),
        (Class::Clock, 4),
        (Class::ApiServer, 2),
        (Class::Pool, 5),
        (Class::Roll, 1),
    ]
};

#[derive(Clone, Copy)]
enum Class {
    Kill(Service),
    Freeze(Service),
    Terminate(Service),
    Broker,
    BrokersRoll,
    QuorumLoss,
    Postgres,
    Failover,
    DiskFull,
    Network,
    Clock,
    ApiServer,
    Pool,
    Roll,
}

/// The first `count` faults of a seed: hundred after hundred, each shuffled.
pub(super) fn schedule(seed: u64, count: usize) -> Vec<Fault> {
    let mut dice = Dice(seed);
    let mut faults = Vec::with_capacity(count);
    // The n-th card of a class takes its n-th shape, so that no shape waits for luck.
    let mut nth = [0_u64; 5];
    while faults.len() < count {
        let mut deck: Vec<Class> =
            DECK.iter().flat_map(|(class, times)| std::iter::repeat_n(*class, *times)).collect();
        for last in (1..deck.len()).rev() {
            let other = usize::try_from(dice.below(last as u64 + 1)).expect("small");
            deck.swap(last, other);
        }
        for class in deck {
            faults.push(deal(class, &mut nth, &mut dice));
        }
    }
    faults.truncate(count);
    faults
}

fn deal(class: Class, nth: &mut [u64; 5], dice: &mut Dice) -> Fault {
    let mut turn = |of: usize| {
        nth[of] += 1;
        nth[of] - 1
    };
    let broker = u16::try_from(dice.below(3)).expect("small");
    match class {
        Class::Kill(service) => Fault::Kill(service, dice.roll()),
        Class::Freeze(service) => Fault::Freeze(service, dice.roll(), dice.millis(500, 6_000)),
        Class::Terminate(service) => Fault::Terminate(service, dice.roll()),
        Class::Broker if turn(0) % 2 == 0 => Fault::BrokerKill(broker),
        Class::Broker => Fault::BrokerFreeze(broker, dice.millis(1_000, 6_000)),
        Class::BrokersRoll => Fault::BrokersRoll,
        Class::QuorumLoss => Fault::QuorumLoss,
        Class::Postgres => match turn(1) % 4 {
            0 => Fault::PostgresKill,
            1 => Fault::PostgresRestart,
            2 => Fault::PostgresFreeze(dice.millis(500, 5_000)),
            _ => Fault::PostgresCut,
        },
        Class::DiskFull if turn(2) % 2 == 0 => Fault::PostgresDiskFull(dice.millis(1_000, 3_000)),
        Class::DiskFull => Fault::BrokerDiskFull(broker, dice.millis(1_000, 3_000)),
        Class::Network => {
            const LINKS: [Link; 8] = [
                Link::WorkersKafka,
                Link::GatewaysKafka,
                Link::ControllersKafka,
                Link::WorkersPostgres,
                Link::GatewaysPostgres,
                Link::ControllersApi,
                Link::Browsers,
                Link::Brokers,
            ];
            const TROUBLES: [Trouble; 6] = [
                Trouble::Delay,
                Trouble::Loss,
                Trouble::Reset,
                Trouble::Refused,
                Trouble::HalfOpen,
                Trouble::OneWay,
            ];
            // After 24 turns the pairs would come again: from there on each link has its next trouble. All 48 come in turn.
            let turn = usize::try_from(turn(3)).expect("small");
            let (link, trouble) = (LINKS[turn % 8], TROUBLES[(turn + turn / 24) % 6]);
            Fault::Network(link, dice.roll(), trouble, dice.millis(500, 4_000))
        }
        Class::Failover => Fault::PostgresFailover(dice.millis(0, 1_500)),
        Class::Clock => {
            const SERVICES: [Service; 3] = [Service::Worker, Service::Gateway, Service::Controller];
            const WRONG_BY: [i64; 4] = [45, -45, 3_600, -3_600];
            let turn = usize::try_from(turn(4)).expect("small");
            Fault::Clock(SERVICES[turn % 3], dice.roll(), WRONG_BY[turn % 4], dice.millis(1_000, 4_000))
        }
        Class::ApiServer => Fault::ApiServerKill,
        Class::Pool if dice.below(5) < 2 => Fault::Grow,
        Class::Pool => Fault::Scale(2 + i32::try_from(dice.below(3)).expect("small")),
        Class::Roll => Fault::Roll,
    }
}

impl Fault {
    /// Whether it is done to a server, of which one at a time is enough.
    pub(super) fn alone(&self) -> bool {
        match self {
            Self::Kill(..) | Self::Freeze(..) | Self::Terminate(..) | Self::Clock(..) => false,
            Self::Network(link, ..) => *link == Link::Brokers,
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

#[test]
fn a_seed_is_a_schedule_and_every_hundred_holds_every_class() {
    assert_eq!(schedule(7, 250), schedule(7, 250));
    assert_ne!(schedule(7, 100), schedule(8, 100));
    assert_eq!(schedule(7, 250)[..100], schedule(7, 100));
    assert_eq!(DECK.iter().map(|(_, times)| times).sum::<usize>(), 100);
    for seed in 0..50 {
        let faults = schedule(seed, 200);
        let of = |half: &[Fault]| half.iter().map(Fault::class).collect::<std::collections::BTreeSet<_>>();
        let (first, second) = (of(&faults[..100]), of(&faults[100..]));
        assert!(first.len() >= 32 && second.len() >= 32, "{first:?}");
        let pairs = |faults: &[Fault]| {
            let network = faults.iter().filter_map(|fault| match fault {
                Fault::Network(link, _, trouble, _) => Some(format!("{link:?} {trouble:?}")),
                _ => None,
            });
            network.collect::<std::collections::BTreeSet<_>>().len()
        };
        assert_eq!(pairs(&faults[..100]), 20, "no pair comes twice in a hundred");
    }
    let all: std::collections::BTreeSet<String> = schedule(1, 300)
        .iter()
        .filter_map(|fault| match fault {
            Fault::Network(link, _, trouble, _) => Some(format!("{link:?} {trouble:?}")),
            _ => None,
        })
        .collect();
    assert_eq!(all.len(), 48, "every trouble comes to every link");
}
