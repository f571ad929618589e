use super::*;
use crate::kafka::admin::PartitionDescription;

#[test]
fn topics_that_are_set_alike_share_it_for_as_long_as_they_are() {
    let mut state = State::default();
    let of = |days: u32| BTreeMap::from([("retention.ms".to_owned(), (days * 86_400_000).to_string())]);
    let (a, b, c) = (state.shared(of(1)), state.shared(of(1)), state.shared(of(2)));
    assert!(Arc::ptr_eq(&a, &b) && !Arc::ptr_eq(&a, &c));
    drop(c);
    state.drop_unwanted();
    assert_eq!(state.configs, BTreeSet::from([a]));
}

fn keys(keys: &[&str]) -> Keys {
    Keys::new(keys.iter().map(|key| (*key).to_owned()).collect())
}

fn topic(id: &str) -> Live {
    let config = Ok(Arc::default());
    Live::Present(LiveTopic {
        id: id.to_owned(),
        partitions: 1,
        replicas: 1,
        settling: false,
        led: true,
        config,
    })
}

/// Regression: what was read with other keys passed for all that there is.
#[test]
fn a_key_that_was_not_asked_for_is_not_known() {
    let (t, set) = ("t".to_owned(), SetKey { namespace: "ns".to_owned(), name: "s".to_owned() });
    let (mut state, started) = (State::default(), Instant::now());
    let mut news = BTreeSet::new();
    let mut look = |state: &mut State, asked: Option<&[&str]>, id: &str, after: u64| {
        let asked = asked.map(|asked| Wanted::from([(t.clone(), keys(asked))]));
        let seen = BTreeMap::from([(t.clone(), topic(id))]);
        state.take_in(seen, started + Duration::from_secs(after), asked.as_ref(), &mut news);
    };
    state.wanted.insert(set.clone(), Wanted::from([(t.clone(), keys(&["a"]))]));
    look(&mut state, None, "id", 1);
    assert!(!state.topics["t"].knows(&keys(&["a"])) && state.topics["t"].knows(&keys(&[])));
    look(&mut state, Some(&["a"]), "id", 2);
    assert!(state.topics["t"].knows(&keys(&["a"])));
    // Another key is declared, and looked at; a look that had begun with the old keys ends after it.
    state.wanted.insert(set.clone(), Wanted::from([(t.clone(), keys(&["a", "b"]))]));
    assert!(!state.topics["t"].knows(&keys(&["a", "b"])));
    look(&mut state, Some(&["a", "b"]), "id", 3);
    look(&mut state, Some(&["a"]), "id", 4);
    assert!(state.topics["t"].knows(&keys(&["a", "b"])));
    // It leaves the spec.
    state.wanted.insert(set, Wanted::from([(t.clone(), keys(&["a"]))]));
    look(&mut state, Some(&["a"]), "id", 5);
    assert!(!state.topics["t"].knows(&keys(&["b"])));
    look(&mut state, None, "another", 6);
    assert!(!state.topics["t"].knows(&keys(&["a"])), "of a topic that was made anew nothing is known");
}

#[test]
fn only_what_is_not_as_it_was_is_news() {
    let present = |partitions: i32, days: u32| {
        let of = BTreeMap::from([("retention.ms".to_owned(), (days * 86_400_000).to_string())]);
        Live::Present(LiveTopic {
            id: "id".to_owned(),
            partitions,
            replicas: 1,
            settling: false,
            led: true,
            config: Ok(of.into()),
        })
    };
    let mut state = State::default();
    let started = Instant::now();
    let asked = Wanted::from([("t".to_owned(), Keys::new(["retention.ms".to_owned()].into()))]);
    let mut look = |partitions: i32, days: u32, after: u64, configs: bool| {
        let mut changed = BTreeSet::new();
        let seen = BTreeMap::from([("t".to_owned(), present(partitions, days))]);
        state.take_in(seen, started + Duration::from_secs(after), configs.then_some(&asked), &mut changed);
        assert!(state.topics["t"].knows(&asked["t"]));
        let known = &state.topics["t"];
        (!changed.is_empty(), known.live == present(partitions, days), (known.at - started).as_secs())
    };
    assert_eq!(look(1, 1, 10, true), (true, true, 10), "the first look");
    assert_eq!(look(1, 1, 20, true), (false, true, 20));
    assert_eq!(look(1, 2, 30, false), (false, false, 30), "configuration was not looked at");
    assert_eq!(look(2, 1, 40, false), (true, true, 40));
    assert_eq!(look(2, 2, 50, true), (true, true, 50));
    assert_eq!(look(3, 2, 45, true), (false, false, 50), "looked at meanwhile");
}

/// Two sets may name one topic: who owns it and who would take it after that both want to know their keys.
#[test]
fn everybody_is_asked_for() {
    let set = |name: &str| SetKey { namespace: "ns".to_owned(), name: name.to_owned() };
    let (t, u) = ("t".to_owned(), "u".to_owned());
    let first = keys(&["a", "b"]);
    let mut state = State::default();
    state
        .wanted
        .insert(set("first"), Wanted::from([(t.clone(), Arc::clone(&first)), (u.clone(), keys(&[]))]));
    state.wanted.insert(set("second"), Wanted::from([(t.clone(), keys(&["c"]))]));
    let all = Wanted::from([(t.clone(), keys(&["a", "b", "c"])), (u.clone(), keys(&[]))]);
    assert_eq!(state.all_wanted(), all);
    assert_eq!(state.keys_of([&t]), Wanted::from([(t.clone(), keys(&["a", "b", "c"]))]));
    state.wanted.remove(&set("second"));
    assert!(Arc::ptr_eq(&state.all_wanted()[&t], &first), "nothing is copied");
    assert_eq!(state.keys_of([&"nobody's".to_owned()]), Wanted::from([("nobody's".to_owned(), keys(&[]))]));
}

/// Partitions first, seen by all brokers, then the workers.
#[test]
fn growth_is_known_when_the_last_broker_knows_it() {
    let answer = |partitions: usize, has_leader: bool| -> PerTopic<TopicDescription> {
        let partition = PartitionDescription { replicas: 1, in_sync: 1, has_leader };
        let topic = TopicDescription { id: "id".to_owned(), partitions: vec![partition; partitions] };
        vec![("t".to_owned(), Ok(topic)), ("other".to_owned(), Err(ApiError::unseen("other")))]
    };
    let grown = BTreeMap::from([("t".to_owned(), 3), ("other".to_owned(), 1)]);
    let t = BTreeSet::from(["t".to_owned()]);
    assert_eq!(known_by_all(&grown, &[answer(3, true), answer(4, true)]), t);
    for late in [answer(2, true), answer(3, false), Vec::new()] {
        assert_eq!(known_by_all(&grown, &[answer(3, true), late]), BTreeSet::new());
    }
    assert_eq!(known_by_all(&grown, &[]), BTreeSet::new(), "nobody answered");
}
