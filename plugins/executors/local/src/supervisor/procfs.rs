//! What `/proc` says about processes.

use std::{fs, os::unix::fs::FileExt};

use super::sys;

/// The part of `/proc/PID/stat` that is needed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub pid: i32,
    pub state: char,
    pub group: i32,
    pub session: i32,
    /// Its own and that of the children it has waited for.
    pub cpu_ticks: u64,
    pub start_ticks: u64,
    pub resident_pages: u64,
}

/// One process; `None` when there is none of this number.
pub(super) fn process(pid: i32) -> Option<Process> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(stat: &str) -> Option<Process> {
    let (pid, rest) = stat.split_once(' ')?;
    // The name may hold anything, also parentheses and spaces.
    let (_, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let number = |index: usize| fields.get(index)?.trim().parse::<u64>().ok();
    Some(Process {
        pid: pid.parse().ok()?,
        state: fields.first()?.chars().next()?,
        group: fields.get(2)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        cpu_ticks: (11..=14).map(number).sum::<Option<u64>>()?,
        start_ticks: number(19)?,
        resident_pages: number(21)?,
    })
}

impl Process {
    /// When it began, in milliseconds since boot, rounded down.
    pub fn start_ms(&self) -> u64 {
        self.start_ticks * 1000 / rustix::param::clock_ticks_per_second()
    }

    pub fn cpu_micros(&self) -> u64 {
        self.cpu_ticks * 1_000_000 / rustix::param::clock_ticks_per_second()
    }

    pub fn resident_bytes(&self) -> u64 {
        self.resident_pages * rustix::param::page_size() as u64
    }
}

/// All processes of a session.
pub(super) fn of_session(session: i32) -> Vec<Process> {
    all().filter(|process| process.session == session).collect()
}

/// All processes of this machine that can be seen.
pub(super) fn all() -> impl Iterator<Item = Process> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(process)
}

/// Kills what is left of a session whose leader is gone for sure. Its number cannot be anyone else's as
/// long as a member is left, unless a new process with this number leads it.
pub(super) fn kill_orphaned_session(session: i32) {
    if process(session).is_none_or(|leader| matches!(leader.state, 'Z' | 'X')) {
        for process in of_session(session) {
            sys::kill(process.pid, libc::SIGKILL);
        }
    }
}

/// The variable of this name that the process was started with.
pub(super) fn variable(pid: i32, name: &str) -> Option<String> {
    let all = fs::read(format!("/proc/{pid}/environ")).ok()?;
    all.split(|byte| *byte == 0).find_map(|one| {
        let value = std::str::from_utf8(one).ok()?.strip_prefix(name)?.strip_prefix('=')?;
        Some(value.to_owned())
    })
}

/// The threads of a process.
pub(super) fn threads(pid: i32) -> Vec<i32> {
    fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

/// Bytes that this process has read from and written to block devices.
pub(super) fn disk_io(pid: i32) -> (u64, u64) {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let number =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0);
    (number("read_bytes:"), number("write_bytes:"))
}

/// The calling process's own children, from a file that stays open because it is read often.
pub(super) struct Children(Option<fs::File>);

impl Children {
    pub fn open() -> Self {
        let pid = std::process::id();
        Self(fs::File::open(format!("/proc/self/task/{pid}/children")).ok())
    }

    /// Their numbers; none where the kernel does not tell.
    pub fn list(&self) -> Vec<i32> {
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        while let Some(file) = &self.0
            && let Ok(got) = file.read_at(&mut buffer, text.len() as u64)
            && got > 0
        {
            text.extend(buffer.get(..got).unwrap_or_default());
        }
        String::from_utf8_lossy(&text).split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let stat = "71 (a) (b) c) S 1 70 69 0 -1 4194560 1 2 3 4 50 25 2 1 20 0 1 0 12345 1000000 300 18446744073709551615";
        let expected = Process {
            pid: 71,
            state: 'S',
            group: 70,
            session: 69,
            cpu_ticks: 78,
            start_ticks: 12345,
            resident_pages: 300,
        };
        assert_eq!(parse(stat), Some(expected));
        assert_eq!(parse(""), None);
    }

    #[test]
    fn this_process_is_found() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let own = process(pid).unwrap();
        assert_eq!(own.pid, pid);
        assert!(own.resident_bytes() > 0);
        assert!(own.start_ms() <= super::super::clock::since_boot_ms());
        assert!(of_session(own.session).iter().any(|process| process.pid == pid));
        assert!(threads(pid).contains(&pid));
    }
}
