//! What the directories of jobs take, job by job, and in sum of each account.
//!
//! Each directory counts as it was measured last. It counts for whom the job belongs to, in the group that the
//! project is in now, until the directory is gone. A directory that is measured again replaces its own figure, so that
//! nothing counts twice however often it is told, and after a crash.

use std::collections::BTreeMap;

use berth_model::JobId;

use crate::{
    Answer, Change, Effect, Engine, NameId, Refusal, StoredDirectory,
    accounts::{Keys, Whose},
    job::{Job, Kind},
};

/// A directory that was measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// Of which job; a task has one of its own.
    pub job: JobId,
    /// Who had it measured for, where the engine no longer knows the job.
    pub owner: String,
    /// Likewise, the project.
    pub project: String,
    /// The number of the execution that was over by then; 0 while the first goes on.
    pub after: u32,
    /// What it takes on the disk.
    pub bytes: u64,
}

/// The directories that are known.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    all: BTreeMap<JobId, Directory>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Directory {
    /// Without a class: what lies on the disk is bounded by users, projects and groups.
    whose: Whose,
    after: u32,
    bytes: u64,
}

impl Engine {
    /// Whether directories have to be measured: somebody is bounded in what they take.
    #[must_use]
    pub fn measures_directories(&self) -> bool {
        self.accounts.bounds_disk()
    }

    /// What was stored of a directory.
    pub(crate) fn bring_back_directory(&mut self, stored: &StoredDirectory) {
        let StoredDirectory { job, owner, project, after, bytes } = stored;
        let whose =
            Whose { user: self.names.number(owner), project: self.names.number(project), class: None };
        self.join(whose);
        self.put_directory(*job, Directory { whose, after: *after, bytes: *bytes });
    }

    /// Takes in what directories take now.
    pub(crate) fn measured(&mut self, sizes: Vec<Measured>) -> Result<Answer, Refusal> {
        for Measured { job, owner, project, after, bytes } in sizes {
            let whose = match self.jobs.get(&job) {
                Some(live) => Whose { class: None, ..live.whose() },
                None => Whose {
                    user: self.names.number(&owner),
                    project: self.names.number(&project),
                    class: None,
                },
            };
            let new = Directory { whose, after, bytes };
            match self.disk.all.get(&job) {
                // A measurement that was slow: the directory was measured after a later execution.
                Some(known) if known.after > after => continue,
                Some(known) if *known == new => continue,
                _ => {}
            }
            self.join(whose);
            self.put_directory(job, new);
            self.out.changes.push(Change::Directory { job, after, bytes });
        }
        Ok(Answer::Done)
    }

    /// The directory of a job is gone, and with it those of its tasks.
    pub(crate) fn directory_gone(&mut self, job: JobId, tasks: u64) -> Result<Answer, Refusal> {
        let last = JobId(job.0.saturating_add(tasks));
        let gone: Vec<JobId> = self.disk.all.range(job..=last).map(|(&id, _)| id).collect();
        if gone.is_empty() {
            return Ok(Answer::NoNews("nothing was known of it"));
        }
        for id in gone {
            self.drop_directory(id);
        }
        self.out.changes.push(Change::DirectoriesGone { first: job, last });
        Ok(Answer::Done)
    }

    /// A job and its tasks belong to another project from now on, and so do their directories.
    pub(crate) fn move_directories(&mut self, job: JobId, tasks: u64, whose: Whose) {
        let whose = Whose { class: None, ..whose };
        let last = JobId(job.0.saturating_add(tasks));
        let others = self.disk.all.range(job..=last).filter(|(_, directory)| directory.whose != whose);
        let moved: Vec<(JobId, Directory)> = others.map(|(&id, &directory)| (id, directory)).collect();
        for (id, directory) in moved {
            self.join(whose);
            self.put_directory(id, Directory { whose, ..directory });
        }
    }

    /// A project is in another group from now on, with all its directories.
    pub(crate) fn move_disk(&mut self, project: NameId, before: Option<NameId>, after: Option<NameId>) {
        if before != after {
            self.accounts.move_disk(project, before, after);
        }
    }

    /// Has the directory of a job measured that has just ended.
    pub(crate) fn have_measured(&mut self, job: JobId, ended: &Job) {
        if !self.accounts.bounds_disk() || ended.array().is_some() {
            return;
        }
        let task = match ended.kind {
            Kind::Task { array, position } => {
                let range = match self.jobs.get(&array).and_then(|job| job.array()) {
                    Some(array) => Some(array.range),
                    None => ended.rare.as_ref().and_then(|rare| rare.range),
                };
                let Some(index) = range.and_then(|range| range.index_at(position)) else { return };
                Some((array, index))
            }
            Kind::Plain | Kind::Array(_) => None,
        };
        self.out.effects.push(Effect::Measure {
            job,
            task,
            owner: self.names.name(ended.owner).to_owned(),
            project: self.names.name(ended.project).to_owned(),
            after: ended.attempt.number,
        });
    }

    fn put_directory(&mut self, job: JobId, new: Directory) {
        let old = self.disk.all.insert(job, new);
        let keys = self.keys(new.whose);
        match old {
            Some(old) if old.whose == new.whose => self.change_disk(keys, old.bytes, new.bytes),
            Some(old) => {
                let before = self.keys(old.whose);
                self.change_disk(before, old.bytes, 0);
                self.change_disk(keys, 0, new.bytes);
            }
            None => self.change_disk(keys, 0, new.bytes),
        }
    }

    fn drop_directory(&mut self, job: JobId) {
        if let Some(old) = self.disk.all.remove(&job) {
            let keys = self.keys(old.whose);
            self.change_disk(keys, old.bytes, 0);
        }
    }

    fn change_disk(&mut self, keys: Keys, before: u64, after: u64) {
        self.accounts.change_disk(keys, before, after);
        if after < before {
            self.unbar_all_of(keys);
        }
    }
}
