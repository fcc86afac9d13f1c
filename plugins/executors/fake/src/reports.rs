//! What is to be told, and when: the reports that are due now and the times at which something happens.

use std::{cmp::Reverse, collections::BinaryHeap};

use berth_executor_api::{AttemptName, AttemptReport, Report, UtcMs};

use crate::{convert::Behaviour, faults::LATE_MS};

/// Something that is due at some time.
#[derive(Debug)]
pub(crate) enum What {
    /// The attempt moves on, if it is still of this generation.
    Attempt(AttemptName, u32),
    /// A report that comes late.
    Tell(Box<Report>),
}

struct Due {
    at: UtcMs,
    /// Keeps the order among those due at the same time.
    turn: u64,
    what: What,
}

impl Due {
    fn key(&self) -> (UtcMs, u64) {
        (self.at, self.turn)
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// Reports to be sent and times to come.
#[derive(Default)]
pub(crate) struct Outbox {
    reports: Vec<Report>,
    times: BinaryHeap<Reverse<Due>>,
    turn: u64,
}

impl Outbox {
    /// Tells where an attempt stands, with the faults of its behaviour.
    pub(crate) fn tell(&mut self, report: AttemptReport, behaviour: &Behaviour, now: UtcMs) {
        let late = std::time::Duration::from_millis(behaviour.late_report_ms);
        if behaviour.lose_report {
            let later = if late.is_zero() { std::time::Duration::from_millis(LATE_MS) } else { late };
            return self.later(now.after(later), What::Tell(Box::new(Report::Back)));
        }
        for _ in 0..u8::from(behaviour.double_report) {
            self.tell_at(now.after(late), now, Report::Attempt(report.clone()));
        }
        self.tell_at(now.after(late), now, Report::Attempt(report));
    }

    /// Tells something about the site.
    pub(crate) fn tell_site(&mut self, report: Report) {
        self.reports.push(report);
    }

    fn tell_at(&mut self, at: UtcMs, now: UtcMs, report: Report) {
        if at > now {
            self.later(at, What::Tell(Box::new(report)));
        } else {
            self.reports.push(report);
        }
    }

    pub(crate) fn later(&mut self, at: UtcMs, what: What) {
        self.turn += 1;
        self.times.push(Reverse(Due { at, turn: self.turn, what }));
    }

    /// The next thing due until `now`, oldest first.
    pub(crate) fn next_due(&mut self, now: UtcMs) -> Option<(UtcMs, What)> {
        self.next_time().filter(|at| *at <= now)?;
        self.times.pop().map(|Reverse(due)| (due.at, due.what))
    }

    pub(crate) fn next_time(&self) -> Option<UtcMs> {
        self.times.peek().map(|Reverse(due)| due.at)
    }

    pub(crate) fn take(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.reports)
    }
}
