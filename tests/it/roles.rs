//! What the roles of worker and gateway may do in PostgreSQL: exactly what is listed here, and the rest is refused.

use std::process::Command;

use crate::fixtures::Postgres;

/// Every right that a role other than the owner has been given. A migration that grants more changes this table too.
const GRANTS: &str = "
database parley: parley_gateway CONNECT
database parley: parley_worker CONNECT
schema public: PUBLIC USAGE
column sessions.seen_at: parley_gateway UPDATE
column user_rooms.read_seq: parley_gateway UPDATE
table _sqlx_migrations: parley_gateway SELECT
table _sqlx_migrations: parley_worker SELECT
table credentials: parley_worker INSERT SELECT UPDATE
table friendships: parley_gateway SELECT
table friendships: parley_worker DELETE INSERT SELECT UPDATE
table inbox: parley_gateway SELECT
table inbox: parley_worker DELETE INSERT SELECT UPDATE
table members: parley_gateway SELECT
table members: parley_worker INSERT SELECT UPDATE
table messages: parley_gateway SELECT
table messages: parley_worker INSERT SELECT
table room_pairs: parley_worker DELETE INSERT SELECT UPDATE
table rooms: parley_gateway SELECT
table rooms: parley_worker INSERT SELECT UPDATE
table sessions: parley_gateway SELECT
table sessions: parley_worker DELETE INSERT SELECT UPDATE
table throttles: parley_worker DELETE INSERT SELECT UPDATE
table user_rooms: parley_gateway SELECT
table user_rooms: parley_worker INSERT SELECT UPDATE
table users: parley_gateway SELECT
table users: parley_worker INSERT SELECT UPDATE";

/// The same as PostgreSQL tells it: rights on the database, on schemas, relations, columns and functions of ours, what roles they are
/// members of, and what a role may by itself. The owner's own rights are left out.
const ASK: &str = "
    WITH rights AS (
        SELECT 'database ' || datname AS object, acl.* FROM pg_database, aclexplode(datacl) AS acl
        WHERE datname = 'parley' AND acl.grantee <> datdba
        UNION ALL
        SELECT 'schema ' || nspname, acl.* FROM pg_namespace, aclexplode(nspacl) AS acl
        WHERE nspname !~ '^pg_|^information_schema$' AND acl.grantee <> nspowner
        UNION ALL
        SELECT 'table ' || relname, acl.* FROM pg_class, aclexplode(relacl) AS acl
        WHERE relnamespace = 'public'::regnamespace AND acl.grantee <> relowner
        UNION ALL
        SELECT 'column ' || relname || '.' || attname, acl.*
        FROM pg_attribute JOIN pg_class ON attrelid = pg_class.oid, aclexplode(attacl) AS acl
        WHERE relnamespace = 'public'::regnamespace
        UNION ALL
        SELECT 'function ' || proname, acl.*
        FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner))) AS acl
        WHERE pronamespace = 'public'::regnamespace AND acl.grantee <> proowner
        UNION ALL
        SELECT 'default ' || defaclobjtype::text, acl.* FROM pg_default_acl, aclexplode(defaclacl) AS acl
    )
    SELECT object || ': ' || coalesce(rolname, 'PUBLIC') || ' '
        || string_agg(privilege_type || CASE WHEN is_grantable THEN '*' ELSE '' END, ' ' ORDER BY privilege_type)
    FROM rights LEFT JOIN pg_roles ON pg_roles.oid = grantee GROUP BY object, rolname
    UNION ALL
    SELECT 'role: ' || m.rolname || ' is a member of ' || r.rolname
    FROM pg_auth_members JOIN pg_roles AS m ON m.oid = member JOIN pg_roles AS r ON r.oid = roleid
    WHERE m.rolname IN ('parley_worker', 'parley_gateway')
    UNION ALL
    SELECT 'role: ' || rolname || ' may more than log in' FROM pg_roles
    WHERE rolname IN ('parley_worker', 'parley_gateway')
        AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)";

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.sort_unstable();
    lines
}

/// One of its own: who looks into the shared one's template stands in the way of who copies it.
fn postgres() -> Postgres {
    let postgres = Postgres::own();
    postgres.migrate("parley");
    postgres
}

#[test]
fn every_right_in_postgresql_is_in_the_table() {
    let found = postgres().query(ASK);
    assert_eq!(sorted(&found), sorted(GRANTS));
}

/// What PostgreSQL says to a statement of this role.
fn attempt(postgres: &Postgres, who: &str, sql: &str) -> Result<(), String> {
    let output = Command::new("psql")
        .args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-d", &postgres.url(who, "parley"), "-c", sql])
        .output()
        .expect("psql runs");
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[test]
fn hashes_are_hidden_from_the_gateway_and_the_schema_is_the_owners() {
    let postgres = postgres();
    // What the work needs, so that a refusal below is one of this statement.
    for (who, sql) in [
        (
            "gateway",
            "SELECT count(*) FROM users, friendships, rooms, members, user_rooms, messages, sessions, inbox",
        ),
        ("gateway", "UPDATE user_rooms SET read_seq = 1 WHERE user_id = 'amy'"),
        ("gateway", "UPDATE sessions SET seen_at = now() WHERE user_id = 'amy'"),
        ("worker", "SELECT password_hash FROM credentials"),
        (
            "worker",
            "INSERT INTO users (user_id, email, user_name, join_date) VALUES ('amy', 'a@b.cd', 'Amy', now())",
        ),
        ("worker", "INSERT INTO credentials VALUES ('amy', 'a hash')"),
        ("worker", "DELETE FROM sessions"),
    ] {
        attempt(&postgres, who, sql).unwrap_or_else(|error| panic!("{who}: {sql}: {error}"));
    }
    let refused = [
        // No way to a hash, and none to the counts of failed logins.
        ("gateway", "SELECT password_hash FROM credentials"),
        ("gateway", "SELECT count(*) FROM credentials"),
        ("gateway", "COPY credentials TO STDOUT"),
        ("gateway", "UPDATE credentials SET password_hash = 'mine'"),
        ("gateway", "SELECT * FROM throttles"),
        ("gateway", "SET ROLE parley_worker"),
        ("gateway", "SET ROLE parley_owner"),
        // It reads; of what it reads it writes two columns.
        ("gateway", "UPDATE users SET user_status = 'defaced'"),
        (
            "gateway",
            "INSERT INTO users (user_id, email, user_name, join_date) VALUES ('eve', 'a@b.cd', 'Eve', now())",
        ),
        ("gateway", "INSERT INTO messages SELECT * FROM messages"),
        ("gateway", "DELETE FROM messages"),
        ("gateway", "UPDATE rooms SET last_seq = 9"),
        ("gateway", "INSERT INTO members SELECT * FROM members"),
        ("gateway", "UPDATE user_rooms SET left_seq = NULL"),
        ("gateway", "DELETE FROM user_rooms"),
        ("gateway", "INSERT INTO sessions SELECT * FROM sessions"),
        ("gateway", "UPDATE sessions SET expires_at = 'infinity'"),
        ("gateway", "UPDATE sessions SET ended_at = NULL"),
        ("gateway", "INSERT INTO inbox SELECT * FROM inbox"),
        ("gateway", "INSERT INTO friendships VALUES ('amy', 'eve', now())"),
        ("gateway", "BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE; COMMIT"),
        // What was said stays said, and nobody is unmade.
        ("worker", "UPDATE messages SET message = 'never said'"),
        ("worker", "DELETE FROM messages"),
        ("worker", "DELETE FROM users"),
        ("worker", "DELETE FROM credentials"),
        ("worker", "DELETE FROM _sqlx_migrations"),
        ("worker", "SET ROLE parley_owner"),
        ("worker", "SET ROLE postgres"),
    ];
    let schema = [
        "CREATE TABLE mine (n integer)",
        "CREATE TEMP TABLE mine (n integer)",
        "CREATE SCHEMA mine",
        "CREATE VIEW mine AS SELECT 1",
        "CREATE FUNCTION mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "ALTER TABLE users ADD COLUMN mine text",
        "ALTER TABLE messages DROP COLUMN message",
        "CREATE INDEX mine ON users (email)",
        "CREATE TRIGGER mine BEFORE INSERT ON messages EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "DROP TABLE users CASCADE",
        "TRUNCATE messages",
        "CREATE ROLE mine",
        "CREATE DATABASE mine",
        "ALTER ROLE parley_owner PASSWORD 'mine'",
        "COPY users TO PROGRAM 'cat'",
        "SELECT pg_read_file('PG_VERSION')",
    ];
    let of_schema = ["worker", "gateway"].into_iter().flat_map(|who| schema.map(|sql| (who, sql)));
    for (who, sql) in refused.into_iter().chain(of_schema) {
        let error = attempt(&postgres, who, sql).expect_err(sql);
        let denied = ["permission denied", "must be owner of", "must be superuser", "must have CREATEROLE"];
        assert!(denied.iter().any(|words| error.contains(words)), "{who}: {sql}: {error}");
    }
}
