//! The connection that writes: one transaction at a time, in two round trips.

use futures::future::{BoxFuture, FutureExt, join_all};
use tokio_postgres::{Client, Statement};

use berth_model::{JobId, NoticeChoice, UtcMs};

use super::{
    columns::Columns,
    fault::Fault,
    guests, notices,
    rows::{Given, Rows, contradiction},
    statements::Statements,
    text::kept,
};
use crate::{
    GuestDecision, NewToken, NoticeFate, OwedNotice, PasswordChange, SeenGuest, StoreError, columns::signed,
};

/// Something small that is written by itself.
#[derive(Clone)]
pub(super) enum Small {
    AddToken(NewToken),
    RevokeToken { id: u64, at: u64 },
    SetState { policy: String, key: String, value: Vec<u8>, most_bytes: u64 },
    DropState { policy: String, key: String },
    ChangePassword(PasswordChange),
    SeeGuest { guest: SeenGuest, most_waiting: u64 },
    DecideGuest(GuestDecision),
    RemoveGuest { name: String, at: UtcMs },
    GuestMeasured { name: String, bytes: u64, at: UtcMs },
    OweNotices { seen: u64, notices: Vec<OwedNotice> },
    SettleNotice { id: String, fate: NoticeFate },
    ChooseNotices { owner: String, choice: Option<NoticeChoice> },
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrote {
    Number(u64),
    Whether(bool),
}

/// The connection that writes, with its statements.
pub(super) struct Session {
    pub(super) client: Client,
    statements: Statements,
}

/// What a statement is to have changed.
type Asked<'a> = (&'a Statement, Given<'a>);

impl Session {
    pub(super) async fn new(client: Client) -> Result<Self, Fault> {
        let statements = Statements::prepare(&client).await?;
        Ok(Self { client, statements })
    }

    /// Begins a transaction and raises the lease's turn in it; `None` where the lease is another one's. What
    /// is given goes along, so that it costs no further round trip.
    async fn begin(&self, fencing: i64, asked: Vec<Asked<'_>>) -> Result<(Option<i64>, Vec<u64>), Fault> {
        let client = &self.client;
        let begin = async { Ok::<_, Fault>(client.batch_execute("BEGIN").await?) };
        let fence = async {
            let row = client.query_opt(&self.statements.fence, &[&fencing]).await?;
            row.map(|row| Columns::of(&row).get::<i64>()).transpose()
        };
        let rest = asked.iter().map(|(statement, given)| -> BoxFuture<'_, Result<u64, Fault>> {
            async move { Ok(client.execute(*statement, given).await?) }.boxed()
        });
        // Sent in this order, each when it is first polled.
        let (begun, turn, counts) = futures::join!(begin, fence, join_all(rest));
        begun?;
        let turn = turn?;
        let counts: Result<Vec<u64>, Fault> = counts.into_iter().collect();
        Ok((turn, counts?))
    }

    /// Ends a transaction without anything.
    pub(super) async fn roll_back(&self) -> Result<(), Fault> {
        Ok(self.client.batch_execute("ROLLBACK").await?)
    }

    pub(super) async fn commit(&self) -> Result<(), Fault> {
        Ok(self.client.batch_execute("COMMIT").await?)
    }

    /// Begins a transaction that has nothing but the lease's turn.
    pub(super) async fn nothing(&self, fencing: i64) -> Result<Option<i64>, Fault> {
        Ok(self.begin(fencing, Vec::new()).await?.0)
    }

    /// Begins a transaction with all of a batch.
    pub(super) async fn batch(&self, fencing: i64, rows: &Rows<'_>) -> Result<Option<i64>, Fault> {
        let statements = &self.statements;
        let next_id: Option<Given<'_>> = rows.next_id.as_ref().map(|id| -> Given<'_> { vec![id] });
        let all: [(&Statement, usize, Option<Given<'_>>); 17] = [
            (&statements.add_jobs, rows.added.moved.id.len(), Some(rows.added.given())),
            (&statements.add_specs, rows.specs.id.len(), Some(rows.specs.given())),
            (&statements.add_tasks, rows.tasks.id.len(), Some(rows.given_tasks())),
            (&statements.alter_jobs, rows.altered.id.len(), Some(rows.altered.given())),
            (&statements.alter_specs, rows.altered_specs.id.len(), Some(rows.altered_specs.given())),
            (&statements.move_jobs, rows.moved.id.len(), Some(rows.moved.given())),
            (&statements.add_events, rows.events.count() as usize, Some(rows.events.given())),
            (&statements.next_id, usize::from(next_id.is_some()), next_id),
            (&statements.charge, rows.charges.kind.len(), Some(rows.charges.given())),
            (&statements.set_accounts, rows.accounts.kind.len(), Some(rows.accounts.set())),
            (
                &statements.drop_accounts,
                rows.accounts_dropped.kind.len(),
                Some(rows.accounts_dropped.dropped()),
            ),
            (&statements.tokens_used, rows.tokens_used.id.len(), Some(rows.tokens_used.given())),
            (&statements.archive, rows.archived.id.len(), Some(rows.archived.given())),
            (
                &statements.forget_directories,
                rows.directories_gone.id.len(),
                Some(rows.directories_gone.given()),
            ),
            (&statements.set_closures, rows.closures.kind.len(), Some(rows.closures.set())),
            (
                &statements.drop_closures,
                rows.closures_dropped.kind.len(),
                Some(rows.closures_dropped.dropped()),
            ),
            (&statements.set_directories, rows.directories.id.len(), Some(rows.directories.given())),
        ];
        let mut places = Vec::new();
        let mut asked = Vec::new();
        for (place, (statement, count, given)) in all.into_iter().enumerate() {
            if let (1.., Some(given)) = (count, given) {
                places.push((place, count as u64));
                asked.push((statement, given));
            }
        }
        let (turn, counts) = match self.begin(fencing, asked).await {
            Err(fault) if fault.is_conflict() => return Err(self.conflict(rows, fault).await),
            begun => begun?,
        };
        if turn.is_some() {
            for ((place, wanted), count) in places.into_iter().zip(counts) {
                if count < wanted {
                    self.explain(place, rows).await?;
                }
            }
        }
        Ok(turn)
    }

    /// A job was there already; which, is asked when the transaction is over.
    async fn conflict(&self, rows: &Rows<'_>, fault: Fault) -> Fault {
        if let Err(fault) = self.roll_back().await {
            return fault;
        }
        let sql = "SELECT id FROM jobs WHERE id = ANY ($1) ORDER BY id LIMIT 1";
        match self.one(sql, &[&rows.added.moved.id]).await {
            Ok(Some(job)) => contradiction(job, "is stored already"),
            Ok(None) => fault,
            Err(fault) => fault,
        }
    }

    /// Why a statement changed less than it had to.
    async fn explain(&self, place: usize, rows: &Rows<'_>) -> Result<(), Fault> {
        let missing = "SELECT n.id FROM unnest($1::bigint[]) AS n (id) \
                       WHERE NOT EXISTS (SELECT FROM jobs j WHERE j.id = n.id) LIMIT 1";
        let not_submitted = "SELECT n.id FROM unnest($1::bigint[]) AS n (id) \
                             WHERE NOT EXISTS (SELECT FROM specs s WHERE s.id = n.id) LIMIT 1";
        let not_task = "SELECT n.id FROM unnest($1::bigint[], $2::bigint[]) AS n (id, array_id) \
                        JOIN jobs j ON j.id = n.id AND j.array_id IS DISTINCT FROM n.array_id LIMIT 1";
        let (found, what) = match place {
            2 => (
                self.one(not_task, &[&rows.tasks.id, &rows.arrays]).await?,
                "is stored already, and not as a task of this array",
            ),
            4 => (
                self.one(not_submitted, &[&rows.altered_specs.id]).await?,
                "is to be changed and was never submitted",
            ),
            5 => (self.one(missing, &[&rows.moved.id]).await?, "is to be changed and is not stored"),
            // The rest may change less: a token that has gone, a job that was archived before.
            _ => return Ok(()),
        };
        Err(contradiction(found.unwrap_or_default(), what))
    }

    async fn one(
        &self,
        sql: &str,
        given: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<Option<JobId>, Fault> {
        let row = self.client.query_opt(sql, given).await?;
        row.map(|row| Columns::of(&row).unsigned().map(JobId)).transpose()
    }

    /// Begins a transaction with something small.
    pub(super) async fn small(&self, fencing: i64, small: &Small) -> Result<Option<(i64, Wrote)>, Fault> {
        let Some(turn) = self.nothing(fencing).await? else { return Ok(None) };
        let wrote = match small {
            Small::AddToken(token) => self.add_token(token).await?,
            Small::RevokeToken { id, at } => {
                let sql = "UPDATE tokens SET revoked = $2 WHERE id = $1 AND revoked IS NULL";
                Wrote::Whether(self.client.execute(sql, &[&signed(*id), &signed(*at)]).await? > 0)
            }
            Small::SetState { policy, key, value, most_bytes } => {
                self.set_state(policy, key, value, *most_bytes).await?
            }
            Small::DropState { policy, key } => {
                let sql = "DELETE FROM policy_state WHERE policy = $1 AND key = $2";
                Wrote::Whether(self.client.execute(sql, &[&kept(policy), &kept(key)]).await? > 0)
            }
            Small::ChangePassword(change) => self.change_password(change).await?,
            Small::SeeGuest { guest, most_waiting } => {
                Wrote::Whether(guests::see(&self.client, guest, *most_waiting).await?)
            }
            Small::DecideGuest(decision) => Wrote::Whether(guests::decide(&self.client, decision).await?),
            Small::RemoveGuest { name, at } => Wrote::Whether(guests::remove(&self.client, name, *at).await?),
            Small::GuestMeasured { name, bytes, at } => {
                guests::measured(&self.client, name, *bytes, *at).await?;
                Wrote::Whether(true)
            }
            Small::OweNotices { seen, notices } => {
                notices::owe(&self.client, *seen, notices).await?;
                Wrote::Whether(true)
            }
            Small::SettleNotice { id, fate } => {
                notices::settle(&self.client, id, *fate).await?;
                Wrote::Whether(true)
            }
            Small::ChooseNotices { owner, choice } => {
                notices::choose(&self.client, owner, choice.as_ref()).await?;
                Wrote::Whether(true)
            }
        };
        Ok(Some((turn, wrote)))
    }

    async fn add_token(&self, token: &NewToken) -> Result<Wrote, Fault> {
        let sql = "INSERT INTO tokens (hash, \"user\", scope, label, created, expires, idle_ms) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id";
        let row = self
            .client
            .query_one(
                sql,
                &[
                    &kept(&token.hash),
                    &kept(&token.user),
                    &i16::from(token.scope as u8),
                    &kept(&token.label),
                    &signed(token.created.0),
                    &token.expires.map(|expires| signed(expires.0)),
                    &token.idle_ms.map(signed),
                ],
            )
            .await?;
        Ok(Wrote::Number(Columns::of(&row).unsigned()?))
    }

    /// With it, the sessions of its user end, but for one.
    async fn change_password(&self, change: &PasswordChange) -> Result<Wrote, Fault> {
        let PasswordChange { user, hash, at, spare } = change;
        let changed = match hash {
            Some(hash) => {
                let sql = "INSERT INTO passwords (\"user\", hash, changed) VALUES ($1, $2, $3) \
                           ON CONFLICT (\"user\") DO UPDATE SET hash = excluded.hash, changed = excluded.changed";
                self.client.execute(sql, &[&kept(user), &kept(hash), &signed(at.0)]).await?
            }
            None => self.client.execute("DELETE FROM passwords WHERE \"user\" = $1", &[&kept(user)]).await?,
        };
        let sql = "UPDATE tokens SET revoked = $2 WHERE \"user\" = $1 AND idle_ms IS NOT NULL \
                   AND revoked IS NULL AND id IS DISTINCT FROM $3::bigint";
        self.client.execute(sql, &[&kept(user), &signed(at.0), &spare.map(signed)]).await?;
        Ok(Wrote::Whether(changed > 0))
    }

    async fn set_state(
        &self,
        policy: &str,
        key: &str,
        value: &[u8],
        most_bytes: u64,
    ) -> Result<Wrote, Fault> {
        let others = "SELECT coalesce(sum(octet_length(key) + octet_length(value)), 0)::bigint \
                      FROM policy_state WHERE policy = $1 AND key <> $2";
        let row = self.client.query_one(others, &[&kept(policy), &kept(key)]).await?;
        let others = Columns::of(&row).unsigned()?;
        let bytes = others.saturating_add((key.len() + value.len()) as u64);
        if bytes > most_bytes {
            let policy = policy.to_owned();
            return Err(StoreError::TooMuchState { policy, bytes, most: most_bytes }.into());
        }
        let set = "INSERT INTO policy_state (policy, key, value) VALUES ($1, $2, $3) \
                   ON CONFLICT (policy, key) DO UPDATE SET value = excluded.value";
        self.client.execute(set, &[&kept(policy), &kept(key), &value]).await?;
        Ok(Wrote::Whether(true))
    }
}
