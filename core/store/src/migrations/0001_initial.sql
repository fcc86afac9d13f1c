-- Instants are milliseconds since 1970, spans carry their unit in the name. Unsigned numbers are kept
-- bit by bit in signed ones.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

-- Jobs, arrays, and tasks once they are jobs of their own. The task at position p of array a has the
-- number a + 1 + p, so that an array's tasks are a range of this table and need no index.
CREATE TABLE jobs (
    id             INTEGER PRIMARY KEY,
    array_id       INTEGER,            -- for a task: its array
    state          INTEGER NOT NULL,
    ended          INTEGER,            -- NULL exactly while the job is live
    detail         ANY,                -- of the state, where it has data that no column has
    -- What moves.
    attempt        INTEGER NOT NULL,
    returned       INTEGER NOT NULL,
    node           TEXT,
    eligible       INTEGER NOT NULL,
    started        INTEGER,
    exit_code      INTEGER,
    priority       INTEGER NOT NULL,
    node_failures  INTEGER NOT NULL,
    array_next     INTEGER NOT NULL,
    cpu_micros     INTEGER,
    memory_peak    INTEGER,
    note           TEXT,
    -- What never changes. All of it is NULL for a task: its array's holds.
    owner          TEXT,
    project        TEXT,
    name           TEXT,
    executor       TEXT,
    constraints    TEXT,               -- JSON, NULL for none
    cpu_millis     INTEGER,
    memory_bytes   INTEGER,
    gpus           INTEGER,
    time_limit_ms  INTEGER,
    grace_ms       INTEGER,
    submitted      INTEGER,
    begin_at       INTEGER,
    array_range    TEXT,               -- for an array
    dependencies   TEXT,               -- JSON, NULL for none
    node_retries   INTEGER,
    wants_network  INTEGER
) STRICT;

-- Live jobs in the order of their numbers, and ended ones by time. Only an end, or a rerun, moves an
-- entry.
CREATE INDEX jobs_ended ON jobs (ended);
-- Written once for each submission.
CREATE INDEX jobs_owner ON jobs (owner) WHERE owner IS NOT NULL;
-- 10 is `lost`: the truth about these may yet arrive.
CREATE INDEX jobs_lost ON jobs (state) WHERE state = 10;

-- What was asked, as JSON; one row for a job or a whole array.
CREATE TABLE specs (
    id         INTEGER PRIMARY KEY,
    submission TEXT NOT NULL
) STRICT;

-- Append-only.
CREATE TABLE events (
    seq  INTEGER PRIMARY KEY,
    job  INTEGER NOT NULL,
    at   INTEGER NOT NULL,
    kind TEXT NOT NULL                 -- JSON
) STRICT;

CREATE INDEX events_job ON events (job);

CREATE TABLE tokens (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    hash      TEXT NOT NULL UNIQUE,    -- SHA-256 of the secret, in hex
    user      TEXT NOT NULL,
    scope     INTEGER NOT NULL,
    label     TEXT NOT NULL,
    created   INTEGER NOT NULL,
    expires   INTEGER,
    last_used INTEGER,
    revoked   INTEGER
) STRICT;

CREATE TABLE policy_state (
    policy TEXT NOT NULL,
    key    TEXT NOT NULL,
    value  BLOB NOT NULL,
    PRIMARY KEY (policy, key)
) STRICT, WITHOUT ROWID;
