use sqlx::{ConnectOptions as _, Connection as _, migrate::Migrator};

use super::{Database, SILENCE, StoreError, answered, pool};
use crate::process::Secret;

/// The migrations of this release, compiled in. Newer ones that a later release applied are no error: migrations only
/// expand, so that a rollback starts.
fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!();
    migrator.set_ignore_missing(true);
    migrator
}

/// Applies what is missing, in one connection as the owner, under PostgreSQL's advisory lock: two at once wait for each other.
/// Gives the number of migrations that were applied now.
///
/// # Errors
/// When PostgreSQL cannot be reached or a migration fails; a failed one leaves nothing behind.
pub async fn migrate(url: &Secret) -> Result<usize, StoreError> {
    let mut connection = pool::options(url)?.application_name("parley-migrate").connect().await?;
    let before = applied(&mut connection).await.map_or(0, |versions| versions.len());
    let migrator = migrator();
    migrator.run(&mut connection).await.map_err(|error| StoreError::from(sqlx::Error::from(error)))?;
    let after = applied(&mut connection).await?.len();
    connection.close().await?;
    Ok(after.saturating_sub(before))
}

/// Migrations of this release that the database does not have yet: until there are none, this release must not work on it.
///
/// # Errors
/// When PostgreSQL cannot be reached.
pub async fn missing_migrations(database: &Database) -> Result<Vec<i64>, StoreError> {
    let asking = async {
        let mut connection = database.connection().await?;
        let there: Option<String> = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations')::text")
            .fetch_one(&mut *connection)
            .await?;
        if there.is_some() { applied(&mut connection).await } else { Ok(Vec::new()) }
    };
    let applied = answered(SILENCE, asking).await?;
    Ok(migrator()
        .iter()
        .map(|migration| migration.version)
        .filter(|version| !applied.contains(version))
        .collect())
}

async fn applied(connection: &mut super::Conn) -> Result<Vec<i64>, StoreError> {
    let rows = sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success ORDER BY version");
    Ok(rows.fetch_all(connection).await?)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_file_is_compiled_in() {
        let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap().count();
        assert_eq!(super::migrator().iter().count(), files, "touch src/store/migrate.rs after adding a file");
    }
}
