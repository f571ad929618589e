//! Calls about topics that several callers make at one time, as one call: a broker works on the requests of a connection one after
//! another, and one about a hundred topics takes it hardly longer than one about a single topic.
//!
//! Whoever finds no call under way makes one, with all that wait by then. No task of its own: when the caller that makes a call
//! is dropped, the others in it learn that it was given up, and those that still wait make theirs.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use super::{
    admin::{PerTopic, closed},
    admin_types::{ApiError, NewTopic},
};

/// Something that is asked about one topic.
pub(super) trait AboutTopic: Clone {
    fn topic(&self) -> &str;
}

impl AboutTopic for String {
    fn topic(&self) -> &str {
        self
    }
}

impl AboutTopic for NewTopic {
    fn topic(&self) -> &str {
        &self.name
    }
}

impl<T: Clone> AboutTopic for (String, T) {
    fn topic(&self) -> &str {
        &self.0
    }
}

/// One kind of call. Bounded by its callers: each waits for its own answer.
pub(super) struct Gathered<T, R> {
    /// The most topics in one call, unless a single caller asks about more.
    most: usize,
    waiting: Mutex<VecDeque<Waiting<T, R>>>,
    turn: tokio::sync::Mutex<()>,
}

struct Waiting<T, R> {
    items: Vec<T>,
    answer: oneshot::Sender<Result<PerTopic<R>, ApiError>>,
}

impl<T, R> Waiting<T, R> {
    fn give(self, outcome: Result<PerTopic<R>, ApiError>) {
        // Who does not wait any more needs no answer.
        let _ = self.answer.send(outcome);
    }
}

impl<T: AboutTopic, R> Gathered<T, R> {
    pub(super) fn new(most: usize) -> Self {
        Self { most, waiting: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    pub(super) fn most(&self) -> usize {
        self.most
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Waiting<T, R>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks, together with whoever asks at the same time. `call` makes the call.
    pub(super) async fn ask<F>(
        &self,
        items: Vec<T>,
        call: impl Fn(Vec<T>) -> F,
    ) -> Result<PerTopic<R>, ApiError>
    where
        F: Future<Output = Result<PerTopic<R>, ApiError>>,
    {
        let (answer, mut answered) = oneshot::channel();
        self.waiting().push_back(Waiting { items, answer });
        loop {
            tokio::select! {
                biased;
                outcome = &mut answered => return outcome.unwrap_or_else(|_| Err(closed())),
                _turn = self.turn.lock() => {
                    let some = self.take();
                    if let Some(late) = answer_all(some, &call).await {
                        // They have waited as long for the same broker.
                        self.waiting().drain(..).for_each(|one| one.give(Err(late.clone())));
                    }
                }
            }
        }
    }

    /// The callers of the next call: the longest waiting, and all behind it that fit in and ask about other topics.
    fn take(&self) -> Vec<Waiting<T, R>> {
        let mut waiting = self.waiting();
        let (mut taken, mut topics, mut left) = (Vec::new(), HashSet::new(), VecDeque::new());
        for one in waiting.drain(..) {
            let gone = one.answer.is_closed();
            let fits = topics.is_empty() || topics.len() + one.items.len() <= self.most;
            if gone {
                continue;
            }
            if fits && one.items.iter().all(|item| !topics.contains(item.topic())) {
                topics.extend(one.items.iter().map(|item| item.topic().to_owned()));
                taken.push(one);
            } else {
                left.push_back(one);
            }
        }
        *waiting = left;
        taken
    }
}

/// Makes one call for all of them, and gives each its part of the answer. Returns why the broker did not answer in time, if so.
async fn answer_all<T: AboutTopic, R, F>(
    some: Vec<Waiting<T, R>>,
    call: &impl Fn(Vec<T>) -> F,
) -> Option<ApiError>
where
    F: Future<Output = Result<PerTopic<R>, ApiError>>,
{
    let together = some.iter().flat_map(|one| one.items.iter().cloned()).collect();
    match call(together).await {
        Ok(outcomes) if some.len() > 1 && outcomes.iter().all(|(_, outcome)| is_refused(outcome)) => {
            one_by_one(some, call).await
        }
        Ok(outcomes) => {
            let mut outcomes: HashMap<String, Result<R, ApiError>> = outcomes.into_iter().collect();
            for one in some {
                let names = one.items.iter().map(AboutTopic::topic);
                let mine = names.filter_map(|name| outcomes.remove_entry(name)).collect();
                one.give(Ok(mine));
            }
            None
        }
        Err(error) if some.len() > 1 && !error.is_unreachable() => one_by_one(some, call).await,
        Err(error) => give_up(some, error),
    }
}

/// A call was refused as a whole, which some brokers say of each topic in it. What one of them asks for may be what nobody can be
/// given: the others are not to suffer for it.
async fn one_by_one<T, R, F>(some: Vec<Waiting<T, R>>, call: &impl Fn(Vec<T>) -> F) -> Option<ApiError>
where
    F: Future<Output = Result<PerTopic<R>, ApiError>>,
{
    let mut some = VecDeque::from(some);
    while let Some(mut one) = some.pop_front() {
        match call(std::mem::take(&mut one.items)).await {
            // A broker that is away now is not waited for once more by each.
            Err(error) if error.is_unreachable() => {
                some.push_front(one);
                return give_up(some, error);
            }
            outcome => one.give(outcome),
        }
    }
    None
}

fn give_up<T, R>(some: impl IntoIterator<Item = Waiting<T, R>>, error: ApiError) -> Option<ApiError> {
    some.into_iter().for_each(|one| one.give(Err(error.clone())));
    error.is_late().then_some(error)
}

fn is_refused<R>(outcome: &Result<R, ApiError>) -> bool {
    outcome.as_ref().is_err_and(ApiError::is_invalid_request)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use rdkafka::types::RDKafkaErrorCode;
    use tokio::sync::{Semaphore, mpsc};

    use super::*;

    type Lane = Arc<Gathered<String, usize>>;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// A broker that tells of each call, and answers once it is let.
    #[derive(Clone)]
    struct Broker {
        told: mpsc::UnboundedSender<Vec<String>>,
        lets: Arc<Semaphore>,
    }

    fn broker() -> (Broker, mpsc::UnboundedReceiver<Vec<String>>) {
        let (told, calls) = mpsc::unbounded_channel();
        (Broker { told, lets: Arc::new(Semaphore::new(0)) }, calls)
    }

    impl Broker {
        async fn answer(self, topics: Vec<String>) -> Result<PerTopic<usize>, ApiError> {
            self.told.send(topics.clone()).unwrap();
            self.lets.acquire().await.unwrap().forget();
            let unreachable = topics.iter().any(|topic| topic == "away");
            if unreachable || topics.iter().any(|topic| topic == "bad") {
                let code = if unreachable {
                    RDKafkaErrorCode::OperationTimedOut
                } else {
                    RDKafkaErrorCode::InvalidArgument
                };
                return Err(ApiError::new(code, "no".to_owned()));
            }
            if topics.len() > 1 && topics.iter().any(|topic| topic == "large") {
                let no = || ApiError::new(RDKafkaErrorCode::PolicyViolation, "too much in all".to_owned());
                return Ok(topics.into_iter().map(|topic| (topic, Err(no()))).collect());
            }
            // Not in the order in which they were asked.
            Ok(topics.into_iter().rev().map(|topic| (topic.clone(), Ok(topic.len()))).collect())
        }
    }

    type Asked = tokio::task::JoinHandle<Result<PerTopic<usize>, ApiError>>;

    async fn ask(lane: &Lane, broker: &Broker, topics: &[&str]) -> Asked {
        let (here, broker, topics) = (Arc::clone(lane), broker.clone(), names(topics));
        let asked =
            tokio::spawn(async move { here.ask(topics, |topics| broker.clone().answer(topics)).await });
        // One thread runs everything here: it has asked, or waits for its turn, by then.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        asked
    }

    fn lengths(outcome: Result<PerTopic<usize>, ApiError>) -> Vec<(String, usize)> {
        outcome.unwrap().into_iter().map(|(topic, length)| (topic, length.unwrap())).collect()
    }

    #[tokio::test]
    async fn who_waits_meanwhile_asks_together_and_hears_of_its_own_topics() {
        let (lane, (broker, mut calls)) = (Lane::new(Gathered::new(4)), broker());
        let first = ask(&lane, &broker, &["a"]).await;
        assert_eq!(calls.recv().await.unwrap(), names(&["a"]));
        let second = ask(&lane, &broker, &["bb", "c"]).await;
        let third = ask(&lane, &broker, &["c"]).await;
        let fourth = ask(&lane, &broker, &["ddd", "e"]).await;
        let fifth = ask(&lane, &broker, &["f"]).await;
        broker.lets.add_permits(1);
        assert_eq!(lengths(first.await.unwrap()), [("a".to_owned(), 1)]);
        // The third asks about the same topic, the fifth does not fit in.
        assert_eq!(calls.recv().await.unwrap(), names(&["bb", "c", "ddd", "e"]));
        broker.lets.add_permits(2);
        assert_eq!(lengths(second.await.unwrap()), [("bb".to_owned(), 2), ("c".to_owned(), 1)]);
        assert_eq!(lengths(fourth.await.unwrap()), [("ddd".to_owned(), 3), ("e".to_owned(), 1)]);
        assert_eq!(calls.recv().await.unwrap(), names(&["c", "f"]));
        assert_eq!(lengths(third.await.unwrap()), [("c".to_owned(), 1)]);
        assert_eq!(lengths(fifth.await.unwrap()), [("f".to_owned(), 1)]);
    }

    /// One caller may ask about more than all others together may.
    #[tokio::test]
    async fn a_large_question_is_asked_alone() {
        let (lane, (broker, mut calls)) = (Lane::new(Gathered::new(2)), broker());
        broker.lets.add_permits(1);
        let asked = ask(&lane, &broker, &["a", "b", "c"]).await;
        assert_eq!(calls.recv().await.unwrap().len(), 3);
        assert_eq!(lengths(asked.await.unwrap()).len(), 3);
    }

    #[tokio::test]
    async fn what_is_refused_as_a_whole_fails_only_who_asked_for_it() {
        let (lane, (broker, mut calls)) = (Lane::new(Gathered::new(9)), broker());
        let first = ask(&lane, &broker, &["a"]).await;
        let (bad, good) = (ask(&lane, &broker, &["bad"]).await, ask(&lane, &broker, &["good"]).await);
        broker.lets.add_permits(4);
        assert!(first.await.unwrap().is_ok());
        assert!(bad.await.unwrap().is_err());
        assert_eq!(lengths(good.await.unwrap()), [("good".to_owned(), 4)]);
        for expected in [&["a"][..], &["bad", "good"], &["bad"], &["good"]] {
            assert_eq!(calls.recv().await.unwrap(), names(expected));
        }
    }

    /// Kafka's controller says so of more than ten thousand partitions in one call.
    #[tokio::test]
    async fn what_is_refused_of_each_for_what_all_ask_together_is_asked_for_alone() {
        let (lane, (broker, mut calls)) = (Lane::new(Gathered::new(9)), broker());
        let first = ask(&lane, &broker, &["a"]).await;
        let (large, small) = (ask(&lane, &broker, &["large"]).await, ask(&lane, &broker, &["small"]).await);
        broker.lets.add_permits(4);
        assert!(first.await.unwrap().is_ok());
        assert_eq!(lengths(large.await.unwrap()), [("large".to_owned(), 5)]);
        assert_eq!(lengths(small.await.unwrap()), [("small".to_owned(), 5)]);
        for expected in [&["a"][..], &["large", "small"], &["large"], &["small"]] {
            assert_eq!(calls.recv().await.unwrap(), names(expected));
        }
    }

    /// To ask once more for each would take the whole time once more for each.
    #[tokio::test]
    async fn a_broker_that_is_away_is_asked_once() {
        let (lane, (broker, mut calls)) = (Lane::new(Gathered::new(2)), broker());
        let away = ask(&lane, &broker, &["away"]).await;
        let mut all = vec![away];
        for topic in ["b", "c", "d"] {
            all.push(ask(&lane, &broker, &[topic]).await);
        }
        assert_eq!(calls.recv().await.unwrap(), names(&["away"]));
        broker.lets.add_permits(1);
        for asked in all {
            assert!(asked.await.unwrap().unwrap_err().is_unreachable());
        }
        assert!(calls.try_recv().is_err());
    }

    /// Who makes the call is dropped: who shares it learns so, who waits behind it goes on.
    #[tokio::test]
    async fn nobody_waits_for_ever_for_a_caller_that_is_gone() {
        let (lane, (broker, mut calls)) = (Lane::new(Gathered::new(2)), broker());
        let first = ask(&lane, &broker, &["a"]).await;
        let (second, third) = (ask(&lane, &broker, &["b"]).await, ask(&lane, &broker, &["c", "d"]).await);
        calls.recv().await.unwrap();
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        assert_eq!(calls.recv().await.unwrap(), names(&["b"]));
        broker.lets.add_permits(2);
        assert!(second.await.unwrap().is_ok());
        assert_eq!(lengths(third.await.unwrap()).len(), 2);

        let first = ask(&lane, &broker, &["a"]).await;
        let (second, third) = (ask(&lane, &broker, &["b"]).await, ask(&lane, &broker, &["c"]).await);
        broker.lets.add_permits(1);
        assert!(first.await.unwrap().is_ok());
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        second.abort();
        let gone = third.await.unwrap();
        assert!(gone.is_err(), "{gone:?}");
    }

    /// However many ask at once, each is answered, and there are far fewer calls than callers.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_thousand_callers_make_few_calls() {
        let (lane, calls) = (Arc::new(Gathered::<String, usize>::new(100)), Arc::new(AtomicUsize::new(0)));
        let callers = (0..1_000).map(|i| {
            let (lane, calls) = (Arc::clone(&lane), Arc::clone(&calls));
            tokio::spawn(async move {
                let topic = format!("t{i}");
                let outcome = lane.ask(vec![topic.clone()], |topics| {
                    calls.fetch_add(1, Ordering::SeqCst);
                    async move {
                        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                        Ok(topics.into_iter().map(|topic| (topic.clone(), Ok(topic.len()))).collect())
                    }
                });
                assert_eq!(lengths(outcome.await), [(topic.clone(), topic.len())]);
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap();
        }
        let calls = calls.load(Ordering::SeqCst);
        assert!(calls < 500, "{calls} calls");
    }
}
