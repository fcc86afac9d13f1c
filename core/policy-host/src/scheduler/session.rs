//! One instance of a scheduler policy, from `configure` to its fault.

use berth_engine::{Plan, PlanRequest, Told};
use berth_model::{JobId, UtcMs};

use crate::{
    Fault, Loaded,
    bindings::v0_1_0::{
        scheduler::{self as wit, SchedulerPolicy},
        types,
    },
    convert,
    instance::Instance,
    words::shown,
};

/// The most that is told in one call.
const CHUNK: usize = 10_000;

/// A configured instance and what it is to remember.
pub(crate) struct Session {
    instance: Instance<SchedulerPolicy>,
}

/// How a plan was answered.
#[derive(Debug)]
pub(crate) enum Answer {
    Plan(Plan),
    /// In the guest's words, why there is none.
    Declined(String),
}

impl Session {
    pub(crate) fn open(loaded: &Loaded) -> Result<Self, Fault> {
        let mut instance = loaded.instantiate::<SchedulerPolicy>()?;
        instance.configure(&loaded.spec().settings)?;
        Ok(Self { instance })
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.instance.memory_bytes()
    }

    /// Tells what changed, and compares the counts.
    pub(crate) fn tell(&mut self, told: &Told, pending_known: u64) -> Result<(), Fault> {
        self.instance.hear_accounts(&told.accounts);
        self.tell_names(told)?;
        self.chunks(&told.nodes, |guest, store, nodes: &[wit::Node]| guest.call_nodes(store, nodes))?;
        self.chunks(&told.placements, |guest, store, placements: &[wit::Placement]| {
            guest.call_placements(store, placements)
        })?;
        self.ids(&told.withdrawn, |guest, store, jobs| guest.call_withdrawn(store, jobs))?;
        self.chunks(&told.pending, |guest, store, jobs: &[wit::PendingJob]| {
            guest.call_pending(store, jobs, &[])
        })?;
        self.ids(&told.ended, |guest, store, jobs| guest.call_ended(store, jobs))?;
        self.chunks(&told.started, |guest, store, jobs: &[wit::RunningJob]| guest.call_started(store, jobs))?;
        let knows = self.instance.call(|store, world| world.berth_policy_scheduler().call_len(store))?;
        if knows == pending_known {
            return Ok(());
        }
        let words = format!("it knows {knows} pending jobs where it was told {pending_known}");
        Err(Fault::Breach { words })
    }

    pub(crate) fn plan(&mut self, request: &PlanRequest) -> Result<Answer, Fault> {
        let room: Vec<wit::NodeRoom> = request.room.iter().map(Into::into).collect();
        let answer = self.instance.call(|store, world| {
            world.berth_policy_scheduler().call_plan(store, request.now.0, &room, request.most)
        })?;
        let limits = self.instance.limits();
        match answer {
            Ok(plan) => convert::plan(request.snapshot, plan, limits).map(Answer::Plan),
            Err(types::Error::Other(words)) => Ok(Answer::Declined(shown(&words, limits.words_bytes))),
            Err(types::Error::BadSettings(words)) => {
                Err(Fault::Settings { words: shown(&words, limits.words_bytes) })
            }
        }
    }

    pub(crate) fn explain(&mut self, now: UtcMs, job: JobId) -> Result<Option<String>, Fault> {
        let words = self
            .instance
            .call(|store, world| world.berth_policy_scheduler().call_explain(store, now.0, job.0))?;
        Ok(words.map(|words| shown(&words, self.instance.limits().words_bytes)))
    }

    fn tell_names(&mut self, told: &Told) -> Result<(), Fault> {
        let mut first = told.first_name;
        for names in told.names.chunks(CHUNK) {
            self.instance
                .call(|store, world| world.berth_policy_scheduler().call_names(store, first, names))?;
            first = first.saturating_add(u32::try_from(names.len()).unwrap_or(u32::MAX));
        }
        Ok(())
    }

    /// Tells a list in parts, each translated into the same piece of memory.
    fn chunks<'a, Native, Wit>(
        &mut self,
        list: &'a [Native],
        tell: impl Fn(&wit::Guest, &mut wasmtime::Store<crate::instance::Guest>, &[Wit]) -> wasmtime::Result<()>,
    ) -> Result<(), Fault>
    where
        Wit: From<&'a Native>,
    {
        let mut translated = Vec::with_capacity(list.len().min(CHUNK));
        for part in list.chunks(CHUNK) {
            translated.clear();
            translated.extend(part.iter().map(Wit::from));
            self.instance.call(|store, world| tell(world.berth_policy_scheduler(), store, &translated))?;
        }
        Ok(())
    }

    fn ids(
        &mut self,
        list: &[JobId],
        tell: impl Fn(&wit::Guest, &mut wasmtime::Store<crate::instance::Guest>, &[u64]) -> wasmtime::Result<()>,
    ) -> Result<(), Fault> {
        let mut translated = Vec::with_capacity(list.len().min(CHUNK));
        for part in list.chunks(CHUNK) {
            translated.clear();
            translated.extend(part.iter().map(|job| job.0));
            self.instance.call(|store, world| tell(world.berth_policy_scheduler(), store, &translated))?;
        }
        Ok(())
    }
}
