//! The writer's statements, each for all rows of its kind at once.

use tokio_postgres::{Client, Statement};

use super::fault::Fault;

/// A column with its type.
type Column = (&'static str, &'static str);

/// What moves, after the job's number.
pub(super) const MOVED: [Column; 18] = [
    ("id", "bigint"),
    ("state", "smallint"),
    ("detail", "text"),
    ("attempt", "bigint"),
    ("returned", "bigint"),
    ("node", "text"),
    ("eligible", "bigint"),
    ("started", "bigint"),
    ("exit_code", "int"),
    ("priority", "int"),
    ("node_failures", "bigint"),
    ("array_next", "bigint"),
    ("cpu_micros", "bigint"),
    ("memory_peak", "bigint"),
    ("note", "text"),
    ("granted", "text"),
    ("failed_on", "text"),
    ("ended", "bigint"),
];

/// What only a submission sets.
pub(super) const OWN: [Column; 19] = [
    ("owner", "text"),
    ("project", "text"),
    ("name", "text"),
    ("executor", "text"),
    ("constraints", "text"),
    ("cpu_millis", "bigint"),
    ("memory_bytes", "bigint"),
    ("gpus", "bigint"),
    ("time_limit_ms", "bigint"),
    ("grace_ms", "bigint"),
    ("submitted", "bigint"),
    ("begin_at", "bigint"),
    ("array_range", "text"),
    ("dependencies", "text"),
    ("node_retries", "bigint"),
    ("wants_network", "boolean"),
    ("named", "text"),
    ("class", "text"),
    ("avoid_failed", "boolean"),
];

/// What a change to a waiting job sets.
pub(super) const ALTERED: [Column; 8] = [
    ("id", "bigint"),
    ("project", "text"),
    ("cpu_millis", "bigint"),
    ("memory_bytes", "bigint"),
    ("gpus", "bigint"),
    ("time_limit_ms", "bigint"),
    ("grace_ms", "bigint"),
    ("class", "text"),
];

const CHARGED: [Column; 9] = [
    ("kind", "smallint"),
    ("name", "text"),
    ("hour", "bigint"),
    ("jobs", "bigint"),
    ("wall_ms", "bigint"),
    ("cpu_ms", "bigint"),
    ("memory_mib_ms", "bigint"),
    ("cpu_millis", "bigint"),
    ("memory_mib", "bigint"),
];

/// The statements that a batch may need.
pub(super) struct Statements {
    pub(super) fence: Statement,
    pub(super) add_jobs: Statement,
    pub(super) add_specs: Statement,
    pub(super) add_tasks: Statement,
    pub(super) move_jobs: Statement,
    pub(super) alter_jobs: Statement,
    pub(super) alter_specs: Statement,
    pub(super) add_events: Statement,
    pub(super) next_id: Statement,
    pub(super) charge: Statement,
    pub(super) set_accounts: Statement,
    pub(super) drop_accounts: Statement,
    pub(super) set_closures: Statement,
    pub(super) drop_closures: Statement,
    pub(super) tokens_used: Statement,
    pub(super) archive: Statement,
    pub(super) forget_directories: Statement,
    pub(super) set_directories: Statement,
}

impl Statements {
    pub(super) async fn prepare(client: &Client) -> Result<Self, Fault> {
        // Every one of them finds its rows by their numbers; it need not be planned each time.
        client
            .batch_execute(
                "SET plan_cache_mode = force_generic_plan; SET enable_hashjoin = off; \
                 SET enable_mergejoin = off; SET enable_seqscan = off",
            )
            .await?;
        let tasks = [&MOVED[..], &[("array_id", "bigint")]].concat();
        let jobs = [&MOVED[..], &OWN[..]].concat();
        let specs = "unnest($1::bigint[], $2::text[], $3::text[]) AS n (id, tags, submission)";
        let accounts = "unnest($1::smallint[], $2::text[]) AS n (kind, name)";
        let instants = "unnest($1::bigint[], $2::bigint[]) AS n (id, at)";
        Ok(Self {
            fence: client
                .prepare("UPDATE lease SET turn = turn + 1 WHERE fencing = $1 RETURNING turn")
                .await?,
            add_jobs: client.prepare(&insert("jobs", &jobs)).await?,
            add_specs: client
                .prepare(&format!(
                    "INSERT INTO specs (id, tags, submission) SELECT id, tags::text[], submission FROM {specs}"
                ))
                .await?,
            // A task that is there already is one of an array that runs again.
            add_tasks: client
                .prepare(&format!(
                    "{} ON CONFLICT (id) DO UPDATE SET {} WHERE jobs.array_id = excluded.array_id",
                    insert("jobs", &tasks),
                    set("excluded", &MOVED)
                ))
                .await?,
            move_jobs: client.prepare(&update("jobs", &MOVED)).await?,
            alter_jobs: client.prepare(&update("jobs", &ALTERED)).await?,
            alter_specs: client
                .prepare(&format!(
                    "UPDATE specs SET tags = n.tags::text[], submission = n.submission FROM {specs} \
                     WHERE specs.id = n.id"
                ))
                .await?,
            add_events: client
                .prepare(
                    "INSERT INTO events (seq, job, at, kind) SELECT $1::bigint + place - 1, job, at, kind \
                     FROM unnest($2::bigint[], $3::bigint[], $4::text[]) WITH ORDINALITY \
                     AS n (job, at, kind, place)",
                )
                .await?,
            next_id: client
                .prepare(
                    "INSERT INTO meta (key, value) VALUES ('next_id', $1) \
                     ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                )
                .await?,
            charge: client
                .prepare(&format!(
                    "{} ON CONFLICT (kind, name, hour) DO UPDATE SET {}",
                    insert("usage_hours", &CHARGED),
                    set("excluded", CHARGED.get(2..).unwrap_or_default())
                ))
                .await?,
            set_accounts: client
                .prepare(
                    "INSERT INTO accounts (kind, name, version, terms) SELECT * \
                     FROM unnest($1::smallint[], $2::text[], $3::bigint[], $4::text[]) \
                     ON CONFLICT (kind, name) DO UPDATE SET version = excluded.version, terms = excluded.terms",
                )
                .await?,
            drop_accounts: client
                .prepare(&format!(
                    "DELETE FROM accounts a USING {accounts} WHERE a.kind = n.kind AND a.name = n.name"
                ))
                .await?,
            set_closures: client
                .prepare(
                    "INSERT INTO closures (kind, name, version, terms) SELECT * \
                     FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[]) \
                     ON CONFLICT (kind, name) DO UPDATE SET version = excluded.version, terms = excluded.terms",
                )
                .await?,
            drop_closures: client
                .prepare(
                    "DELETE FROM closures c USING unnest($1::text[], $2::text[]) AS n (kind, name) \
                     WHERE c.kind = n.kind AND c.name = n.name",
                )
                .await?,
            tokens_used: client
                .prepare(&format!(
                    "UPDATE tokens SET last_used = greatest(coalesce(last_used, 0), n.at) FROM {instants} \
                     WHERE tokens.id = n.id"
                ))
                .await?,
            archive: client
                .prepare(&format!(
                    "UPDATE jobs SET archived = n.at FROM {instants} \
                     WHERE jobs.id = n.id AND ended IS NOT NULL AND archived IS NULL"
                ))
                .await?,
            forget_directories: client
                .prepare(&format!(
                    "DELETE FROM directories d USING {instants} WHERE d.job BETWEEN n.id AND n.at"
                ))
                .await?,
            set_directories: client
                .prepare(
                    "INSERT INTO directories (job, runs_over, bytes) SELECT * \
                     FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) \
                     ON CONFLICT (job) DO UPDATE SET runs_over = excluded.runs_over, bytes = excluded.bytes",
                )
                .await?,
        })
    }
}

fn names(columns: &[Column]) -> String {
    columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// All columns as arrays: $1, $2 and so on.
fn unnest(columns: &[Column]) -> String {
    let arrays: Vec<_> =
        columns.iter().zip(1..).map(|((_, kind), number)| format!("${number}::{kind}[]")).collect();
    format!("unnest({}) AS n ({})", arrays.join(", "), names(columns))
}

fn insert(table: &str, columns: &[Column]) -> String {
    let names = names(columns);
    format!("INSERT INTO {table} ({names}) SELECT {names} FROM {}", unnest(columns))
}

/// The first column is the key.
fn set(from: &str, columns: &[Column]) -> String {
    let set = columns.iter().skip(1).map(|(name, _)| format!("{name} = {from}.{name}"));
    set.collect::<Vec<_>>().join(", ")
}

fn update(table: &str, columns: &[Column]) -> String {
    format!("UPDATE {table} SET {} FROM {} WHERE {table}.id = n.id", set("n", columns), unnest(columns))
}
