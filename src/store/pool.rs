use std::{
    path::{Path, PathBuf},
    str::FromStr as _,
    time::Duration,
};

use sqlx::{
    Connection as _, PgConnection, PgPool, Row as _,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{StoreError, Tx};
use crate::process::Secret;

/// How long PostgreSQL may be silent: thousands of times what the statements here take. A host that is gone, or a proxy that forgot
/// a connection, does not say so, and TCP gives up after a quarter of an hour.
pub const SILENCE: Duration = Duration::from_secs(10);
/// How long a connection that its user has let go in the middle of an answer may take to be of use again.
const SETTLE: Duration = Duration::from_secs(5);
/// How long closing all connections may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// Where the URL of the database may stand, beside a file.
const URL: &str = "PARLEY_DATABASE_URL";

/// How a process reaches PostgreSQL. The URL holds a password, so it is no flag: `PARLEY_DATABASE_URL`, or a file.
#[derive(Debug, Clone, clap::Args)]
pub struct DatabaseArgs {
    /// File that holds the URL of the database, postgres://user:password@host:port/database
    #[arg(long, env = "PARLEY_DATABASE_URL_FILE")]
    pub database_url_file: Option<PathBuf>,
    /// The most connections that this process opens
    #[arg(long, env = "PARLEY_DATABASE_MAX_CONNECTIONS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub database_max_connections: u32,
}

/// PostgreSQL as this process reaches it: a bounded pool. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Database {
    pub(super) pool: PgPool,
}

/// Connections by what they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct PoolState {
    pub idle: u32,
    pub busy: u32,
    pub max: u32,
}

impl DatabaseArgs {
    /// Reads the URL and makes a pool. Connects to nothing yet: PostgreSQL may come later.
    ///
    /// # Errors
    /// [`StoreError::Settings`] when there is no usable URL; never names the password.
    pub fn open(&self, application: &str) -> Result<Database, StoreError> {
        let url = url(self.database_url_file.as_deref())?;
        Database::open(&url, application, self.database_max_connections)
    }

    /// Reads the URL for a command that needs one connection.
    ///
    /// # Errors
    /// [`StoreError::Settings`] when there is none.
    pub fn url(&self) -> Result<Secret, StoreError> {
        url(self.database_url_file.as_deref())
    }
}

fn url(file: Option<&Path>) -> Result<Secret, StoreError> {
    let url = Secret::read(URL, file).map_err(|error| StoreError::Settings(error.to_string()))?;
    url.ok_or_else(|| StoreError::Settings(format!("no database is named: set {URL} or --database-url-file")))
}

/// The parameters of a URL that sqlx knows.
const PARAMETERS: &[&str] = &[
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

/// How the database of this URL is reached.
pub(super) fn options(url: &Secret) -> Result<PgConnectOptions, StoreError> {
    let text = url.reveal();
    // sqlx reads any scheme as its own, and its text could repeat parts of the URL.
    let ours = ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme));
    let parsed = ours.then(|| known_parameters(text)).transpose()?;
    let parsed = parsed.and_then(|()| PgConnectOptions::from_str(text).ok()).ok_or_else(|| {
        StoreError::Settings(
            "the database's URL is not of the form postgres://user:password@host:port/database".into(),
        )
    })?;
    // A start-up parameter that PgBouncer refuses, and no column here is a float.
    Ok(parsed.extra_float_digits(None))
}

/// sqlx ignores a parameter that it does not know, and logs its value, which may be that of a misspelt password.
fn known_parameters(url: &str) -> Result<(), StoreError> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let mut names =
        query.split('&').filter_map(|pair| pair.split('=').next()).filter(|name| !name.is_empty());
    if names.all(|name| PARAMETERS.contains(&name) || name.starts_with("options[")) {
        return Ok(());
    }
    let known = PARAMETERS.join(", ");
    Err(StoreError::Settings(format!("the database's URL has an unknown parameter; there are {known}")))
}

/// Whether a process would start with this URL.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn usable(url: &Secret) -> Result<(), StoreError> {
    options(url).map(drop)
}

/// While a failover is under way an address may lead to a standby. It takes no write and may be behind, and its connections would
/// be kept; a server that is promoted or left behind ends those that it had as a primary by itself.
async fn refuse_standby(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let standby: bool = sqlx::query_scalar("SELECT pg_is_in_recovery()").fetch_one(connection).await?;
    if standby {
        return Err(sqlx::Error::Protocol(
            "this server is a standby, which takes no writes: trying again".into(),
        ));
    }
    Ok(())
}

/// What PostgreSQL is asked, unless the answer is late.
///
/// # Errors
/// The work's own, or [`StoreError::Silent`]: then whether it was done is not known, and the pool gives up the connection.
pub async fn answered<T>(
    within: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout(within, work).await.map_err(|_| StoreError::Silent(within))?
}

/// Whether a connection that comes back to the pool is of use. One that never answers would hold its place there for ever.
async fn settled(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let silent = |_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
    tokio::time::timeout(SETTLE, connection.ping()).await.map_err(silent)?.map(|()| true)
}

impl Database {
    /// A pool for this URL of at most `max_connections`, none of which is opened yet.
    ///
    /// # Errors
    /// [`StoreError::Settings`] when the URL is none.
    pub fn open(url: &Secret, application: &str, max_connections: u32) -> Result<Self, StoreError> {
        let options = options(url)?;
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            // A broken connection shows at its first statement and the batch is run again, which is cheaper than a
            // question before each of them.
            .test_before_acquire(false)
            .acquire_timeout(Duration::from_secs(5))
            .max_lifetime(Duration::from_secs(30 * 60))
            // Opened when a partition's batch needs one; one that nobody takes for a minute is closed. They are taken in turn, so
            // under load all of them stay.
            .idle_timeout(Duration::from_secs(60))
            .after_connect(|connection, _| Box::pin(refuse_standby(connection)))
            .after_release(|connection, _| Box::pin(settled(connection)))
            .connect_lazy_with(options.application_name(application));
        Ok(Self { pool })
    }

    /// Begins a transaction (read committed).
    ///
    /// # Errors
    /// When PostgreSQL cannot be reached.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(self.pool.begin().await?)
    }

    /// Takes a connection for single statements.
    ///
    /// # Errors
    /// When PostgreSQL cannot be reached.
    pub async fn connection(&self) -> Result<PoolConnection<sqlx::Postgres>, StoreError> {
        Ok(self.pool.acquire().await?)
    }

    /// What the pool's connections do.
    pub fn state(&self) -> PoolState {
        let idle = u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX);
        PoolState {
            idle,
            busy: self.pool.size().saturating_sub(idle),
            max: self.pool.options().get_max_connections(),
        }
    }

    /// What in PostgreSQL's settings could lose a commit, give this process fewer connections than it may want, or let a
    /// statement outlast `drain`, in which a batch must end: a line each.
    ///
    /// # Errors
    /// When PostgreSQL cannot be reached.
    pub async fn warnings(&self, drain: Duration) -> Result<Vec<String>, StoreError> {
        const SETTINGS: &str = "
            SELECT current_setting('fsync') AS fsync,
                   current_setting('full_page_writes') AS full_page_writes,
                   current_setting('synchronous_commit') AS synchronous_commit,
                   current_setting('synchronous_standby_names') AS standby_names,
                   current_setting('max_connections')::int AS max_connections,
                   (SELECT array_agg(name || '=' || setting ORDER BY name) FROM pg_settings
                     WHERE name IN ('lock_timeout', 'statement_timeout', 'idle_in_transaction_session_timeout')) AS timeouts,
                   (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user) AS role_limit";
        let row = sqlx::query(SETTINGS).fetch_one(&self.pool).await?;
        let setting = |name: &str| row.try_get::<String, _>(name);
        let mut lines = Vec::new();
        for name in ["fsync", "full_page_writes"] {
            if setting(name)? != "on" {
                lines.push(format!("PostgreSQL runs with {name}=off: a crash can lose what was answered"));
            }
        }
        match setting("synchronous_commit")?.as_str() {
            "off" => lines.push("synchronous_commit=off: a crash can lose what was answered".into()),
            "local" if !setting("standby_names")?.is_empty() => lines.push(
                "synchronous_commit=local with standbys: a failover can lose what was answered; set it to on"
                    .into(),
            ),
            _ => {}
        }
        let timeouts: Vec<String> = row.try_get("timeouts")?;
        lines.extend(timeouts.iter().filter_map(|timeout| too_long(timeout, drain)));
        let role: i32 = row.try_get("role_limit")?;
        let server: i32 = row.try_get("max_connections")?;
        let allowed = if role >= 0 { role.min(server) } else { server };
        let wanted = self.pool.options().get_max_connections();
        if u32::try_from(allowed).is_ok_and(|allowed| allowed < wanted) {
            lines.push(format!(
                "PostgreSQL allows {allowed} connections, fewer than --database-max-connections {wanted}"
            ));
        }
        Ok(lines)
    }

    /// Closes all connections; those of a server that does not answer are left to the end of the process.
    pub async fn close(&self) {
        let _ = tokio::time::timeout(FAREWELL, self.pool.close()).await;
    }
}

/// What is wrong with a timeout of this role, `name=milliseconds`, where 0 is none: a frozen owner of a partition would keep its
/// locks, or a batch outlast the time in which its partition goes to another.
fn too_long(timeout: &str, drain: Duration) -> Option<String> {
    let (name, millis) = timeout.split_once('=')?;
    let millis: u64 = millis.parse().ok()?;
    // A frozen owner in mid-transaction: its room waits for it, and no room may stand still for longer than this.
    let bound =
        if name == "idle_in_transaction_session_timeout" { drain.min(Duration::from_secs(3)) } else { drain };
    let most = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX);
    if millis > 0 && millis < most {
        return None;
    }
    let now = if millis == 0 { "off".to_owned() } else { format!("{millis} ms") };
    Some(format!(
        "{name} is {now} for this role and should be below {most} ms (--drain-seconds at most), so that another worker need not wait for \
         this one's locks: ALTER ROLE … SET {name}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_below_the_drain_time() {
        let drain = Duration::from_secs(10);
        assert_eq!(too_long("statement_timeout=8000", drain), None);
        for (timeout, words) in [
            ("statement_timeout=10000", "statement_timeout is 10000 ms"),
            ("lock_timeout=0", "lock_timeout is off"),
        ] {
            let line = too_long(timeout, drain).unwrap();
            assert!(line.contains(words) && line.contains("10000 ms"), "{line}");
        }
        assert_eq!(too_long("idle_in_transaction_session_timeout=2500", drain), None);
        let line = too_long("idle_in_transaction_session_timeout=8000", drain).unwrap();
        assert!(line.contains("below 3000 ms"), "{line}");
    }

    #[tokio::test]
    async fn a_bad_url_is_told_without_its_password() {
        for url in [
            "hunter2",
            "postgres://u:hunter2@host:port/d",
            "mysql://u:hunter2@h/d",
            "postgres://u@h/d?sslmode=require&Password=hunter2",
            "postgres://u@h/d?%70assword=hunter2",
        ] {
            let error = Database::open(&Secret::new(url.to_owned()), "test", 1).unwrap_err();
            assert!(matches!(error, StoreError::Settings(_)), "{error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
