//! Jobs that wait for the ends of others.

use berth_model::{Dependency, DependencyKind, EventKind, Hold, JobEvent, JobId, StateKind, Step};

use crate::{Engine, Refusal};

/// What the end of one job means for another that waits for it.
fn is_met(kind: DependencyKind, state: StateKind) -> bool {
    match kind {
        DependencyKind::AfterOk => state == StateKind::Succeeded,
        DependencyKind::AfterAny => true,
        DependencyKind::AfterNotOk => state != StateKind::Succeeded,
    }
}

impl Engine {
    /// The dependencies that are still to be met.
    ///
    /// # Errors
    /// When one names a job that does not exist, or an end that can no longer come.
    pub(crate) fn unmet_dependencies(
        &self,
        wanted: &[Dependency],
        ended: &[(JobId, StateKind)],
    ) -> Result<Vec<Dependency>, Refusal> {
        let mut unmet = Vec::new();
        for &dependency in wanted {
            if self.jobs.contains_key(&dependency.on) || self.untouched_task(dependency.on).is_some() {
                if !unmet.contains(&dependency) {
                    unmet.push(dependency);
                }
                continue;
            }
            let known = ended.iter().find(|(id, _)| *id == dependency.on);
            let &(on, state) = known.ok_or(Refusal::UnknownDependency(dependency.on))?;
            if !is_met(dependency.kind, state) {
                return Err(Refusal::ImpossibleDependency { on, state, kind: dependency.kind.as_str() });
            }
        }
        Ok(unmet)
    }

    /// Looks at those that waited for what has ended, and at those that waited for them in turn.
    pub(crate) fn settle_ends(&mut self) {
        while let Some((id, end)) = self.just_ended.pop_front() {
            for waiting in self.waiting_on.remove(&id).unwrap_or_default() {
                self.on_dependency_over(waiting, id, end.kind(), &end.to_string());
            }
        }
    }

    /// Lets a job go that waited for another, or ends it.
    pub(crate) fn on_dependency_over(&mut self, waiting: JobId, over: JobId, state: StateKind, words: &str) {
        let Some(job) = self.jobs.get_mut(&waiting) else { return };
        let Some(rare) = job.rare.as_mut() else { return };
        let barred = rare
            .dependencies
            .iter()
            .find(|dependency| dependency.on == over && !is_met(dependency.kind, state))
            .map(|dependency| dependency.kind);
        rare.dependencies.retain(|dependency| dependency.on != over);
        let all_met = rare.dependencies.is_empty();
        if let Some(kind) = barred {
            let reason = format!("{} job {over}, which {words}", kind.as_str());
            self.reject(waiting, "dependency".into(), reason);
        } else if all_met {
            if let Step::Moved(_) = self.apply(waiting, &JobEvent::Release(Hold::Dependency)) {
                self.record(waiting, EventKind::Released { hold: Hold::Dependency, by: None });
            }
            self.refresh_array(waiting);
        }
    }

    /// Ends a waiting job as rejected. An array has no tasks yet when that happens.
    pub(crate) fn reject(&mut self, id: JobId, by: String, reason: String) {
        self.apply(id, &JobEvent::Rejected { by, reason });
    }
}
