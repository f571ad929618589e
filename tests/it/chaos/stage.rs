//! The whole platform, every party behind relays: three brokers, PostgreSQL, an API server, two controllers, workers as the
//! controller asks for, three gateways.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use kube::{
    Api,
    api::{Patch, PatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use parley::{kafka::admin::Admin, wire::Kind};
use serde_json::{Value, json};

use super::{
    network::Relay,
    schedule::{Link, Service},
    services::{Cook, Recipe, Services},
};
use crate::{
    controller::{client, set_resource},
    fixtures::{ApiServer, Kafka, Postgres, free_ports, keys_dir, root},
};

pub(super) const ACCOUNT: &str = "parley-worker-account";
pub(super) const CHAT: &str = "parley-worker-chat";

pub(super) struct Stage {
    pub(super) kafka: Kafka,
    pub(super) admin: Admin,
    postgres: Mutex<Arc<Postgres>>,
    pub(super) api: ApiServer,
    pub(super) services: Services,
    /// What browsers connect to.
    pub(super) gateways: Vec<SocketAddr>,
    pub(super) relays: HashMap<Link, Vec<Relay>>,
    pub(super) disk_mib: u32,
    namespace: String,
    kubernetes: kube::Client,
    /// The set as its author last wrote it.
    set: tokio::sync::Mutex<Value>,
    kubelet: tokio::task::JoinHandle<()>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.kubelet.abort();
        self.services.end();
    }
}

pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

impl Stage {
    /// The disks of servers are so large: they lie in memory, and the load of the run must not fill them by itself.
    pub(super) async fn set(disk_mib: u32) -> Self {
        // Relays to the brokers: for workers, gateways, controllers and brokers, three ports each.
        let to_kafka: Vec<u16> = (0..4).map(|_| free_ports(3)).collect();
        let ports = to_kafka.clone();
        // The API server starts only when it reaches etcd.
        let (api, to_etcd) = (free_ports(3), free_ports(1));
        let etcd = Relay::start(local(to_etcd), local(ApiServer::etcd_of(api))).await;
        let starting = tokio::task::spawn_blocking(move || {
            let postgres = Arc::new(Postgres::own_on_a_disk(disk_mib));
            postgres.migrate("parley");
            (Kafka::own_behind(&ports, disk_mib), postgres, ApiServer::own_behind(api, to_etcd))
        });
        let (kafka, postgres, api) = starting.await.expect("the servers start");

        let ways = [Link::WorkersKafka, Link::GatewaysKafka, Link::ControllersKafka, Link::Brokers];
        let mut relays: HashMap<Link, Vec<Relay>> = [(Link::ApiEtcd, vec![etcd])].into();
        for (n, link) in (0..).zip(ways) {
            for node in 0..3 {
                let from = local(to_kafka[usize::from(n)] + node);
                let relay = Relay::start(from, local(kafka.behind(n, node))).await;
                relays.entry(link).or_default().push(relay);
            }
        }
        let mut behind = HashMap::new();
        for (link, to) in [
            (Link::WorkersPostgres, postgres.port()),
            (Link::GatewaysPostgres, postgres.port()),
            (Link::ControllersApi, api.port()),
        ] {
            let port = free_ports(1);
            behind.insert(link, port);
            relays.insert(link, vec![Relay::start(local(port), local(to)).await]);
        }
        let mut gateways = Vec::new();
        let mut listening = Vec::new();
        for _ in 0..3 {
            let (outside, inside) = (free_ports(1), free_ports(1));
            relays.entry(Link::Browsers).or_default().push(Relay::start(local(outside), local(inside)).await);
            gateways.push(local(outside));
            listening.push(inside);
        }

        let namespace = api.namespace();
        let kubernetes = client(&api).await;
        let bootstrap = |n: usize| {
            let of_node = |node| local(to_kafka[n] + node).to_string();
            (0..3).map(of_node).collect::<Vec<_>>().join(",")
        };
        let services = Services::default();
        let stage_env = Environment {
            worker_url: postgres.url_by(behind[&Link::WorkersPostgres], "worker", "parley"),
            gateway_url: postgres.url_by(behind[&Link::GatewaysPostgres], "gateway", "parley"),
            bootstrap: [bootstrap(0), bootstrap(1), bootstrap(2)],
        };
        for n in 0..2 {
            services.add(stage_env.controller(n, &api, behind[&Link::ControllersApi], &namespace));
        }
        for (n, inside) in listening.into_iter().enumerate() {
            services.add(stage_env.gateway(n, inside));
        }
        let deployments: Api<DynamicObject> = Api::namespaced_with(
            kubernetes.clone(),
            &namespace,
            &ApiResource::from_gvk(&GroupVersionKind::gvk("apps", "v1", "Deployment")),
        );
        for pool in [ACCOUNT, CHAT] {
            let labels = json!({"app": pool});
            let deployment = json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": pool},
                "spec": {"replicas": 0, "selector": {"matchLabels": labels},
                    "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "none"}]}}},
            });
            let deployment = serde_json::from_value(deployment).expect("a Deployment");
            deployments.create(&kube::api::PostParams::default(), &deployment).await.expect("created");
        }
        let mut pools: Vec<(String, Cook)> = Vec::new();
        for pool in [ACCOUNT, CHAT] {
            let env = stage_env.clone();
            pools.push((pool.to_owned(), Box::new(move |n| env.worker(pool, n))));
        }
        let kubelet = tokio::spawn(services.clone().run(deployments, pools));
        let sample = root().join("docs/samples/chat-three-brokers.yaml");
        let sample: Value =
            serde_yaml::from_str(&std::fs::read_to_string(sample).expect("the sample")).expect("YAML");
        let set = tokio::sync::Mutex::new(sample);
        let admin = crate::controller::admin(&kafka.bootstrap());
        let stage = Self {
            kafka,
            admin,
            postgres: Mutex::new(postgres),
            api,
            services,
            gateways,
            relays,
            disk_mib,
            namespace,
            kubernetes,
            set,
            kubelet,
        };
        stage.declare().await;
        stage
    }

    /// The shipped sample for three brokers, with pools that are at once as small as they may be, and topics that keep everything until
    /// the verdict, hours later.
    async fn declare(&self) {
        const DAYS: i64 = 3 * 24 * 3_600_000;
        let for_a_run = |spec: &mut Value| {
            for worker in spec["workers"].as_array_mut().expect("workers") {
                worker["scaling"]["scaleDownStabilizationSeconds"] = json!(0);
            }
            for topic in spec["topics"].as_array_mut().expect("topics") {
                let kept = &mut topic["config"]["retention.ms"];
                *kept = json!(kept.as_i64().expect("each has one").max(DAYS));
            }
        };
        assert!(self.edit(for_a_run).await, "the sample is accepted");
        crate::fixtures::eventually("the sample to be ready", || async {
            let set = self.sets().get("chat").await.ok()?;
            let conditions = set.data["status"]["conditions"].as_array()?;
            conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True").then_some(())
        })
        .await;
        for service in [Service::Worker, Service::Gateway, Service::Controller] {
            for name in self.services.names(service) {
                crate::fixtures::eventually(&format!("{name} to be ready"), || async {
                    self.services.ready(&name).await.then_some(())
                })
                .await;
            }
        }
    }

    /// The PostgreSQL that is the one now.
    pub(super) fn postgres(&self) -> Arc<Postgres> {
        Arc::clone(&self.postgres.lock().expect("nobody panics while it is held"))
    }

    /// From now on another one is it, for everybody who connects.
    pub(super) fn lead_to(&self, postgres: Arc<Postgres>) {
        for link in [Link::WorkersPostgres, Link::GatewaysPostgres] {
            self.relays[&link].iter().for_each(|relay| relay.lead_to(local(postgres.port())));
        }
        *self.postgres.lock().expect("nobody panics while it is held") = postgres;
    }

    pub(super) fn sets(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.kubernetes.clone(), &self.namespace, &set_resource())
    }

    /// Changes the set as its author would; whether the API server took it.
    pub(super) async fn edit(&self, change: impl FnOnce(&mut Value)) -> bool {
        let mut set = self.set.lock().await;
        let mut new = set.clone();
        change(&mut new["spec"]);
        let (sets, params) = (self.sets(), PatchParams::apply("user").force());
        let patch = Patch::Apply(&new);
        let applying = sets.patch("chat", &params, &patch);
        let taken =
            tokio::time::timeout(Duration::from_secs(10), applying).await.is_ok_and(|told| told.is_ok());
        if taken {
            *set = new;
        }
        taken
    }
}

#[derive(Clone)]
struct Environment {
    worker_url: String,
    gateway_url: String,
    /// As workers, gateways and controllers see Kafka.
    bootstrap: [String; 3],
}

fn key(file: &str) -> String {
    keys_dir().join(file).display().to_string()
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

impl Environment {
    fn worker(&self, pool: &str, n: usize) -> Recipe {
        let kinds: Vec<&str> = Kind::ALL
            .iter()
            .map(|kind| kind.as_str())
            .filter(|kind| (*kind == "AddChat") == (pool == CHAT))
            .collect();
        let flags = [
            "run",
            "--drain-seconds",
            "1",
            "--session-timeout-seconds",
            "3",
            "--termination-grace-seconds",
            "5",
        ];
        Recipe {
            service: Service::Worker,
            name: format!("{pool}-{n}"),
            args: flags.map(str::to_owned).into(),
            env: owned(&[
                ("PARLEY_KAFKA_BOOTSTRAP_SERVERS", &self.bootstrap[0]),
                ("PARLEY_DATABASE_URL", &self.worker_url),
                ("PARLEY_REQUEST_KEYS_FILE", &key("request-keys.json")),
                ("PARLEY_REPLY_KEYS_FILE", &key("reply-keys.json")),
                ("PARLEY_SEAL_PRIVATE_KEYS_FILE", &key("seal-private.json")),
                ("PARLEY_KINDS", &kinds.join(",")),
                ("PARLEY_CONSUMER_GROUP", if pool == CHAT { "parley-chat" } else { "parley-account" }),
            ]),
        }
    }

    fn gateway(&self, n: usize, port: u16) -> Recipe {
        Recipe {
            service: Service::Gateway,
            name: format!("gateway-{n}"),
            args: vec!["run".to_owned()],
            env: owned(&[
                ("PARLEY_KAFKA_BOOTSTRAP_SERVERS", &self.bootstrap[1]),
                ("PARLEY_DATABASE_URL", &self.gateway_url),
                ("PARLEY_REQUEST_KEYS_FILE", &key("request-keys.json")),
                ("PARLEY_REPLY_KEYS_FILE", &key("reply-keys.json")),
                ("PARLEY_SEAL_PUBLIC_KEYS_FILE", &key("seal-public.json")),
                ("PARLEY_LISTEN_ADDR", &local(port).to_string()),
                ("PARLEY_HEARTBEAT_SECONDS", "2"),
                ("PARLEY_DRAIN_SECONDS", "2"),
            ]),
        }
    }

    fn controller(&self, n: usize, api: &ApiServer, relay: u16, namespace: &str) -> Recipe {
        // With the chart's rights, by way of the relay.
        let own = api.controller_kubeconfig(namespace, "apps/deployments");
        let file = api.kubeconfig_by(relay, &own);
        let flags = [
            ["--kafka-bootstrap-servers", &self.bootstrap[2]],
            ["--watch-namespaces", namespace],
            ["--own-connection-namespaces", namespace],
            ["--lease-namespace", namespace],
            ["--poll-seconds", "1"],
        ];
        let mut args = vec!["run".to_owned()];
        args.extend(flags.iter().flatten().map(|text| (*text).to_owned()));
        Recipe {
            service: Service::Controller,
            name: format!("controller-{n}"),
            args,
            env: vec![
                ("KUBECONFIG".to_owned(), file.display().to_string()),
                ("HOSTNAME".to_owned(), format!("controller-{n}")),
            ],
        }
    }
}
