//! What the chart's templates make of values, one behaviour a test, read as Kubernetes would read it.

use std::process::Command;

use serde_yaml::Value;

use crate::fixtures::root;

/// The documents of a render in namespace `chat`, release `r`; an error is what helm said.
fn try_render(chart: &str, sets: &[&str]) -> Result<Vec<Value>, String> {
    let options: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    try_render_with(chart, &options)
}

fn try_render_with(chart: &str, options: &[&str]) -> Result<Vec<Value>, String> {
    let cache = std::env::var("XDG_CACHE_HOME")
        .unwrap_or_else(|_| format!("{}/.cache", std::env::var("HOME").unwrap_or_default()));
    let mut helm = Command::new(format!("{cache}/parley/cluster/bin/helm"));
    helm.args(["template", "r"]).arg(root().join("charts").join(chart)).args([
        "-n",
        "chat",
        "--kube-version",
        "1.34.4",
    ]);
    let output = helm.args(options).output().expect("helm runs");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let documents = text.split("\n---").map(|part| serde_yaml::from_str::<Value>(part).expect("YAML"));
    Ok(documents.filter(|document| !document.is_null()).collect())
}

fn render(sets: &[&str]) -> Vec<Value> {
    try_render("parley", sets).unwrap_or_else(|error| panic!("{sets:?}: {error}"))
}

fn all<'a>(documents: &'a [Value], kind: &str) -> Vec<&'a Value> {
    documents.iter().filter(|document| document["kind"] == kind).collect()
}

/// The key-making Job comes before the first install and never again, and only when asked.
#[test]
fn keys_are_made_only_when_asked_and_before_the_first_install() {
    let hooked = |sets: &[&str]| -> Vec<(String, String)> {
        let part = |document: &Value| {
            let hook = document["metadata"]["annotations"]["helm.sh/hook"].as_str()?.to_owned();
            let of_keys = document["metadata"]["labels"]["app.kubernetes.io/component"] == "keys";
            of_keys.then(|| (document["kind"].as_str().unwrap_or_default().to_owned(), hook))
        };
        let mut found: Vec<_> = render(sets).iter().filter_map(part).collect();
        found.sort();
        found
    };
    assert!(hooked(&[]).is_empty());
    let kinds = ["Job", "NetworkPolicy", "Role", "RoleBinding", "ServiceAccount"];
    let asked = ["keys.generate.enabled=true", "keys.existingSecret=mine", "networkPolicy.enabled=true"];
    assert_eq!(hooked(&asked), kinds.map(|kind| (kind.to_owned(), "pre-install".to_owned())));
    let documents = render(&asked);
    let command = &container(one(&documents, "Job", "r-parley-keys"))["command"];
    assert_eq!(command[2], "mine", "the Secret that the pods are given: {command:?}");
    let rules = &one(&documents, "Role", "r-parley-keys")["rules"];
    assert_eq!(rules[0]["verbs"].as_sequence().map(Vec::len), Some(1), "{rules:?}");
}

/// Without what comes and goes with a hook.
fn lasting(documents: Vec<Value>) -> Vec<Value> {
    let hooked = |document: &Value| document["metadata"]["annotations"]["helm.sh/hook"].is_string();
    documents.into_iter().filter(|document| !hooked(document)).collect()
}

fn one<'a>(documents: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found: Vec<_> = all(documents, kind).into_iter().filter(|d| d["metadata"]["name"] == name).collect();
    assert_eq!(found.len(), 1, "{kind} {name}");
    found[0]
}

fn container(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]["containers"][0]
}

fn env<'a>(deployment: &'a Value, name: &str) -> Option<&'a Value> {
    container(deployment)["env"].as_sequence()?.iter().find(|entry| entry["name"] == name)
}

#[test]
fn names_carry_the_release_and_cluster_scoped_ones_the_namespace_too() {
    let documents = render(&[]);
    for name in ["r-parley-controller", "r-parley-gateway", "r-parley-worker-account", "r-parley-worker-chat"]
    {
        let deployment = one(&documents, "Deployment", name);
        assert_eq!(deployment["metadata"]["namespace"], "chat", "{name}");
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        for (key, value) in deployment["spec"]["selector"]["matchLabels"].as_mapping().expect("a map") {
            assert_eq!(
                &labels[key.as_str().expect("a string")],
                value,
                "{name}: the selector finds its pods"
            );
        }
    }
    one(&documents, "ClusterRole", "chat-r-parley-controller");
    let long = render(&[&format!("fullnameOverride={}", "x".repeat(80))]);
    for document in &long {
        assert!(document["metadata"]["name"].as_str().expect("a name").len() <= 63, "{document:?}");
    }
}

#[test]
fn a_pool_inherits_what_it_does_not_say_and_zero_and_false_are_values() {
    let documents = render(&[
        "workerDefaults.drainSeconds=7",
        "workers.chat.batchWaitMs=0",
        "workers.chat.pdb.enabled=false",
        "workers.chat.resources.limits.memory=1Gi",
    ]);
    let chat = one(&documents, "Deployment", "r-parley-worker-chat");
    assert_eq!(env(chat, "PARLEY_DRAIN_SECONDS").expect("set")["value"], "7");
    assert_eq!(env(chat, "PARLEY_BATCH_WAIT_MS").expect("set")["value"], "0");
    assert_eq!(container(chat)["resources"]["limits"]["memory"], "1Gi");
    assert_eq!(container(chat)["resources"]["requests"]["cpu"], "50m", "the rest of resources stays");
    let budgets: Vec<_> =
        all(&documents, "PodDisruptionBudget").iter().map(|b| b["metadata"]["name"].clone()).collect();
    assert_eq!(budgets, ["r-parley-controller", "r-parley-gateway", "r-parley-worker-account"]);
}

#[test]
fn workers_and_a_gateway_that_is_scaled_elsewhere_name_no_replicas() {
    let documents = render(&["gateway.replicas=null"]);
    for name in ["r-parley-gateway", "r-parley-worker-account", "r-parley-worker-chat"] {
        assert!(one(&documents, "Deployment", name)["spec"].get("replicas").is_none(), "{name}");
    }
    assert_eq!(one(&render(&[]), "Deployment", "r-parley-gateway")["spec"]["replicas"], 2);
}

#[test]
fn each_pod_is_given_its_own_secrets_and_no_other() {
    let documents = render(&[
        "kafka.securityProtocol=sasl-ssl",
        "kafka.existingSecret=all",
        "kafka.caKey=ca.crt",
        "gateway.kafkaSecret=own",
    ]);
    let of = |name: &str| {
        let volumes = one(&documents, "Deployment", name)["spec"]["template"]["spec"]["volumes"].clone();
        let secret = |volume: &Value| {
            let keys = volume["secret"]["items"]
                .as_sequence()
                .expect("items")
                .iter()
                .map(|i| i["key"].as_str().unwrap_or("").to_owned());
            (
                volume["secret"]["secretName"].as_str().unwrap_or("").to_owned(),
                keys.collect::<Vec<_>>().join(" "),
            )
        };
        volumes.as_sequence().expect("volumes").iter().map(secret).collect::<Vec<_>>()
    };
    let pairs = |list: &[(&str, &str)]| {
        list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(of("r-parley-controller"), pairs(&[("all", "ca.crt password")]));
    assert_eq!(
        of("r-parley-gateway"),
        pairs(&[
            ("own", "ca.crt password"),
            ("parley-database", "gateway-url"),
            ("parley-keys", "request-keys.json reply-keys.json seal-public.json")
        ])
    );
    assert_eq!(
        of("r-parley-worker-chat"),
        pairs(&[
            ("all", "ca.crt password"),
            ("parley-database", "worker-url"),
            ("parley-keys", "request-keys.json reply-keys.json")
        ])
    );
}

#[test]
fn rights_shrink_to_the_watched_namespaces() {
    let wide = lasting(render(&[]));
    assert_eq!(all(&wide, "ClusterRoleBinding").len(), 1);
    let narrow = lasting(render(&["controller.watchNamespaces={a,b}", "rbac.aggregate=false"]));
    assert!(all(&narrow, "ClusterRole").is_empty() && all(&narrow, "ClusterRoleBinding").is_empty());
    let namespaces: Vec<_> =
        all(&narrow, "Role").iter().map(|role| role["metadata"]["namespace"].clone()).collect();
    assert_eq!(namespaces, ["a", "b", "chat"], "a role in each, and the lease's in the release's own");
    let controller = one(&narrow, "Deployment", "r-parley-controller");
    assert_eq!(env(controller, "PARLEY_WATCH_NAMESPACES").expect("set")["value"], "a,b");
}

#[test]
fn the_definition_stays_comes_and_goes_as_told() {
    let annotations = |sets: &[&str]| {
        let documents = render(sets);
        all(&documents, "CustomResourceDefinition").first().map(|crd| crd["metadata"]["annotations"].clone())
    };
    assert_eq!(annotations(&[]).expect("there")["helm.sh/resource-policy"], "keep");
    assert!(annotations(&["crds.keep=false"]).expect("there").is_null());
    assert!(annotations(&["crds.enabled=false"]).is_none());
}

#[test]
fn the_database_is_migrated_before_pods_change() {
    let documents = render(&[]);
    let job = one(&documents, "Job", "r-parley-migrate");
    assert_eq!(job["metadata"]["annotations"]["helm.sh/hook"], "pre-install,pre-upgrade");
    assert_eq!(job["spec"]["template"]["spec"]["volumes"][0]["secret"]["items"][0]["key"], "owner-url");
    let without = render(&["migrations.enabled=false"]);
    assert!(all(&without, "Job").iter().all(|job| job["metadata"]["name"] != "r-parley-migrate"));
}

#[test]
fn a_digest_wins_over_a_tag_and_ways_in_lead_to_the_gateway() {
    let documents = render(&[
        "image.tag=x",
        "image.digest=sha256:abc0123456789abcdef0123456789abcdef0123456789abcdef0123456789abc",
        "ingress.enabled=true",
        "ingress.hosts={a.example.com}",
        "httpRoute.enabled=true",
        "httpRoute.parentRefs[0].name=public",
    ]);
    let image =
        container(one(&documents, "Deployment", "r-parley-gateway"))["image"].as_str().expect("an image");
    assert!(image.starts_with("parley.dev/parley@sha256:"), "{image}");
    let ingress = one(&documents, "Ingress", "r-parley-gateway");
    assert_eq!(
        ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"],
        "r-parley-gateway"
    );
    assert_eq!(ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-buffering"], "off");
    let route = one(&documents, "HTTPRoute", "r-parley-gateway");
    assert_eq!(route["spec"]["rules"][0]["timeouts"]["request"], "0s", "an event stream has no end");
}

#[test]
fn everything_optional_is_off_until_it_is_asked_for() {
    const OPTIONAL: [&str; 5] = ["Ingress", "HTTPRoute", "NetworkPolicy", "ServiceMonitor", "PrometheusRule"];
    let documents = render(&[]);
    for kind in OPTIONAL.iter().chain(&["ConfigMap"]) {
        assert!(all(&documents, kind).is_empty(), "{kind}");
    }
    let on = render(&[
        "metrics.dashboards.enabled=true",
        "metrics.serviceMonitor.enabled=true",
        "metrics.prometheusRule.enabled=true",
    ]);
    assert_eq!(all(&on, "ConfigMap").len(), 3);
    for map in all(&on, "ConfigMap") {
        let (_, text) = map["data"].as_mapping().expect("data").iter().next().expect("one file");
        let dashboard: serde_json::Value = serde_json::from_str(text.as_str().expect("text")).expect("JSON");
        assert!(dashboard["panels"].as_array().is_some_and(|panels| panels.len() > 10));
    }
    let rules = one(&on, "PrometheusRule", "r-parley");
    assert!(rules["spec"]["groups"].as_sequence().is_some_and(|groups| groups.len() == 3));
}

#[test]
fn spans_go_where_the_endpoint_says_and_the_network_lets_them() {
    const PODS: [&str; 3] = ["r-parley-gateway", "r-parley-worker-account", "r-parley-worker-chat"];
    let (off, on) = (
        render(&["networkPolicy.enabled=true"]),
        render(&[
            "networkPolicy.enabled=true",
            "tracing.endpoint=http://collector:4318",
            "tracing.sampler=parentbased_traceidratio",
            "tracing.samplerArg=0.25",
        ]),
    );
    for pod in PODS {
        let (without, with) = (one(&off, "Deployment", pod), one(&on, "Deployment", pod));
        assert!(env(without, "OTEL_EXPORTER_OTLP_ENDPOINT").is_none(), "{pod}");
        let value = |name: &str| env(with, name).unwrap_or_else(|| panic!("{pod}: {name}"))["value"].clone();
        assert_eq!(value("OTEL_EXPORTER_OTLP_ENDPOINT"), "http://collector:4318");
        assert_eq!(
            (value("OTEL_TRACES_SAMPLER_ARG"), value("OTEL_SERVICE_NAME")),
            ("0.25".into(), pod.into())
        );
    }
    let ports = |documents: &[Value], component: &str| {
        let policy = one(documents, "NetworkPolicy", &format!("r-parley-{component}"));
        let out = policy["spec"]["egress"][1]["ports"].as_sequence().expect("ports").clone();
        out.iter().filter_map(|port| port["port"].as_u64()).collect::<Vec<_>>()
    };
    for component in ["gateway", "worker"] {
        assert!(
            !ports(&off, component).contains(&4318) && ports(&on, component).contains(&4318),
            "{component}"
        );
    }
    // The controller makes none.
    assert!(["controller", "migrate"].iter().all(|component| !ports(&on, component).contains(&4318)));
    assert!(env(one(&on, "Deployment", "r-parley-controller"), "OTEL_EXPORTER_OTLP_ENDPOINT").is_none());
    let refused =
        try_render("parley", &["tracing.endpoint=http://user:x@collector:4318"]).expect_err("a user");
    assert!(refused.contains("tracing"), "{refused}");
}

#[test]
fn the_chart_of_topics_renders_one_set() {
    let documents = try_render("parley-topics", &[]).expect("it renders");
    assert_eq!(all(&documents, "ChatTopicSet").len(), 1);
    assert_eq!(documents.len(), 1);
}

#[test]
fn the_pre_delete_hook_has_rights_of_its_own_and_goes_with_them() {
    let documents = render(&[]);
    let hooks: Vec<&Value> = documents
        .iter()
        .filter(|document| document["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete")
        .collect();
    assert_eq!(hooks.len(), 6, "a Job, its account, two roles and their bindings");
    let job = one(&documents, "Job", "r-parley-uninstall");
    assert_eq!(job["spec"]["template"]["spec"]["serviceAccountName"], "r-parley-uninstall");
    assert_eq!(env(job, "PARLEY_CONTROLLER_DEPLOYMENT").expect("a name")["value"], "r-parley-controller");
    // The selector that it waits by is the one of the controller's pods.
    let deployment = one(&documents, "Deployment", "r-parley-controller");
    let labels = &deployment["spec"]["selector"]["matchLabels"];
    let selector = env(job, "PARLEY_CONTROLLER_PODS").expect("a selector")["value"].as_str().expect("text");
    for pair in selector.split(',') {
        let (key, value) = pair.split_once('=').expect("KEY=VALUE");
        assert_eq!(labels[key], value, "{key}");
    }
    assert_eq!(selector.split(',').count(), labels.as_mapping().expect("a map").len());
    assert!(env(job, "PARLEY_WATCH_NAMESPACES").is_none());

    let narrow = render(&["controller.watchNamespaces={chat,team-a}"]);
    assert!(all(&narrow, "ClusterRole").iter().all(|role| role["metadata"]["annotations"].is_null()));
    let sets: Vec<_> = all(&narrow, "Role")
        .into_iter()
        .filter(|role| role["metadata"]["name"] == "r-parley-uninstall-chat-sets")
        .map(|role| role["metadata"]["namespace"].as_str().expect("a namespace"))
        .collect();
    assert_eq!(sets, ["chat", "team-a"]);
    let watched = one(&narrow, "Job", "r-parley-uninstall");
    assert_eq!(env(watched, "PARLEY_WATCH_NAMESPACES").expect("namespaces")["value"], "chat,team-a");

    for off in ["uninstall.enabled=false", "rbac.create=false"] {
        let none = render(&[off]);
        assert!(none.iter().all(|d| d["metadata"]["annotations"]["helm.sh/hook"] != "pre-delete"), "{off}");
    }
}

/// Every block of YAML in the pages that holds values of the chart.
fn shown_values() -> Vec<(String, String)> {
    let known: Value = serde_yaml::from_str(&read("charts/parley/values.yaml")).expect("YAML");
    let known = known.as_mapping().expect("values");
    let mut shown = Vec::new();
    for entry in std::fs::read_dir(root().join("docs")).expect("the pages") {
        let path = entry.expect("a page").path();
        if path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a page");
        for block in text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            let Ok(Value::Mapping(values)) = serde_yaml::from_str::<Value>(block) else { continue };
            if values.keys().all(|key| known.contains_key(key)) {
                shown.push((path.display().to_string(), block.to_owned()));
            }
        }
    }
    shown
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).expect("a file of this clone")
}

#[test]
fn the_values_that_pages_show_are_accepted_and_reach_the_pods() {
    let shown = shown_values();
    assert!(shown.len() >= 2, "{shown:?}");
    let folder = std::env::temp_dir().join(crate::fixtures::unique("parley-values"));
    std::fs::create_dir(&folder).expect("a folder can be made");
    let mut options = Vec::new();
    for (n, (page, block)) in shown.iter().enumerate() {
        let file = folder.join(format!("{n}.yaml")).display().to_string();
        std::fs::write(&file, block).expect("a file can be written");
        try_render_with("parley", &["-f", &file]).unwrap_or_else(|error| panic!("{page}: {error}\n{block}"));
        if page.ends_with("connect.md") {
            options.extend(["-f".to_owned(), file]);
        }
    }
    // All of docs/connect.md together.
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let documents = try_render_with("parley", &options).expect("it renders");
    std::fs::remove_dir_all(&folder).expect("it was made");
    let pods: Vec<&Value> = all(&documents, "Deployment");
    let served = pods.iter().filter(|pod| pod["metadata"]["name"] != "r-parley-controller");
    let mut seen = 0;
    for pod in served {
        seen += 1;
        let name = &pod["metadata"]["name"];
        let protocol = env(pod, "PARLEY_KAFKA_SECURITY_PROTOCOL").expect("the protocol");
        assert_eq!(protocol["value"], "sasl-ssl", "{name:?}");
        let mounts = container(pod)["volumeMounts"].as_sequence().expect("mounts");
        assert!(mounts.iter().any(|mount| mount["mountPath"] == "/etc/parley/db-ca"), "{name:?}");
    }
    assert!(seen >= 2, "gateway and workers");
}
