//! Doing a fault to the stage, and undoing what does not undo itself. Recovery is the platform's own business.

use std::{io::Write as _, path::Path, process::Command, sync::Arc, time::Duration};

use parley::wire::{CHAT_EVENT, DEAD_LETTER, Kind};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{
    clock::Clock,
    schedule::{Fault, Link, Service},
    stage::{CHAT, Stage},
};
use crate::fixtures::eventually;

/// What a server may take to end by itself.
const GRACE: Duration = Duration::from_secs(10);
/// Partitions for messages at most: a run of a thousand faults asks for more than sense.
const MOST_PARTITIONS: i64 = 8;

fn pick<T: Clone>(from: &[T], who: u64) -> Option<T> {
    let index = usize::try_from(who % u64::try_from(from.len().max(1)).expect("few")).expect("few");
    from.get(index).cloned()
}

impl Stage {
    /// Does it and comes back when the cause is gone.
    pub(super) async fn inflict(&self, fault: Fault) {
        match fault {
            Fault::Kill(service, who) => self.to_one(service, who, "KILL"),
            Fault::Terminate(service, who) => self.to_one(service, who, "TERM"),
            Fault::Freeze(service, who, time) => {
                let Some(name) = pick(&self.services.names(service), who) else { return };
                self.services.signal(&name, "STOP");
                sleep(time).await;
                self.services.signal(&name, "CONT");
            }
            Fault::BrokerKill(node) => {
                self.kafka.try_signal(node, "KILL");
                self.brokers_again().await;
            }
            Fault::BrokerFreeze(node, time) => {
                self.kafka.try_signal(node, "STOP");
                sleep(time).await;
                self.kafka.try_signal(node, "CONT");
                self.brokers_again().await;
            }
            Fault::BrokersRoll => {
                for node in 0..3 {
                    end(self.kafka.pid(node), "TERM").await;
                    self.brokers_again().await;
                }
            }
            Fault::QuorumLoss => {
                self.kafka.try_signal(0, "KILL");
                self.kafka.try_signal(1, "KILL");
                sleep(Duration::from_secs(2)).await;
                self.brokers_again().await;
            }
            Fault::PostgresKill => self.postgres_ends("KILL").await,
            Fault::PostgresRestart => self.postgres_ends("INT").await,
            Fault::PostgresFreeze(time) => {
                // The postmaster alone would leave its sessions at work.
                let all = tree(self.postgres().pid());
                signal(&all, "STOP");
                sleep(time).await;
                signal(&all, "CONT");
            }
            Fault::PostgresCut => {
                let url = self.postgres().url("postgres", "parley");
                let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename IN ('parley_worker', 'parley_gateway')";
                let _ = tokio::process::Command::new("psql")
                    .args(["-XqAt", "-d", &url, "-c", sql])
                    .output()
                    .await;
            }
            Fault::PostgresFailover(blind) => self.postgres_fails_over(blind).await,
            Fault::PostgresDiskFull(time) => {
                let data = self.postgres().data();
                fill(&data);
                sleep(time).await;
                empty(&data);
                self.postgres_again().await;
            }
            Fault::BrokerDiskFull(node, time) => {
                let data = self.kafka.data(node);
                fill(&data);
                sleep(time).await;
                empty(&data);
                // A broker without room for its log takes itself out of service.
                self.brokers_again().await;
            }
            Fault::Network(link, who, trouble, time) => {
                let relays = &self.relays[&link];
                let chosen = usize::try_from(who % relays.len() as u64).expect("few");
                relays[chosen].disturb(trouble, time).await;
                if link == Link::Brokers {
                    self.brokers_again().await;
                }
            }
            Fault::Clock(service, who, wrong_by, time) => {
                let Some(name) = pick(&self.services.names(service), who) else { return };
                let clock = Clock::of(&name);
                clock.set_wrong_by(wrong_by);
                sleep(time).await;
                clock.set_wrong_by(0);
            }
            Fault::ApiServerKill => tokio::task::block_in_place(|| self.api.kill_and_start_again()),
            Fault::Grow => {
                self.edit(|spec| {
                    let topics = spec["topics"].as_array_mut().expect("topics").iter_mut();
                    for topic in topics.filter(|topic| topic["name"] == "user-add-chat-request") {
                        let more = topic["partitions"].as_i64().unwrap_or(2) + 1;
                        topic["partitions"] = json!(more.min(MOST_PARTITIONS));
                    }
                })
                .await;
            }
            Fault::Scale(most) => {
                self.edit(|spec| {
                    let pools = spec["workers"].as_array_mut().expect("workers").iter_mut();
                    for pool in pools.filter(|pool| pool["scaleTargetRef"]["name"] == CHAT) {
                        pool["scaling"]["maxReplicas"] = json!(most);
                    }
                })
                .await;
            }
            Fault::Roll => {
                for service in [Service::Controller, Service::Worker, Service::Gateway] {
                    for name in self.services.names(service) {
                        self.services.signal(&name, "TERM");
                        eventually(&format!("{name} to be replaced"), || async {
                            self.services.ready(&name).await.then_some(())
                        })
                        .await;
                    }
                }
            }
        }
    }

    fn to_one(&self, service: Service, who: u64, signal: &str) {
        if let Some(name) = pick(&self.services.names(service), who) {
            self.services.signal(&name, signal);
        }
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

    async fn postgres_ends(&self, how: &str) {
        end(self.postgres().pid(), how).await;
        self.postgres_again().await;
    }

    async fn postgres_again(&self) {
        tokio::task::block_in_place(|| self.postgres().start_again());
    }

    /// The standby is a synchronous one, so that it has what was committed when the other is killed. For a while everybody finds
    /// it who looks for the database, and it takes no writes yet.
    async fn postgres_fails_over(&self, blind: Duration) {
        let old = self.postgres();
        let standby = tokio::task::block_in_place(|| {
            let standby = old.standby(Some(self.disk_mib));
            old.query("ALTER SYSTEM SET synchronous_standby_names = '*'");
            old.query("SELECT pg_reload_conf()");
            Arc::new(standby)
        });
        eventually("the standby to have everything", || async {
            let state = old.query("SELECT state, sync_state FROM pg_stat_replication");
            (state == "streaming|sync").then_some(())
        })
        .await;
        end(old.pid(), "KILL").await;
        self.lead_to(Arc::clone(&standby));
        sleep(blind).await;
        tokio::task::block_in_place(|| standby.promote());
    }
}

fn signal(pids: &[u32], signal: &str) {
    let mut kill = Command::new("kill");
    kill.arg(format!("-{signal}")).args(pids.iter().map(u32::to_string)).stderr(std::process::Stdio::null());
    // One of them may have ended a moment ago.
    let _ = kill.status();
}

/// A process and those that it started.
fn tree(pid: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    std::iter::once(pid).chain(children.split_whitespace().filter_map(|child| child.parse().ok())).collect()
}

/// Asks a process to end and, as Kubernetes does, ends it by force when it takes too long.
async fn end(pid: u32, how: &str) {
    let asked = Instant::now();
    signal(&[pid], how);
    eventually(&format!("process {pid} to end"), || async {
        if asked.elapsed() > GRACE {
            signal(&[pid], "KILL");
        }
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat.rsplit(") ").next().unwrap_or_default();
        (state.is_empty() || state.starts_with('Z')).then_some(())
    })
    .await;
}

/// Takes all room that a disk has left.
fn fill(disk: &Path) {
    let mut file = std::fs::File::create(disk.join("ballast")).expect("a file can be made");
    for block in [1 << 20, 4096] {
        let zeros = vec![0; block];
        while file.write_all(&zeros).is_ok() {}
    }
}

fn empty(disk: &Path) {
    std::fs::remove_file(disk.join("ballast")).expect("it was made");
}
