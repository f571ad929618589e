//! The processes of the platform, kept running: what Kubernetes would do, without nodes. A process that ends is started again;
//! a pool has as many workers as the controller asked for.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use kube::{
    Api,
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::json;

use super::{clock::Clock, schedule::Service, soak::Held};
use crate::fixtures::Binary;

/// How one process is started.
#[derive(Clone)]
pub(super) struct Recipe {
    pub(super) service: Service,
    pub(super) name: String,
    pub(super) args: Vec<String>,
    pub(super) env: Vec<(String, String)>,
}

/// How the n-th process of a pool is started.
pub(super) type Cook = Box<dyn Fn(usize) -> Recipe + Send + Sync>;

struct Slot {
    recipe: Recipe,
    process: Binary,
    /// Somebody ended or froze it on purpose.
    excused: bool,
}

/// All processes of the platform.
#[derive(Clone, Default)]
pub(super) struct Services(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    slots: Vec<Slot>,
    /// Those that no fault ends, freezes or sets wrong: what they hold is watched.
    spared: Vec<String>,
    /// Ends that nobody asked for.
    unasked: Vec<String>,
    /// The most resident memory that any process of a service took, in KiB.
    memory: HashMap<&'static str, u64>,
}

fn program(service: Service) -> &'static str {
    match service {
        Service::Worker => "worker",
        Service::Gateway => "gateway",
        Service::Controller => "controller",
    }
}

fn start(recipe: &Recipe) -> Binary {
    let args: Vec<&str> = recipe.args.iter().map(String::as_str).collect();
    let clock = Clock::of(&recipe.name).env();
    let env = recipe.env.iter().chain(&clock);
    let env: Vec<(&str, &str)> = env.map(|(name, value)| (name.as_str(), value.as_str())).collect();
    Binary::start(program(recipe.service), &args, &env)
}

impl Services {
    fn locked(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics while it is held")
    }

    pub(super) fn add(&self, recipe: Recipe) {
        let process = start(&recipe);
        self.locked().slots.push(Slot { recipe, process, excused: false });
    }

    /// The processes of a service, by name.
    pub(super) fn names(&self, service: Service) -> Vec<String> {
        let state = self.locked();
        let of = state.slots.iter().filter(|slot| slot.recipe.service == service);
        of.map(|slot| slot.recipe.name.clone()).collect()
    }

    /// From now on faults are done to others than these.
    pub(super) fn spare(&self, names: &[&str]) {
        self.locked().spared = names.iter().map(|name| (*name).to_owned()).collect();
    }

    /// Those of a service that faults may be done to.
    pub(super) fn victims(&self, service: Service) -> Vec<String> {
        let mut names = self.names(service);
        names.retain(|name| !self.locked().spared.contains(name));
        names
    }

    /// The process number of one, when there is one of that name.
    pub(super) fn pid(&self, name: &str) -> Option<u32> {
        let state = self.locked();
        state.slots.iter().find(|slot| slot.recipe.name == name).map(|slot| slot.process.pid())
    }

    /// Sends a signal to one, which may end by it; its process number, unless it had ended a moment ago by itself.
    pub(super) fn signal(&self, name: &str, signal: &str) -> Option<u32> {
        let mut state = self.locked();
        let slot = state.slots.iter_mut().find(|slot| slot.recipe.name == name)?;
        let there = super::effect::lives(slot.process.pid());
        // One that ended by itself is not excused by what comes after.
        slot.excused |= there && matches!(signal, "KILL" | "TERM");
        (slot.process.try_signal(signal) && there).then(|| slot.process.pid())
    }

    /// Whether this process runs and says that it is ready.
    pub(super) async fn ready(&self, name: &str) -> bool {
        let admin = {
            let state = self.locked();
            let Some(slot) = state.slots.iter().find(|slot| slot.recipe.name == name) else { return true };
            if slot.excused {
                return false;
            }
            slot.process.admin.clone()
        };
        let client = parley::loadgen::Client::new(admin.parse::<SocketAddr>().expect("an address"));
        let asked = tokio::time::timeout(Duration::from_secs(2), client.get("/readyz")).await;
        asked.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status == 200))
    }

    /// Starts again what has ended, and notes how much memory each takes.
    fn tend(&self) {
        let mut state = self.locked();
        let State { slots, unasked, memory, spared: _ } = &mut *state;
        for slot in slots {
            if let Some(status) = slot.process.ended() {
                if !slot.excused {
                    let log = slot.process.log();
                    let last: Vec<&str> = log.lines().rev().take(15).collect();
                    unasked.push(format!(
                        "{} ended with {status}; its last lines, newest first: {last:#?}",
                        slot.recipe.name
                    ));
                }
                slot.process = start(&slot.recipe);
                slot.excused = false;
                continue;
            }
            let most = memory.entry(program(slot.recipe.service)).or_default();
            *most = (*most).max(kibibytes(slot.process.pid(), "VmHWM:"));
        }
    }

    /// As many processes of a pool as wanted; those beyond are asked to stop, and forgotten.
    fn resize(&self, pool: &str, wanted: usize, recipe: impl Fn(usize) -> Recipe) -> usize {
        let prefix = format!("{pool}-");
        let (mut going, have) = {
            let mut state = self.locked();
            let have = state.slots.iter().filter(|slot| slot.recipe.name.starts_with(&prefix)).count();
            let mut going = Vec::new();
            for beyond in wanted..have {
                let name = format!("{prefix}{beyond}");
                let at = state.slots.iter().position(|slot| slot.recipe.name == name).expect("one of them");
                going.push(state.slots.swap_remove(at));
            }
            (going, have)
        };
        for new in have..wanted {
            self.add(recipe(new));
        }
        for slot in going.drain(..) {
            tokio::spawn(async move {
                // A frozen one could not hear it.
                let _ = slot.process.try_signal("CONT");
                let _ = slot.process.stop().await;
            });
        }
        wanted
    }

    /// Plays kubelet and Deployment controller for these pools until it is aborted.
    pub(super) async fn run(self, deployments: Api<DynamicObject>, pools: Vec<(String, Cook)>) {
        loop {
            self.tend();
            for (pool, recipe) in &pools {
                let asked = tokio::time::timeout(Duration::from_secs(2), deployments.get(pool)).await;
                let Ok(Ok(deployment)) = asked else { continue };
                let Some(wanted) = deployment.data["spec"]["replicas"].as_u64() else { continue };
                let now = self.resize(pool, usize::try_from(wanted).expect("few"), recipe);
                let status = json!({"status": {"replicas": now, "readyReplicas": now}});
                if deployment.data["status"]["readyReplicas"].as_u64() != Some(wanted) {
                    let patch = Patch::Merge(&status);
                    let params = PatchParams::default();
                    let writing = deployments.patch_status(pool, &params, &patch);
                    let _ = tokio::time::timeout(Duration::from_secs(2), writing).await;
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// What one holds now.
    pub(super) fn held(&self, name: &str) -> Option<Held> {
        let pid = self.pid(name)?;
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64;
        Some(Held { resident_kib: kibibytes(pid, "VmRSS:"), descriptors })
    }

    /// Ends that nobody asked for, and the most memory of each service in KiB.
    pub(super) fn verdict(&self) -> (Vec<String>, HashMap<&'static str, u64>) {
        let state = self.locked();
        (state.unasked.clone(), state.memory.clone())
    }

    /// Ends everything.
    pub(super) fn end(&self) {
        self.locked().slots.clear();
    }
}

/// A line of what the kernel tells of a process's memory.
fn kibibytes(pid: u32, what: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(what));
    line.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse().ok()).unwrap_or(0)
}
