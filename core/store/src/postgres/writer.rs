//! The writer: one transaction after the other, the lease renewed in between, and the outcome found out where
//! an answer was lost.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    database::Database,
    fault::Fault,
    lease::{Lease, Standing, since_boot},
    rows::Rows,
    session::{Session, Small, Wrote},
};
use crate::{Committed, SharedBatch, StoreError};

/// How long to wait before a renewal that failed is tried again.
const RENEW_AGAIN: Duration = Duration::from_millis(500);

/// What the writer is told.
pub(super) enum Order {
    Commit(SharedBatch, oneshot::Sender<Result<Committed, StoreError>>),
    Small(Small, oneshot::Sender<Result<Wrote, StoreError>>),
    /// Gives the lead up.
    Resign(oneshot::Sender<Result<(), StoreError>>),
}

/// What a transaction is about.
enum Work {
    Batch(SharedBatch),
    Small(Small),
    /// The lease alone.
    Renewal,
}

/// What comes of a transaction once it is durable.
#[derive(Clone)]
struct Outcome {
    turn: i64,
    /// The number that the next event will get.
    next_event: u64,
    /// Its batch, if it had one: it may be given again.
    batch: Option<SharedBatch>,
    committed: Committed,
    wrote: Wrote,
}

pub(super) struct Writer {
    database: Arc<Database>,
    standing: Arc<Standing>,
    session: Option<Session>,
    fencing: i64,
    turn: i64,
    next_event: u64,
    /// A transaction whose end was asked for and not answered.
    in_doubt: Option<Outcome>,
    /// One that turned out to have taken place, until somebody asks.
    found: Option<Outcome>,
    renew_at: Instant,
}

impl Writer {
    /// For the leader, with what it was given and what is stored.
    pub(super) fn new(
        database: Arc<Database>,
        standing: Arc<Standing>,
        session: Session,
        lease: &Lease,
        last_event: u64,
    ) -> Self {
        let renew_at = Instant::now();
        Self {
            database,
            standing,
            session: Some(session),
            fencing: lease.fencing,
            turn: lease.turn,
            next_event: last_event + 1,
            in_doubt: None,
            found: None,
            renew_at,
        }
    }

    /// Writes until nobody can order anything any more, or another one leads.
    pub(super) async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        loop {
            let order = tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(order) => order,
                    None => return,
                },
                () = tokio::time::sleep_until(self.renew_at), if self.standing.other_leader().is_none() => {
                    self.renew().await;
                    continue;
                }
            };
            match order {
                // Whoever asked may have gone; what was written is durable all the same.
                Order::Commit(batch, reply) => {
                    let done = self.commit(batch).await;
                    let _ = reply.send(done);
                }
                Order::Small(small, reply) => {
                    let done = self.small(small).await;
                    let _ = reply.send(done);
                }
                Order::Resign(reply) => {
                    let done = self.resign().await;
                    let _ = reply.send(done);
                }
            }
        }
    }

    async fn renew(&mut self) {
        if let Err(error) = self.transaction(Work::Renewal).await {
            self.renew_at = Instant::now() + RENEW_AGAIN;
            tracing::warn!(error = %error, "the lease cannot be renewed; it is tried again");
        }
    }

    async fn commit(&mut self, batch: SharedBatch) -> Result<Committed, StoreError> {
        self.settle().await?;
        // It was given before, and only the answer was lost.
        if let Some(found) = self.found.take()
            && found.batch.as_ref().is_some_and(|given| Arc::ptr_eq(given, &batch))
        {
            return Ok(found.committed);
        }
        Ok(self.transaction(Work::Batch(batch)).await?.committed)
    }

    async fn small(&mut self, small: Small) -> Result<Wrote, StoreError> {
        match self.transaction(Work::Small(small)).await {
            Ok(outcome) => Ok(outcome.wrote),
            // Nobody gives it again by itself, so that it has to be said.
            Err(_) if self.in_doubt.is_some() => {
                Err(StoreError::Uncertain { database: self.database.name.to_string() })
            }
            Err(error) => Err(error),
        }
    }

    async fn transaction(&mut self, work: Work) -> Result<Outcome, StoreError> {
        self.settle().await?;
        let sent = since_boot();
        let outcome = match self.begin(work).await {
            Ok(Some(outcome)) => outcome,
            Ok(None) => return Err(self.deposed().await),
            Err(fault) => return Err(self.give_up(fault).await),
        };
        let Some(session) = &self.session else { return Err(StoreError::Stopped) };
        match self.database.answered(session.commit()).await {
            Ok(()) => {
                self.done(&outcome, sent);
                Ok(outcome)
            }
            Err(fault) if fault.is_answer() => Err(self.give_up(fault).await),
            Err(fault) => {
                tracing::warn!("the connection was lost before the answer to a commit");
                self.session = None;
                self.in_doubt = Some(outcome);
                self.settle().await?;
                // It is known now: done, or nothing of it.
                self.found.clone().ok_or_else(|| fault.about(&self.database.name, "written"))
            }
        }
    }

    /// All of a transaction but its end; `None` where another one leads.
    async fn begin(&self, work: Work) -> Result<Option<Outcome>, Fault> {
        let Some(session) = &self.session else { return Err(StoreError::Stopped.into()) };
        let mut outcome = Outcome {
            turn: self.turn,
            next_event: self.next_event,
            batch: None,
            committed: Committed { first_event: self.next_event, events: 0 },
            wrote: Wrote::Whether(true),
        };
        let turn = match work {
            Work::Renewal => self.database.answered(session.nothing(self.fencing)).await?,
            Work::Small(small) => {
                let done = self.database.answered(session.small(self.fencing, &small)).await?;
                done.map(|(turn, wrote)| {
                    outcome.wrote = wrote;
                    turn
                })
            }
            Work::Batch(batch) => {
                let rows = Rows::of(&batch, self.next_event)?;
                outcome.committed.events = rows.events.count();
                outcome.next_event += rows.events.count();
                let turn = self.database.answered(session.batch(self.fencing, &rows)).await?;
                drop(rows);
                outcome.batch = Some(batch);
                turn
            }
        };
        Ok(turn.map(|turn| Outcome { turn, ..outcome }))
    }

    fn done(&mut self, outcome: &Outcome, sent: Duration) {
        self.turn = outcome.turn;
        self.next_event = outcome.next_event;
        self.standing.renewed(sent);
        self.renew_at = Instant::now() + self.standing.lasts / 3;
    }

    /// Ends a transaction that has failed, so that nothing of it is kept.
    async fn give_up(&mut self, fault: Fault) -> StoreError {
        let ended = match &self.session {
            Some(session) if fault.is_answer() => self.database.answered(session.roll_back()).await.is_ok(),
            _ => false,
        };
        if !ended {
            // The database rolls back what a lost connection leaves.
            self.session = None;
        }
        fault.about(&self.database.name, "written")
    }

    /// Another one leads.
    async fn deposed(&mut self) -> StoreError {
        let leader = match &self.session {
            Some(session) => {
                let _ = self.database.answered(session.roll_back()).await;
                self.database.answered(Lease::read(&session.client)).await.ok().map(|lease| lease.leader)
            }
            None => None,
        };
        self.fenced(leader.unwrap_or_else(|| "another Berth".to_owned()))
    }

    fn fenced(&mut self, leader: String) -> StoreError {
        tracing::error!(leader, "another Berth has taken the lead; this one writes nothing more");
        self.session = None;
        self.standing.depose(leader.clone());
        StoreError::StandsBy { leader }
    }

    /// Sees to it that there is a connection, and that it is known what became of the transactions before.
    async fn settle(&mut self) -> Result<(), StoreError> {
        if let Some(leader) = self.standing.other_leader() {
            return Err(StoreError::StandsBy { leader });
        }
        if self.session.as_ref().is_some_and(|session| !session.client.is_closed()) {
            return Ok(());
        }
        self.session = None;
        let connected = self.connect().await;
        let (session, lease) = connected.map_err(|fault| fault.about(&self.database.name, "written"))?;
        if lease.fencing != self.fencing {
            return Err(self.fenced(lease.leader));
        }
        self.session = Some(session);
        self.turn = lease.turn;
        if let Some(outcome) = self.in_doubt.take()
            && outcome.turn == lease.turn
        {
            self.next_event = outcome.next_event;
            self.found = Some(outcome);
        }
        Ok(())
    }

    async fn connect(&self) -> Result<(Session, Lease), Fault> {
        let client = self.database.connect().await?;
        let session = self.database.answered(Session::new(client)).await?;
        // Waits for a transaction of the connection before this one, if there is one under way still.
        let lease = self.database.answered(Lease::settled(&session.client)).await?;
        Ok((session, lease))
    }

    async fn resign(&mut self) -> Result<(), StoreError> {
        self.settle().await?;
        let Some(session) = &self.session else { return Err(StoreError::Stopped) };
        let sql = "UPDATE lease SET holder = NULL, leader = 'nobody', turn = turn + 1 WHERE fencing = $1";
        let given: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&self.fencing];
        let given_up = async { Ok(session.client.execute(sql, &given).await?) };
        let done = self.database.answered(given_up).await;
        self.standing.depose("nobody".to_owned());
        self.session = None;
        done.map(drop).map_err(|fault| fault.about(&self.database.name, "written"))
    }
}
