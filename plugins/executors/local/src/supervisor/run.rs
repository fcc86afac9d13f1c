//! The loop.

use berth_executor_api::AttemptName;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Supervisor, clock, launcher::Launcher, log, protocol::Message};

/// How long it stays when nobody needs it.
const LINGER_MS: u64 = 2_000;
/// How soon something that did not work is tried again.
const RETRY_MS: u64 = 50;
/// The same for a journal on a full disk.
const JOURNAL_RETRY_MS: u64 = 1_000;

/// How long reports may wait for others while further jobs stand in the line.
const TELL_WITHIN_MS: u64 = 2;

/// What there is to do.
#[derive(Default)]
struct Woken {
    signals: bool,
    notes: bool,
    listener: bool,
    clients: Vec<usize>,
    launchers: bool,
    adopted: Vec<AttemptName>,
}

impl Supervisor {
    pub(super) fn run(&mut self) {
        while !self.is_over() {
            let woken = match self.wait() {
                Ok(woken) => woken,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => {
                    log(format_args!("poll failed: {error}"));
                    continue;
                }
            };
            if woken.notes {
                self.take_notes();
            }
            if woken.signals {
                let asked_to_end = self.signals.drain();
                self.reap();
                if asked_to_end && self.live == 0 {
                    break;
                }
            }
            for name in woken.adopted {
                self.on_adopted_end(&name);
            }
            if woken.listener {
                self.accept();
            }
            for index in woken.clients {
                self.serve(index);
            }
            if woken.launchers {
                self.launchers.iter_mut().for_each(Launcher::write);
            }
            self.start_some();
            self.on_deadlines();
            self.kill_strays();
            self.remove_old_groups();
            self.forget_doomed();
            self.tell();
        }
        let _ = std::fs::remove_file(self.spool.join(super::SOCKET));
        self.compact();
        self.cgroups.close();
        log(format_args!("ended, nothing is left to do"));
    }

    /// Waits until there is something to do.
    fn wait(&self) -> rustix::io::Result<Woken> {
        let mut fds = vec![
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::new(&self.notes.pipe, PollFlags::IN),
            PollFd::new(&self.listener, PollFlags::IN),
        ];
        fds.extend(self.clients.iter().map(|client| PollFd::new(&client.stream, client.interest())));
        let writing = self.launchers.iter().filter(|one| one.has_more_to_write()).count();
        fds.extend(
            self.launchers
                .iter()
                .filter(|one| one.has_more_to_write())
                .map(|one| PollFd::new(&one.stream, PollFlags::OUT)),
        );
        fds.extend(self.adopted.iter().map(|(_, process)| PollFd::new(process, PollFlags::IN)));
        poll(&mut fds, self.timeout().as_ref())?;
        let mut happened = fds.iter().map(|fd| !fd.revents().is_empty());
        let mut next = || happened.next().unwrap_or(false);
        Ok(Woken {
            signals: next(),
            notes: next(),
            listener: next(),
            clients: (0..self.clients.len()).filter(|_| next()).collect(),
            launchers: (0..writing).filter(|_| next()).count() > 0,
            adopted: self.adopted.iter().filter(|_| next()).map(|(name, _)| name.clone()).collect(),
        })
    }

    fn timeout(&self) -> Option<Timespec> {
        let now = clock::since_boot_ms();
        let stills = self.launchers.iter().filter_map(Launcher::still_at).filter(|at| *at > now);
        let launcher = stills.min().filter(|_| !self.queue.is_empty()).map(|at| at - now);
        let deadline = self.deadlines.first().map(|(at, _)| at.saturating_sub(now));
        let strays = self.strays_at.map(|at| at.saturating_sub(now));
        let idle = self.idle_since.map(|since| (since + LINGER_MS).saturating_sub(now));
        let groups = (!self.old_groups.is_empty()).then_some(RETRY_MS);
        let journal = self.journal.is_waiting().then_some(JOURNAL_RETRY_MS);
        let tell = self.tell_at.map(|at| at.saturating_sub(now));
        let ms = [launcher, deadline, strays, idle, groups, journal, tell].into_iter().flatten().min()?;
        let ms = i64::try_from(ms.min(86_400_000)).unwrap_or(0);
        Some(Timespec { tv_sec: ms / 1000, tv_nsec: ms % 1000 * 1_000_000 })
    }

    /// Whether nobody has needed it for a while.
    fn is_over(&mut self) -> bool {
        if self.live > 0
            || !self.clients.is_empty()
            || !self.old_groups.is_empty()
            || self.strays_at.is_some()
        {
            self.idle_since = None;
            return false;
        }
        let now = clock::since_boot_ms();
        now >= *self.idle_since.get_or_insert(now) + LINGER_MS
    }

    /// Writes the journal, then tells the executors: never the other way round.
    fn tell(&mut self) {
        if let Err(error) = self.journal.flush() {
            log(format_args!("the journal cannot be written: {error}"));
        }
        self.compact_if_mostly_old();
        if self.must_tell() {
            self.tell_at = None;
            let reports = Message::Reports(std::mem::take(&mut self.reports));
            self.send_to_all(&reports);
        }
        self.clients.iter_mut().for_each(super::clients::Client::write);
        self.clients.retain(|client| !client.is_gone());
    }

    /// Reports go out at once, but where jobs stand in the line: then nobody decides anything upon each, and
    /// waking the executor for a few together costs less than for each.
    fn must_tell(&mut self) -> bool {
        if self.reports.is_empty() {
            return false;
        }
        let now = clock::since_boot_ms();
        self.queue.is_empty() || now >= *self.tell_at.get_or_insert(now + TELL_WITHIN_MS)
    }

    fn compact_if_mostly_old(&mut self) {
        if self.journal.is_mostly_old(self.attempts.len()) {
            self.compact();
        }
    }

    fn compact(&mut self) {
        if !self.launchers.iter().all(Launcher::is_idle) {
            return;
        }
        // They write to the old one.
        self.launchers.clear();
        let boot = super::journal::Record::Boot { id: self.boot.clone() };
        let records: Vec<_> =
            [boot].into_iter().chain(self.attempts.values().flat_map(|attempt| attempt.records())).collect();
        if let Err(error) = self.journal.rewrite(&records) {
            log(format_args!("the journal cannot be written anew: {error}"));
        }
    }
}
