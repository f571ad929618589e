//! What one client may take: streams and requests, counted per process. Streams are never refused with an error status, which would
//! stop the browser for ever (WHATWG HTML section 9.2.3); they are told to come back later.

mod buckets;
mod streams;

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use axum::http::{HeaderMap, HeaderName};

use self::{buckets::Buckets, streams::Streams};
pub(crate) use streams::Permit;

use super::{http::Problem, metrics::Metrics, settings::LimitArgs};
use crate::ids::{RoomId, SessionKey, UserId};

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Limits(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    address_header: Option<HeaderName>,
    users: Buckets<UserId>,
    addresses: Buckets<IpAddr>,
    rooms: Buckets<RoomId>,
    sign_ins: Buckets<IpAddr>,
    streams: Streams,
    metrics: Metrics,
}

impl Limits {
    pub(crate) fn new(args: &LimitArgs, metrics: &Metrics) -> Self {
        Self(Arc::new(Inner {
            address_header: args.client_address_header.clone(),
            users: Buckets::new(args.requests_per_user),
            addresses: Buckets::new(args.requests_per_address),
            rooms: Buckets::new(args.messages_per_room),
            sign_ins: Buckets::new(args.sign_ins_per_address),
            streams: Streams::new(args),
            metrics: metrics.clone(),
        }))
    }

    /// The client's address: the connection's other end, or, when a trusted proxy is configured, what its header says and nothing
    /// else. Of several in a list the last one, which the proxy itself has written.
    pub(crate) fn client_address(&self, headers: &HeaderMap, peer: IpAddr) -> IpAddr {
        let Some(name) = &self.0.address_header else { return peer.to_canonical() };
        let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
        let last = lines.flat_map(|line| line.split(',')).next_back();
        last.and_then(|text| text.trim().parse::<IpAddr>().ok()).unwrap_or(peer).to_canonical()
    }

    /// One more request of this user.
    pub(crate) fn user(&self, user: &UserId) -> Result<(), Problem> {
        self.take("requests_per_user", self.0.users.take(user.clone()))
    }

    /// One more request from this address, of nobody who is known.
    pub(crate) fn address(&self, address: IpAddr) -> Result<(), Problem> {
        self.take("requests_per_address", self.0.addresses.take(network(address)))
    }

    /// A request that was counted against its address turns out to be this user's: it counts against them, and no longer there.
    pub(crate) fn belongs_to(&self, user: &UserId, address: IpAddr) -> Result<(), Problem> {
        self.0.addresses.give_back(&network(address));
        self.user(user)
    }

    /// One more message to this room.
    pub(crate) fn room(&self, room: RoomId) -> Result<(), Problem> {
        self.take("messages_per_room", self.0.rooms.take(room))
    }

    /// One more sign-up, login, or logout of a session that is not known, from this address.
    pub(crate) fn sign_in(&self, address: IpAddr) -> Result<(), Problem> {
        self.take("sign_ins_per_address", self.0.sign_ins.take(network(address)))
    }

    fn take(&self, limit: &'static str, taken: Result<(), Duration>) -> Result<(), Problem> {
        taken.map_err(|wait| {
            self.0.metrics.limited_total.with_label_values(&[limit]).inc();
            let seconds = u32::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX).max(1);
            Problem::rate_limited("too many requests; wait a moment", seconds)
        })
    }

    /// How long a browser is to wait before it comes back when its stream breaks.
    pub(crate) fn retry(&self) -> Duration {
        self.0.streams.retry()
    }

    /// One more stream; or why not, and when to come back.
    pub(crate) fn stream(
        &self,
        address: IpAddr,
        session: SessionKey,
    ) -> Result<Permit, (&'static str, Duration)> {
        self.0.streams.admit(network(address), session)
    }
}

/// Whoever has one address of an IPv6 network has all of its /64: they count as one.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Instant;

    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        limits: LimitArgs,
    }

    pub(crate) fn limits(args: &[&str]) -> Limits {
        let args = Cli::parse_from([&["x"], args].concat()).limits;
        Limits::new(&args, &Metrics::register(&crate::process::metrics::Registry::new()).unwrap())
    }

    #[test]
    fn the_address_comes_from_the_configured_header_only() {
        let peer: IpAddr = "10.0.0.1".parse().unwrap();
        let headers = HeaderMap::from_iter([
            ("x-forwarded-for".parse().unwrap(), "1.1.1.1, 2.2.2.2".parse().unwrap()),
            ("x-real-ip".parse().unwrap(), "3.3.3.3".parse().unwrap()),
        ]);
        assert_eq!(limits(&[]).client_address(&headers, peer), peer);
        let behind = limits(&["--client-address-header", "X-Forwarded-For"]);
        assert_eq!(behind.client_address(&headers, peer), IpAddr::from([2, 2, 2, 2]));
        assert_eq!(behind.client_address(&HeaderMap::new(), peer), peer);
    }

    /// Whole seconds since then: in a slow test the buckets fill meanwhile.
    fn seconds(start: Instant) -> usize {
        usize::try_from(start.elapsed().as_secs()).unwrap()
    }

    #[test]
    fn a_full_bucket_refuses_with_the_time_to_wait() {
        let limits = limits(&["--requests-per-user", "2"]);
        let (bob, amy): (UserId, UserId) = ("bob".parse().unwrap(), "amy".parse().unwrap());
        let start = Instant::now();
        let taken = (0..100).take_while(|_| limits.user(&bob).is_ok()).count();
        assert!((8..=9 + 2 * seconds(start)).contains(&taken), "a burst of four seconds: {taken}");
        assert!(limits.user(&amy).is_ok(), "others are not touched");
        assert_eq!(network("2001:db8::1".parse().unwrap()), network("2001:db8::ffff:1".parse().unwrap()));
    }

    #[test]
    fn what_turns_out_to_be_a_users_does_not_count_against_the_address() {
        let limits = limits(&["--requests-per-address", "1", "--requests-per-user", "1"]);
        let here: IpAddr = [127, 0, 0, 1].into();
        let start = Instant::now();
        for n in 0..50 {
            let user: UserId = format!("user-{n}").parse().unwrap();
            assert!(limits.address(here).is_ok() && limits.belongs_to(&user, here).is_ok(), "{n}");
        }
        let strangers = (0..50).take_while(|_| limits.address(here).is_ok()).count();
        assert!(
            (4..=5 + seconds(start)).contains(&strangers),
            "no more than a burst was given back: {strangers}"
        );
        let bob: UserId = "bob".parse().unwrap();
        let taken = (0..50).take_while(|_| limits.belongs_to(&bob, here).is_ok()).count();
        assert!((4..=5 + seconds(start)).contains(&taken), "and the user's own limit holds: {taken}");
    }

    #[test]
    fn the_time_to_come_back_grows_with_the_streams_that_are_here() {
        let limits = limits(&["--max-connects-per-second", "10", "--max-unknown-streams-per-address", "100"]);
        assert!((1..=3).contains(&limits.retry().as_secs()));
        let here: Vec<_> =
            (0..40).map(|n| limits.stream([127, 0, 0, 1].into(), SessionKey([n; 32])).unwrap()).collect();
        let waits: Vec<Duration> = (0..50).map(|_| limits.retry()).collect();
        let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
        assert!(
            least.as_secs() >= 3 && most.as_secs() <= 9 && *most > *least * 2,
            "2 s + 4 s, spread: {waits:?}"
        );
        drop(here);
        assert!(limits.retry().as_secs() <= 3);
    }

    #[test]
    fn streams_count_by_address_until_they_are_known_and_then_by_user() {
        let limits = limits(&["--max-unknown-streams-per-address", "2", "--max-streams-per-user", "1"]);
        let here: IpAddr = [127, 0, 0, 1].into();
        let session = |n| SessionKey([n; 32]);
        let one = limits.stream(here, session(1)).unwrap();
        let two = limits.stream(here, session(2)).unwrap();
        let (why, first) = limits.stream(here, session(3)).unwrap_err();
        assert_eq!(why, "unknown_streams_per_address");
        assert!(limits.stream([10, 0, 0, 1].into(), session(3)).is_ok(), "others are not touched");
        let waits: Vec<Duration> = (0..6).map(|_| limits.stream(here, session(3)).unwrap_err().1).collect();
        assert!(waits[5] > first * 2, "longer each time: {first:?} {waits:?}");
        let bob: UserId = "bob".parse().unwrap();
        assert!(one.belongs_to(&bob) && one.belongs_to(&bob));
        assert!(!two.belongs_to(&bob), "one stream of one user");
        drop(limits.stream(here, session(3)).unwrap());
        drop(one);
        assert!(two.belongs_to(&bob), "given back");
    }
}
