//! Where a job's directory and outputs are.

use std::path::{Path, PathBuf};

use berth_model::{JobId, JobSpec};

/// A job, or one task of an array, as far as paths go.
#[derive(Clone, Copy, Debug)]
pub struct Whose {
    /// The job's own number.
    pub job: JobId,
    /// The array and the task's index.
    pub task: Option<(JobId, u64)>,
    /// Counts its executions from 1.
    pub attempt: u32,
}

/// The directory of a job: `JOBS/THOUSANDS/NUMBER`, with a task's below its array's, named by its index.
pub fn directory(jobs: &Path, whose: Whose) -> PathBuf {
    match whose.task {
        None => top(jobs, whose.job),
        Some((array, index)) => top(jobs, array).join(index.to_string()),
    }
}

/// The directory of the array that a task belongs to.
pub fn array_directory(jobs: &Path, whose: Whose) -> Option<PathBuf> {
    whose.task.map(|(array, _)| top(jobs, array))
}

fn top(jobs: &Path, job: JobId) -> PathBuf {
    jobs.join((job.0 / 1000).to_string()).join(job.to_string())
}

/// Where standard output and standard error go. Each execution after the first has files of its own,
/// unless the user named one.
pub fn outputs(jobs: &Path, whose: Whose, spec: &JobSpec) -> (PathBuf, PathBuf) {
    let directory = directory(jobs, whose);
    let usual = |name: &str| match whose.attempt {
        0 | 1 => directory.join(name),
        attempt => directory.join(format!("{name}.{attempt}")),
    };
    let given = |pattern: &String| directory.join(filled_in(pattern, whose));
    let stdout = spec.output.as_ref().map_or_else(|| usual("stdout"), given);
    let stderr = spec.error.as_ref().map_or_else(|| usual("stderr"), given);
    (stdout, stderr)
}

/// `%j` is the job's number, `%a` the array's, `%t` the task's index, `%n` the execution's number, `%%`
/// a percent sign.
fn filled_in(pattern: &str, whose: Whose) -> String {
    let mut text = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(char) = chars.next() {
        if char != '%' {
            text.push(char);
            continue;
        }
        match chars.next() {
            Some('j') => text.push_str(&whose.job.to_string()),
            Some('a') => text.push_str(&whose.task.map_or(whose.job, |(array, _)| array).to_string()),
            Some('t') => text.push_str(&whose.task.map_or(0, |(_, index)| index).to_string()),
            Some('n') => text.push_str(&whose.attempt.to_string()),
            Some('%') => text.push('%'),
            Some(other) => text.extend(['%', other]),
            None => text.push('%'),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: Whose = Whose { job: JobId(2008), task: Some((JobId(2000), 7)), attempt: 1 };

    #[test]
    fn a_task_lives_below_its_array() {
        let jobs = Path::new("/jobs");
        assert_eq!(directory(jobs, TASK), Path::new("/jobs/2/2000/7"));
        assert_eq!(array_directory(jobs, TASK), Some("/jobs/2/2000".into()));
    }

    #[test]
    fn patterns_are_filled_in() {
        assert_eq!(filled_in("out-%j-%a-%t-%n-%%-%x%", TASK), "out-2008-2000-7-1-%-%x%");
    }
}
