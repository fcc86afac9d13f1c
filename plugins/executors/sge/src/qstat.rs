//! What `qstat -xml` says: all jobs, or why some of them wait.

use std::collections::HashMap;

use crate::xml::{Element, XmlError, parse};

/// One line of the list: a job, a running task, or all waiting tasks of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub number: u64,
    pub name: String,
    pub owner: String,
    /// In SGE's letters, such as `qw` or `Eqw`.
    pub letters: String,
    /// The queue and host where it runs.
    pub place: Option<String>,
    pub tasks: Tasks,
}

/// Which tasks a row is about: none in particular, or these ranges (first, last, step).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tasks(Vec<(u64, u64, u64)>);

impl Tasks {
    /// As in `5,7-9:1`. What cannot be read stands for no task.
    fn read(text: &str) -> Self {
        let range = |part: &str| {
            let (bounds, step) = part.split_once(':').unwrap_or((part, "1"));
            let (first, last) = bounds.split_once('-').unwrap_or((bounds, bounds));
            let number = |text: &str| text.trim().parse::<u64>().ok();
            Some((number(first)?, number(last)?, number(step)?.max(1)))
        };
        Self(text.split(',').filter_map(range).collect())
    }

    /// Whether it is about this task; about a job that is no array where `None`.
    pub fn contain(&self, task: Option<u64>) -> bool {
        match task {
            None => true,
            Some(task) => self
                .0
                .iter()
                .any(|&(first, last, step)| (first..=last).contains(&task) && (task - first) % step == 0),
        }
    }
}

/// What the letters mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Waiting,
    Running,
    Suspended,
    /// It cannot run, and waits for somebody to do something about it.
    Error,
}

impl Row {
    /// `E` outweighs all others: such a job is never started by itself.
    pub fn standing(&self) -> Standing {
        let has = |letters: &[char]| self.letters.contains(letters);
        if has(&['E']) {
            Standing::Error
        } else if has(&['s', 'S', 'T', 'N', 'P']) {
            Standing::Suspended
        } else if has(&['r']) {
            Standing::Running
        } else {
            // `t`: on its way to its host. `d` alone: about to be taken from the queue.
            Standing::Waiting
        }
    }
}

/// Reads the list of all jobs.
pub(crate) fn rows(text: &str) -> Result<Vec<Row>, XmlError> {
    let tree = parse(text)?;
    if tree.name != "job_info" {
        return Err(XmlError::Broken { words: format!("it is a {:?}", tree.name) });
    }
    Ok(tree.all("job_list").into_iter().filter_map(row).collect())
}

fn row(element: &Element) -> Option<Row> {
    let place = element.text_of("queue_name");
    Some(Row {
        number: element.text_of("JB_job_number").parse().ok()?,
        name: element.text_of("JB_name").to_owned(),
        owner: element.text_of("JB_owner").to_owned(),
        letters: element.text_of("state").to_owned(),
        place: (!place.is_empty()).then(|| place.to_owned()),
        tasks: Tasks::read(element.text_of("tasks")),
    })
}

/// Why jobs do not run, by their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Details {
    /// What went wrong with a job, or a task of it.
    pub errors: HashMap<(u64, u64), String>,
    /// What the scheduler says of a waiting job.
    pub scheduling: HashMap<u64, Vec<String>>,
}

/// Reads `qstat -xml -j`, with job numbers or without.
pub(crate) fn details(text: &str) -> Result<Details, XmlError> {
    let tree = parse(text)?;
    let mut details = Details::default();
    for job in tree.all("djob_info").into_iter().flat_map(|info| &info.children) {
        let Ok(number) = job.text_of("JB_job_number").parse::<u64>() else { continue };
        let tasks = job.child("JB_ja_tasks").map(|tasks| tasks.children.as_slice()).unwrap_or_default();
        for task in tasks {
            let words: Vec<&str> = task.all("QIM_message").iter().map(|words| words.text.trim()).collect();
            if let (Ok(task), false) = (task.text_of("JAT_task_number").parse(), words.is_empty()) {
                details.errors.insert((number, task), words.join("; "));
            }
        }
    }
    for message in tree.all("element") {
        let words = message.text_of("MES_message");
        if words.is_empty() {
            continue;
        }
        for number in message.all("ULNG_value") {
            if let Ok(number) = number.text.trim().parse::<u64>() {
                details.scheduling.entry(number).or_default().push(words.to_owned());
            }
        }
    }
    Ok(details)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = include_str!("../tests/recorded/qstat.xml");
    const DETAILS: &str = include_str!("../tests/recorded/qstat-j.xml");

    #[test]
    fn the_list_of_all_jobs_is_read() {
        let rows = rows(LIST).unwrap();
        let short: Vec<_> =
            rows.iter().map(|row| (row.number, row.name.as_str(), row.letters.as_str())).collect();
        assert_eq!(short[0], (1, "berth-1-1", "r"));
        assert_eq!(rows[0].place.as_deref(), Some("all.q@localhost"));
        let task = rows.iter().find(|row| row.number == 2 && row.tasks.contain(Some(6))).unwrap();
        assert_eq!(task.standing(), Standing::Running);
        assert!(!task.tasks.contain(Some(3)) && task.tasks.contain(None));
        let waiting = rows.iter().find(|row| row.letters == "qw").unwrap();
        assert_eq!((waiting.standing(), &waiting.place), (Standing::Waiting, &None));
        assert_eq!(rows.iter().find(|row| row.letters == "Eqw").unwrap().standing(), Standing::Error);
    }

    #[test]
    fn letters_have_their_meaning() {
        let row = |letters: &str| Row {
            number: 1,
            name: String::new(),
            owner: String::new(),
            letters: letters.into(),
            place: None,
            tasks: Tasks::default(),
        };
        for (letters, standing) in [
            ("qw", Standing::Waiting),
            ("hqw", Standing::Waiting),
            ("t", Standing::Waiting),
            ("r", Standing::Running),
            ("dr", Standing::Running),
            ("Rr", Standing::Running),
            ("s", Standing::Suspended),
            ("S", Standing::Suspended),
            ("T", Standing::Suspended),
            ("dT", Standing::Suspended),
            ("Eqw", Standing::Error),
            ("Ehqw", Standing::Error),
        ] {
            assert_eq!(row(letters).standing(), standing, "{letters}");
        }
    }

    #[test]
    fn waiting_tasks_are_ranges() {
        let tasks = Tasks::read("1-5:2,8,10-12:1");
        let inside: Vec<u64> = (0..15).filter(|task| tasks.contain(Some(*task))).collect();
        assert_eq!(inside, [1, 3, 5, 8, 10, 11, 12]);
        assert!(!Tasks::read("x-1").contain(Some(1)));
    }

    #[test]
    fn reasons_and_errors_are_read() {
        let details = details(DETAILS).unwrap();
        assert!(details.errors[&(3, 1)].contains("can't stat() \"/private/x/o\""), "{details:?}");
        assert_eq!(details.scheduling[&3], ["Job is in error state"]);
    }
}
