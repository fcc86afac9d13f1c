//! What `qacct -j` says: how jobs ended.

use berth_executor_api::{Exit, Usage, UtcMs};

/// One job's, or one task's, record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub number: u64,
    pub task: Option<u64>,
    pub name: String,
    pub owner: String,
    pub host: String,
    pub submitted: Option<UtcMs>,
    pub started: Option<UtcMs>,
    pub ended: Option<UtcMs>,
    /// SGE's number for what went wrong, 0 for nothing.
    pub failed: u32,
    /// The same in its words.
    pub failed_words: String,
    pub exit_status: i32,
    pub cpu_micros: u64,
    pub memory_peak_bytes: u64,
}

/// The job ended by a signal, or was made to.
const BY_SIGNAL: u32 = 100;
/// SGE itself ended it at a limit.
const AT_LIMIT: u32 = 37;

/// Reads the records. One that is not whole, because the file grows while it is read, is left out.
pub(crate) fn records(text: &str) -> Vec<Record> {
    let blocks = text.split("==============================================================");
    blocks.filter_map(record).collect()
}

fn record(block: &str) -> Option<Record> {
    let mut record = Record::default();
    // The last line of every record.
    let mut whole = false;
    for line in block.lines() {
        let (key, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let value = value.trim();
        match key {
            "jobname" => value.clone_into(&mut record.name),
            "owner" => value.clone_into(&mut record.owner),
            "hostname" => value.clone_into(&mut record.host),
            "jobnumber" => record.number = value.parse().ok()?,
            "taskid" => record.task = value.parse().ok(),
            "qsub_time" => record.submitted = time(value),
            "start_time" => record.started = time(value),
            "end_time" => record.ended = time(value),
            "failed" => {
                let (number, words) = value.split_once(char::is_whitespace).unwrap_or((value, ""));
                record.failed = number.parse().ok()?;
                words.trim_start_matches([':', ' ']).clone_into(&mut record.failed_words);
            }
            "exit_status" => {
                // With words behind it where a signal ended it.
                record.exit_status = value.split_whitespace().next()?.parse().ok()?;
                whole = true;
            }
            "cpu" => record.cpu_micros = amount(value, 's', 1_000_000.0),
            "maxvmem" => record.memory_peak_bytes = memory(value),
            _ => {}
        }
    }
    (whole && record.number > 0).then_some(record)
}

/// The question was asked in UTC, so the answer is.
fn time(text: &str) -> Option<UtcMs> {
    let time = jiff::civil::DateTime::strptime("%a %b %d %H:%M:%S %Y", text).ok()?;
    let stamp = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_millisecond();
    u64::try_from(stamp).ok().map(UtcMs)
}

/// The moment in the words of `qacct -b`.
pub(crate) fn begin(at: UtcMs) -> String {
    let stamp = i64::try_from(at.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    stamp.unwrap_or(jiff::Timestamp::UNIX_EPOCH).strftime("%Y%m%d%H%M.%S").to_string()
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be an amount")]
fn amount(text: &str, unit: char, times: f64) -> u64 {
    let number: f64 = text.trim_end_matches(unit).parse().unwrap_or(0.0);
    if number.is_finite() && number > 0.0 { (number * times) as u64 } else { 0 }
}

/// As in `4.832MB`.
fn memory(text: &str) -> u64 {
    let text = text.trim_end_matches('B');
    let times = match text.chars().last() {
        Some('K') => 1024.0,
        Some('M') => 1_048_576.0,
        Some('G') => 1_073_741_824.0,
        Some('T') => 1_099_511_627_776.0,
        _ => 1.0,
    };
    amount(text.trim_end_matches(char::is_alphabetic), ' ', times)
}

impl Record {
    /// In Berth's words. `memory_bytes` is what it was held to, 0 for nothing.
    pub fn exit(&self, memory_bytes: u64, stopped: Option<UtcMs>) -> Exit {
        let at = self.ended.or(self.started).or(self.submitted).unwrap_or_default();
        // Whole seconds only: it is sure to have come before when its second was over.
        let before_stop = stopped.is_none_or(|stop| at.0 + 1000 <= stop.0);
        let exit = Exit { at, before_stop, ..Exit::default() };
        let signal = (self.exit_status > 128).then(|| self.exit_status - 128);
        match self.failed {
            0 => Exit { code: Some(self.exit_status), ..exit },
            BY_SIGNAL | AT_LIMIT if signal.is_some() => {
                let near = self.memory_peak_bytes.saturating_mul(10) >= memory_bytes.saturating_mul(9);
                let out_of_memory = self.failed == AT_LIMIT && memory_bytes > 0 && near;
                Exit { signal, out_of_memory, ..exit }
            }
            BY_SIGNAL | AT_LIMIT => Exit { code: Some(self.exit_status), ..exit },
            // Never started, or its host broke down below it.
            number if self.started.is_none() || number < 20 || number == 26 || number == 27 => {
                Exit { could_not_launch: Some(self.words()), ..exit }
            }
            _ if self.exit_status != 0 => Exit { code: Some(self.exit_status), ..exit },
            _ => Exit { could_not_launch: Some(self.words()), ..exit },
        }
    }

    /// What SGE says of a failure.
    pub fn words(&self) -> String {
        format!("SGE's failure {}: {} (on {})", self.failed, self.failed_words, self.host)
    }

    pub fn usage(&self) -> Usage {
        Usage { cpu_micros: self.cpu_micros, memory_peak_bytes: self.memory_peak_bytes, ..Usage::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDS: &str = include_str!("../tests/recorded/qacct.txt");

    #[test]
    fn records_are_read() {
        let all = records(RECORDS);
        let first = all.iter().find(|record| record.name == "berth-1-1").unwrap();
        assert_eq!((first.number, first.task, first.exit_status, first.failed), (1, None, 42, 0));
        assert_eq!(
            (first.started, first.ended),
            (Some(UtcMs(1_795_808_951_000)), Some(UtcMs(1_795_808_954_000)))
        );
        assert_eq!(
            (first.owner.as_str(), first.host.as_str(), first.cpu_micros),
            ("nobody", "localhost", 40_000)
        );
        assert_eq!(first.memory_peak_bytes >> 10, 4947);
        let tasks: Vec<_> =
            all.iter().filter(|record| record.name == "berth-2-1").filter_map(|one| one.task).collect();
        assert!(tasks.contains(&3), "{tasks:?}");
        let bad = all.iter().find(|record| record.name == "berth-3-1").unwrap();
        assert_eq!((bad.failed, bad.started), (26, None));
        assert!(bad.exit(0, None).could_not_launch.unwrap().contains("26"), "{bad:?}");
    }

    #[test]
    fn half_a_record_says_nothing() {
        let record = RECORDS.find("exit_status").unwrap();
        assert!(records(&RECORDS[..record]).is_empty());
        assert!(records("error: job id 7 not found").is_empty());
    }

    #[test]
    fn ends_are_told_apart() {
        let record = |failed, exit_status| Record {
            failed,
            exit_status,
            started: Some(UtcMs(1000)),
            ended: Some(UtcMs(5000)),
            memory_peak_bytes: 95,
            ..Record::default()
        };
        assert_eq!(record(0, 137).exit(0, None).code, Some(137));
        assert_eq!(
            (record(100, 137).exit(0, None).signal, record(100, 137).exit(0, None).code),
            (Some(9), None)
        );
        assert_eq!(record(100, 7).exit(0, None).code, Some(7));
        assert!(record(37, 137).exit(100, None).out_of_memory);
        assert!(!record(37, 137).exit(1000, None).out_of_memory);
        assert!(record(100, 137).exit(0, None).before_stop);
        assert!(record(100, 137).exit(0, Some(UtcMs(6000))).before_stop);
        assert!(!record(100, 137).exit(0, Some(UtcMs(5999))).before_stop);
        assert!(record(21, 0).exit(0, None).could_not_launch.is_some());
    }

    #[test]
    fn a_moment_is_asked_for_in_the_words_of_the_command() {
        assert_eq!(begin(UtcMs(1_795_808_951_000)), "202611271949.11");
    }
}
