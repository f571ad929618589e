use std::{
    fs,
    future::Future,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// How long a test waits for a condition before it fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(180);

/// Where Kafka and PostgreSQL listen, for pods and for us: the node's own address.
pub(crate) const HOST: &str = "10.244.0.1";

/// Where the gateway answers: the node port.
pub(crate) fn gateway() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 30_080))
}

/// The project's root folder.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Runs kubectl in the namespace `parley`; fails the test when it fails.
pub(crate) fn kubectl(args: &[&str]) -> String {
    assert!(
        std::env::var_os("KUBECONFIG").is_some(),
        "these tests need the running system (KUBECONFIG is not set): run them through `make test`"
    );
    let output =
        Command::new("kubectl").args(["-n", "parley"]).args(args).output().expect("kubectl is on the PATH");
    assert!(output.status.success(), "kubectl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Runs one of Kafka's console tools against the system's broker.
pub(crate) fn kafka_tool(class: &str, args: &[&str], input: &str) -> String {
    let mut child = Command::new(root().join("hack/kafka/java.sh"))
        .args(["128m", class, "--bootstrap-server", &format!("{HOST}:9092")])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("java runs");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("the tool reads");
    let output = child.wait_with_output().expect("the tool ends");
    assert!(output.status.success(), "{class}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The password of PostgreSQL's superuser.
pub(crate) fn superuser_password() -> String {
    let kubeconfig = PathBuf::from(std::env::var("KUBECONFIG").expect("run through make test"));
    let file = kubeconfig.with_file_name("postgres").join("postgres.password");
    fs::read_to_string(file).expect("it was made").trim().to_owned()
}

/// Runs a statement as PostgreSQL's superuser and gives what it prints.
pub(crate) fn sql(database: &str, statement: &str) -> String {
    let output = Command::new("psql")
        .args([
            "-XqAt",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            HOST,
            "-U",
            "postgres",
            "-d",
            database,
            "-c",
            statement,
        ])
        .env("PGPASSWORD", superuser_password())
        .output()
        .expect("psql is on the PATH");
    assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Runs helm in the namespace `parley`; fails the test when it fails.
pub(crate) fn helm(args: &[&str]) -> String {
    let output =
        Command::new("helm").args(["-n", "parley"]).args(args).output().expect("helm is on the PATH");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "helm {args:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout).trim().to_owned()
}

/// Runs one of the scripts in `hack/check`, which must succeed; what it said.
pub(crate) fn check(script: &str, args: &[&str]) -> String {
    let path = Path::new("hack/check").join(script);
    let output = Command::new("node").current_dir(root()).arg(path).args(args).output().expect("node runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{script}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// A folder that goes with its owner.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("parley-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder can be made");
        Self(path)
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Asks until there is an answer; after [`DEADLINE`] fails with `what`.
pub(crate) async fn eventually<T, F>(what: &str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let start = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(start.elapsed() < DEADLINE, "waited {DEADLINE:?} in vain for {what}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}
