//! Parley: a chat platform for Kubernetes.
//!
//! ```text
//! kubectl / GitOps ──apply──► ChatTopicSet ──► controller ──► Kafka topics (partitions, replicas, config)
//!                                                   └───────► /scale of the worker Deployments (= partitions)
//!
//! browser ─POST 202─► gateway ─request topics─► worker ─one transaction─► PostgreSQL
//!    ▲                   ▲                        │
//!    └──────SSE──────────┴──response topics + chat-event◄┘          every process: /livez /readyz /metrics
//! ```
//!
//! | module | what it is | may use |
//! |---|---|---|
//! | [`ids`] | the newtypes that others share | nothing |
//! | [`wire`] | what crosses Kafka: kinds, requests, replies, events, headers, signing, sealing | `ids` |
//! | [`api`] | the `ChatTopicSet` resource | nothing |
//! | [`kafka`] | admin, consumers, producer: the only place that names librdkafka | `ids`, `wire` |
//! | [`store`] | PostgreSQL, a file per subject: the only place that names sqlx | `ids`, `wire` |
//! | [`process`] | flags, log, metrics registry, traces, admin server, shutdown: the only place that names OpenTelemetry | nothing |
//! | [`controller`] | observe → plan → apply → status | `api`, `kafka`, `process` |
//! | [`worker`] | poll → decode → handle in one transaction → reply → commit | `kafka`, `store`, `wire`, `process` |
//! | [`gateway`] | HTTP in, SSE out | `kafka`, `store`, `wire`, `process` |
//! | [`loadgen`] | open-loop load, and the audit of what came of it | `kafka`, `store`, `wire`, `process` |
//! | [`hot`] | the pure functions of the hot path as loops, for counts of instructions | `gateway`, `wire`, `worker` |
//! | `fuzzing` | properties that hold for every input; in no release | all |
//!
//! The binaries in `src/bin` only parse their arguments and call one of the last six.

pub mod api;
pub mod controller;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod gateway;
pub mod hot;
pub mod ids;
pub mod kafka;
pub mod loadgen;
pub mod process;
pub mod store;
pub mod wire;
pub mod worker;
