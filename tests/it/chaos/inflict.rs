//! Doing a fault to the stage, seeing that it takes hold, and undoing what does not undo itself. Recovery is the platform's own
//! business.

use std::{io::Write as _, path::Path, sync::Arc, time::Duration};

use parley::wire::{CHAT_EVENT, DEAD_LETTER, Kind};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    clock::Clock,
    effect::{Effect, PATIENCE, becomes, end, ends, freeze, tree},
    network::Relay,
    schedule::{Fault, Link, Service, Trouble},
    stage::{CHAT, Stage, local},
};
use crate::fixtures::{Postgres, eventually, free_ports};

/// Partitions for messages at most: what a run of a thousand faults asks for, one in a hundred.
const MOST_PARTITIONS: i64 = 12;

fn pick<T: Clone>(from: &[T], who: u64) -> Option<T> {
    let index = usize::try_from(who % u64::try_from(from.len().max(1)).expect("few")).expect("few");
    from.get(index).cloned()
}

fn effect(took: bool, or: &str) -> Effect {
    if took { Ok(()) } else { Err(or.to_owned()) }
}

impl Stage {
    /// Does it and comes back when the cause is gone.
    pub(super) async fn inflict(&self, fault: Fault) -> Effect {
        match fault {
            Fault::Kill(service, who) => ends(self.signalled(service, who, "KILL")?).await,
            Fault::Terminate(service, who) => ends(self.signalled(service, who, "TERM")?).await,
            Fault::Freeze(service, who, time) => {
                let name = self.victim(service, who)?;
                freeze(&[self.services.pid(&name).ok_or("it is gone")?], time).await
            }
            Fault::BrokerKill(node) => {
                let took = end(self.kafka.pid(node), "KILL").await;
                self.brokers_again().await;
                took
            }
            Fault::BrokerFreeze(node, time) => {
                let took = freeze(&[self.kafka.pid(node)], time).await;
                self.brokers_again().await;
                took
            }
            Fault::BrokersRoll => {
                let mut took = Ok(());
                for node in 0..3 {
                    took = took.and(end(self.kafka.pid(node), "TERM").await);
                    self.brokers_again().await;
                }
                took
            }
            Fault::QuorumLoss => {
                let took = end(self.kafka.pid(0), "KILL").await.and(end(self.kafka.pid(1), "KILL").await);
                sleep(Duration::from_secs(2)).await;
                self.brokers_again().await;
                took
            }
            Fault::PostgresKill => self.postgres_ends("KILL").await,
            Fault::PostgresRestart => self.postgres_ends("INT").await,
            // The postmaster alone would leave its sessions at work.
            Fault::PostgresFreeze(time) => freeze(&tree(self.postgres().pid()), time).await,
            Fault::PostgresCut => {
                let url = self.postgres().url("postgres", "parley");
                let sql = "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename IN ('parley_worker', 'parley_gateway')";
                // Where the fault before took the connections, there are soon others.
                let ended = || async {
                    let mut psql = tokio::process::Command::new("psql");
                    let told = psql.args(["-XqAt", "-d", &url, "-c", sql]).output().await.expect("psql runs");
                    String::from_utf8_lossy(&told.stdout).trim().parse::<u64>().is_ok_and(|ended| ended > 0)
                };
                effect(becomes(PATIENCE, ended).await, "PostgreSQL ended no connection")
            }
            Fault::PostgresFailover(blind) => self.postgres_fails_over(blind).await,
            Fault::PostgresDiskFull(time) => {
                let data = self.postgres().data();
                let full = fill(&data);
                sleep(time).await;
                empty(&data);
                self.postgres_again().await;
                effect(full, "there was room left")
            }
            Fault::BrokerDiskFull(node, time) => {
                let data = self.kafka.data(node);
                let full = fill(&data);
                sleep(time).await;
                empty(&data);
                // A broker without room for its log takes itself out of service.
                self.brokers_again().await;
                effect(full, "there was room left")
            }
            Fault::Network(Link::Standby, _, trouble, time) => self.standby_troubled(trouble, time).await,
            Fault::Network(link, who, trouble, time) => {
                let relays = &self.relays[&link];
                let first = usize::try_from(who % relays.len() as u64).expect("few");
                let mut met = 0;
                // Some ways are seldom taken: then it is the next one's turn.
                for turn in 0..relays.len() {
                    met = relays[(first + turn) % relays.len()].disturb(trouble, time).await;
                    if met > 0 {
                        break;
                    }
                }
                match link {
                    Link::Brokers => self.brokers_again().await,
                    Link::ApiEtcd => self.api_again().await,
                    _ => {}
                }
                effect(met > 0, "nobody came by meanwhile")
            }
            Fault::Clock(service, who, wrong_by, time) => {
                let clock = Clock::of(&self.victim(service, who)?);
                clock.set_wrong_by(wrong_by);
                let seen = || std::future::ready(clock.seen_wrong_by() == wrong_by);
                // Who is being replaced meanwhile looks at it later.
                let ((), seen) = tokio::join!(sleep(time), becomes(PATIENCE, seen));
                clock.set_wrong_by(0);
                effect(seen, "nobody looked at the clock meanwhile")
            }
            // It comes back only when the one before has ended.
            Fault::ApiServerKill => {
                tokio::task::block_in_place(|| self.api.kill_and_start_again());
                Ok(())
            }
            Fault::Grow => self.grow().await,
            Fault::Scale(most) => self.resize(most).await,
            Fault::Roll => {
                let mut took = Ok(());
                for service in [Service::Controller, Service::Worker, Service::Gateway] {
                    for name in self.services.victims(service) {
                        let before = self.services.pid(&name);
                        self.services.signal(&name, "TERM");
                        eventually(&format!("{name} to be replaced"), || async {
                            self.services.ready(&name).await.then_some(())
                        })
                        .await;
                        let same = before.is_some() && self.services.pid(&name) == before;
                        took = took.and(effect(!same, &format!("{name} was not replaced")));
                    }
                }
                took
            }
        }
    }

    fn victim(&self, service: Service, who: u64) -> Result<String, String> {
        pick(&self.services.victims(service), who).ok_or_else(|| format!("there is no {service:?}"))
    }

    /// Sends one of them a signal; its process number.
    fn signalled(&self, service: Service, who: u64, signal: &str) -> Result<u32, String> {
        let name = self.victim(service, who)?;
        let sent = self.services.signal(&name, signal);
        sent.ok_or_else(|| format!("{name} had ended a moment before"))
    }

    async fn partitions(&self) -> Option<usize> {
        let topic = Kind::AddChat.request_topic().to_owned();
        let described = self.admin.describe_topics(vec![topic]).await.ok()?;
        Some(described.into_iter().next()?.1.ok()?.partitions.len())
    }

    /// One more partition for messages, in the set and then in Kafka.
    async fn grow(&self) -> Effect {
        let before = eventually("the partitions to be known", || self.partitions()).await;
        let mut at_most = false;
        self.edit_soon(|spec| {
            let topics = spec["topics"].as_array_mut().expect("topics").iter_mut();
            for topic in topics.filter(|topic| topic["name"] == Kind::AddChat.request_topic()) {
                let now = topic["partitions"].as_i64().unwrap_or(2);
                at_most = now >= MOST_PARTITIONS;
                topic["partitions"] = json!((now + 1).min(MOST_PARTITIONS));
            }
        })
        .await?;
        if at_most {
            return Err(format!("there are {MOST_PARTITIONS} already, the most of a run"));
        }
        let grown = || async { self.partitions().await.is_some_and(|now| now > before) };
        effect(becomes(PATIENCE, grown).await, "the topic did not grow")
    }

    /// The chat pool down to one worker, and when it is so, up again.
    async fn resize(&self, most: i32) -> Effect {
        let bound = |most: i32| {
            move |spec: &mut Value| {
                let pools = spec["workers"].as_array_mut().expect("workers").iter_mut();
                for pool in pools.filter(|pool| pool["scaleTargetRef"]["name"] == CHAT) {
                    pool["scaling"]["maxReplicas"] = json!(most);
                }
            }
        };
        let workers = || {
            let names = self.services.names(Service::Worker);
            names.iter().filter(|name| name.starts_with(CHAT)).count()
        };
        self.edit_soon(bound(1)).await?;
        let shrank = becomes(PATIENCE, || std::future::ready(workers() == 1)).await;
        self.edit_soon(bound(most)).await?;
        let grew = becomes(PATIENCE, || std::future::ready(workers() > 1)).await;
        effect(shrank, "the pool did not shrink").and(effect(grew, "the pool did not grow"))
    }

    /// Changes the set, until the API server takes it.
    async fn edit_soon(&self, mut change: impl FnMut(&mut Value)) -> Effect {
        for _ in 0..6 {
            if self.edit(&mut change).await {
                return Ok(());
            }
            sleep(Duration::from_secs(1)).await;
        }
        Err("the API server did not take it".to_owned())
    }

    /// Starts brokers that have ended, and waits until all replicas are in sync: another broker may go then. One whose disk was full
    /// may end a while later.
    async fn brokers_again(&self) {
        eventually("all replicas in sync", || async {
            tokio::task::block_in_place(|| self.kafka.start_again_soon());
            let topics = Kind::ALL.iter().flat_map(|kind| [kind.request_topic(), kind.response_topic()]);
            let topics = topics.chain([CHAT_EVENT, DEAD_LETTER, "__consumer_offsets"]);
            let described = self.admin.describe_topics(topics.map(str::to_owned).collect()).await.ok()?;
            let mut partitions = Vec::new();
            for (_, topic) in described {
                partitions.extend(topic.ok()?.partitions);
            }
            partitions.iter().all(|one| one.has_leader && one.in_sync == one.replicas).then_some(())
        })
        .await;
    }

    async fn postgres_ends(&self, how: &str) -> Effect {
        let took = end(self.postgres().pid(), how).await;
        self.postgres_again().await;
        took
    }

    async fn postgres_again(&self) {
        tokio::task::block_in_place(|| self.postgres().start_again());
    }

    /// The API server answers from what etcd holds.
    async fn api_again(&self) {
        eventually("the API server to reach etcd", || async {
            let sets = self.sets();
            let asked = tokio::time::timeout(Duration::from_secs(5), sets.get("chat")).await;
            asked.is_ok_and(|set| set.is_ok()).then_some(())
        })
        .await;
    }

    /// A synchronous standby of this server, which it finds at that port, once it has everything: from now on what is committed
    /// waits for it.
    async fn stands_by(&self, of: &Postgres, at: u16) -> Postgres {
        let standby = tokio::task::block_in_place(|| {
            // Of a connection on which nothing passes any more either side knows after this, not after a minute.
            of.configure(&[
                "wal_sender_timeout = '2s'",
                "wal_receiver_timeout = '2s'",
                "wal_retrieve_retry_interval = '500ms'",
            ]);
            let standby = of.standby(at, Some(self.disk_mib));
            of.configure(&["synchronous_standby_names = '*'"]);
            standby
        });
        has_everything(of).await;
        standby
    }

    /// A synchronous standby to which the network is disturbed: what is committed waits until it is heard of again.
    async fn standby_troubled(&self, trouble: Trouble, time: Duration) -> Effect {
        let of = self.postgres();
        let at = free_ports(1);
        let relay = Relay::start(local(at), local(of.port())).await;
        let standby = self.stands_by(&of, at).await;
        let met = relay.disturb(trouble, time).await;
        // A standby that connects waits for an answer without end (libpqwalreceiver knows no timeout); what ends that wait is TCP's
        // keepalive where the other side is gone.
        relay.hang_up();
        has_everything(&of).await;
        tokio::task::block_in_place(|| {
            of.configure(&["synchronous_standby_names = ''"]);
            drop(standby);
        });
        effect(met > 0, "nobody came by meanwhile")
    }

    /// The standby is a synchronous one, so that it has what was committed when the other is killed. For a while everybody finds
    /// it who looks for the database, and it takes no writes yet.
    async fn postgres_fails_over(&self, blind: Duration) -> Effect {
        let old = self.postgres();
        let standby = Arc::new(self.stands_by(&old, old.port()).await);
        let took = end(old.pid(), "KILL").await;
        self.lead_to(Arc::clone(&standby));
        sleep(blind).await;
        tokio::task::block_in_place(|| standby.promote());
        took
    }
}

/// Waits until the one synchronous standby of this server has all that is written now.
async fn has_everything(of: &Postgres) {
    let written = tokio::task::block_in_place(|| of.query("SELECT pg_current_wal_flush_lsn()"));
    let state = format!("SELECT state, sync_state, flush_lsn >= '{written}' FROM pg_stat_replication");
    eventually("the standby to have everything", || async {
        (tokio::task::block_in_place(|| of.query(&state)) == "streaming|sync|t").then_some(())
    })
    .await;
}

/// Takes all room that a disk has left; whether it was told that there is no more.
fn fill(disk: &Path) -> bool {
    let mut file = std::fs::File::create(disk.join("ballast")).expect("a file can be made");
    let mut full = false;
    for block in [1 << 20, 4096] {
        let zeros = vec![0; block];
        full = loop {
            if let Err(error) = file.write_all(&zeros) {
                break error.kind() == std::io::ErrorKind::StorageFull;
            }
        };
    }
    full
}

fn empty(disk: &Path) {
    std::fs::remove_file(disk.join("ballast")).expect("it was made");
}
