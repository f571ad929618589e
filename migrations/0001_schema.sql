-- The whole schema of Parley. Migrations only expand: a later one adds, so that the release before it still runs.
--
-- Rows of a room carry room_id in every key, so that the tables can be spread by it (docs/scaling.md).
-- Names of users compare by their bytes (COLLATE "C"): the order of locks and pages is then the same everywhere.
-- The roles parley_worker and parley_gateway must exist; what each may do stands at the end.

CREATE TABLE users (
    user_id     text COLLATE "C" PRIMARY KEY,
    email       text NOT NULL,
    user_name   text NOT NULL,
    user_status text NOT NULL DEFAULT '',
    join_date   timestamptz NOT NULL,
    login_date  timestamptz,
    logout_date timestamptz,
    -- Grows with each change that friends see; state events carry it, and receivers drop what is not newer.
    version     bigint NOT NULL DEFAULT 1
) WITH (fillfactor = 80);

-- A table of its own, so that no role but the worker's ever reads a hash, and a change of status does not rewrite it.
CREATE TABLE credentials (
    user_id       text COLLATE "C" PRIMARY KEY REFERENCES users,
    -- PHC string format: algorithm, parameters, salt and hash.
    password_hash text NOT NULL
);

-- Failed tries to log in (or to sign up), by account (`user:…`) and by hashed address (`address:…`): the next try of a
-- subject is not looked at before blocked_until, whichever worker meets it and however often workers restart.
CREATE TABLE throttles (
    subject       text COLLATE "C" PRIMARY KEY,
    failures      integer NOT NULL,
    blocked_until timestamptz NOT NULL,
    -- When the last failure lies this far back, the subject has a clean record again.
    forget_at     timestamptz NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX throttles_to_clean ON throttles (forget_at);

-- Friendship is mutual: both directions are rows, written in one statement.
CREATE TABLE friendships (
    user_id   text COLLATE "C" NOT NULL REFERENCES users,
    friend_id text COLLATE "C" NOT NULL REFERENCES users,
    since     timestamptz NOT NULL,
    PRIMARY KEY (user_id, friend_id),
    CHECK (user_id <> friend_id)
);

CREATE TABLE rooms (
    room_id      uuid PRIMARY KEY,
    room_name    text NOT NULL,
    created_by   text COLLATE "C" NOT NULL,
    created_at   timestamptz NOT NULL,
    member_count bigint NOT NULL,
    -- The newest message's number; the row lock of an append is what keeps numbers dense.
    last_seq     bigint NOT NULL DEFAULT 0,
    -- Grows with each change of the membership.
    version      bigint NOT NULL DEFAULT 1
) WITH (fillfactor = 50); -- room on the page keeps the updates of last_seq HOT

-- The one room that two people have between them. The row goes when a third joins: then it is a room like any other.
CREATE TABLE room_pairs (
    user_low  text COLLATE "C" NOT NULL,
    user_high text COLLATE "C" NOT NULL,
    room_id   uuid NOT NULL,
    PRIMARY KEY (user_low, user_high),
    CHECK (user_low < user_high)
);
CREATE UNIQUE INDEX room_pairs_of_room ON room_pairs (room_id);

-- Who hears what: a message is delivered to members with joined_seq < seq <= left_seq (null: still a member).
CREATE TABLE members (
    room_id    uuid NOT NULL,
    user_id    text COLLATE "C" NOT NULL,
    joined_seq bigint NOT NULL,
    left_seq   bigint,
    joined_at  timestamptz NOT NULL,
    PRIMARY KEY (room_id, user_id)
);

-- The same led by the user, with the read mark: one user's rooms in a stable order (joined, room).
CREATE TABLE user_rooms (
    user_id    text COLLATE "C" NOT NULL,
    room_id    uuid NOT NULL,
    read_seq   bigint NOT NULL,
    joined_seq bigint NOT NULL,
    left_seq   bigint,
    joined_at  timestamptz NOT NULL,
    PRIMARY KEY (user_id, room_id)
) WITH (fillfactor = 80);
CREATE INDEX user_rooms_in_order ON user_rooms (user_id, joined_at, room_id) WHERE left_seq IS NULL;

-- A room is a log. The row is also the outcome of its request: it holds all that reply and event need, and all that tells
-- whether a request of the same id has the same body.
CREATE TABLE messages (
    room_id           uuid NOT NULL,
    seq               bigint NOT NULL,
    request_id        uuid NOT NULL,
    writer_id         text COLLATE "C" NOT NULL,
    message           text NOT NULL,
    client_message_id text,
    created_at        timestamptz NOT NULL,
    PRIMARY KEY (room_id, seq),
    -- Led by request_id: finds a request without its room.
    UNIQUE (request_id, room_id)
);

-- A session is valid from its insertion by a login. A logout that comes first leaves a tombstone: a row that ended before any
-- user was known, so that the late login opens nothing.
CREATE TABLE sessions (
    session_key bytea PRIMARY KEY,
    user_id     text COLLATE "C" REFERENCES users,
    opened_at   timestamptz NOT NULL,
    seen_at     timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    ended_at    timestamptz,
    end_reason  text,
    CHECK (user_id IS NOT NULL OR ended_at IS NOT NULL)
) WITH (fillfactor = 80);
CREATE INDEX sessions_of_user ON sessions (user_id) WHERE ended_at IS NULL;
CREATE INDEX sessions_to_clean ON sessions (expires_at);
CREATE INDEX sessions_in_use ON sessions (seen_at) WHERE ended_at IS NULL;

-- What was answered to each request that changes state, refusals and failures too. AddChat's successes stand in messages.
CREATE TABLE inbox (
    request_id  uuid PRIMARY KEY,
    kind        text NOT NULL,
    user_id     text COLLATE "C",
    session_key bytea NOT NULL,
    -- Hash of the client's fields: the same request id with another body is a mismatch.
    fingerprint bytea NOT NULL,
    deadline    timestamptz NOT NULL,
    -- The reply's value, and the events as of the commit: a replay produces both again.
    reply       jsonb NOT NULL,
    events      jsonb NOT NULL DEFAULT '[]',
    -- Whether a record of the same id with a later deadline may still be run: after deadline_exceeded, and after an
    -- operator replays a dead letter.
    gives_way   boolean NOT NULL DEFAULT false,
    stored_at   timestamptz NOT NULL,
    keep_until  timestamptz NOT NULL
);
CREATE INDEX inbox_to_clean ON inbox (keep_until);

-- Least privilege. The worker runs the chat logic; the gateway reads, moves read marks, and never sees a hash.
GRANT SELECT, INSERT, UPDATE ON users, credentials, rooms, members, user_rooms TO parley_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON friendships, room_pairs, sessions, inbox, throttles TO parley_worker;
GRANT SELECT, INSERT ON messages TO parley_worker;

GRANT SELECT ON users, friendships, rooms, members, user_rooms, messages, sessions, inbox TO parley_gateway;
GRANT UPDATE (read_seq) ON user_rooms TO parley_gateway;
GRANT UPDATE (seen_at) ON sessions TO parley_gateway;

-- Both ask at their start which migrations were applied.
GRANT SELECT ON _sqlx_migrations TO parley_worker, parley_gateway;

-- A frozen owner of a partition must not hold room locks: these hold behind a pooler too, because they belong to the role.
-- idle_in_transaction is below the 3 s in which a partition must move again, the others are below the drain time.
DO $$
BEGIN
    ALTER ROLE parley_worker SET idle_in_transaction_session_timeout = '2500ms';
    ALTER ROLE parley_worker SET lock_timeout = '5s';
    ALTER ROLE parley_worker SET statement_timeout = '8s';
EXCEPTION WHEN insufficient_privilege THEN
    RAISE WARNING 'the owner may not alter the role parley_worker; run as a superuser: ALTER ROLE parley_worker SET idle_in_transaction_session_timeout = ''2500ms'', and likewise lock_timeout = ''5s'', statement_timeout = ''8s''';
END
$$;
