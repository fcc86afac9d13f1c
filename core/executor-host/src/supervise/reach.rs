//! Whether the back end is there, and what it reports.

use super::{
    AbortOnDropHandle, Arc, Away, BoxStream, CallError, Done, Duration, FutureExt, HostEvent, Instant,
    Listening, Node, Ordering, REPORTS_AT_ONCE, Reach, Report, StreamExt, Supervisor, SystemTime, UtcMs,
    mpsc,
};

impl Supervisor {
    /// When something is to be done without being told.
    pub(super) fn next_time(&self) -> Option<Instant> {
        // While it is away nothing is tried again but the question whether it is back.
        let again = match self.away {
            None => self.again.iter().map(|(at, _)| *at).min(),
            Some(_) => None,
        };
        [self.probe_at, self.listen_at, again].into_iter().flatten().min()
    }

    pub(super) fn on_time(&mut self) {
        let now = Instant::now();
        if self.probe_at.is_some_and(|at| at <= now) {
            self.probe();
        }
        if self.listen_at.is_some_and(|at| at <= now) {
            self.listen_again();
        }
        if self.away.is_none() {
            self.release(|at| at <= now);
        }
    }

    fn release(&mut self, due: impl Fn(Instant) -> bool) {
        for (_, ticket) in self.again.extract_if(.., |(at, _)| due(*at)) {
            self.queue.again(ticket);
        }
    }

    /// Asks for the nodes: the question that shows whether the back end is there.
    pub(super) fn probe(&mut self) {
        self.probe_at = None;
        if self.probing.is_some() {
            return;
        }
        self.probes += 1;
        self.probing = Some(self.probes);
        let probe = self.probes;
        let executor = Arc::clone(&self.executor);
        let ask = self.caller.call("capacity", self.limits.call, async move { executor.capacity().await });
        self.calls.push(ask.map(move |answer| Done::Probed(probe, answer)).boxed());
    }

    pub(super) fn on_probed(&mut self, probe: u64, answer: Result<Vec<Node>, CallError>) {
        if self.probing != Some(probe) {
            // A newer one is under way, and knows better.
            return;
        }
        self.probing = None;
        match answer {
            Ok(nodes) => {
                self.outgoing.push(HostEvent::Capacity { executor: self.name(), nodes });
                if self.away.take().is_some() {
                    self.come_back();
                }
            }
            // Whatever it is, without nodes nothing can be launched there.
            Err(error) => self.go_away(error.words()),
        }
    }

    pub(super) fn go_away(&mut self, words: String) {
        if self.away.is_none() {
            // One that comes and goes is looked for ever more seldom; one that was there for long is not.
            if self.reachable_since.elapsed() > self.limits.longest_wait {
                self.probe_waits.reset();
            }
            let since = utc_now();
            tracing::warn!(executor = %self.name(), words, "back end is away");
            self.outgoing.push(HostEvent::Away { executor: self.name(), since, words: words.clone() });
            self.away = Some(Away { since, words });
        } else if let Some(away) = &mut self.away {
            away.words = words;
        }
        if self.probing.is_none() && self.probe_at.is_none() {
            self.probe_at = Some(Instant::now() + self.probe_waits.next());
        }
        self.show();
    }

    fn come_back(&mut self) {
        tracing::info!(executor = %self.name(), "back end is back");
        self.reachable_since = Instant::now();
        self.release(|_| true);
        self.show();
        self.outgoing.push(HostEvent::Back { executor: self.name() });
        self.want_reconcile("the back end was away");
    }

    fn want_reconcile(&mut self, why: &'static str) {
        self.outgoing.push(HostEvent::ReconcileNeeded { executor: self.name(), why });
    }

    fn show(&self) {
        self.reach.send_replace(match &self.away {
            None => Reach::Reachable,
            Some(away) => Reach::Away {
                since: away.since,
                words: away.words.clone(),
                next_try: self.utc_of(self.probe_at),
            },
        });
    }

    pub(super) fn utc_of(&self, at: Option<Instant>) -> UtcMs {
        utc_now().after(at.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now())))
    }

    pub(super) fn on_reports(&mut self, chunk: Option<Vec<Report>>) {
        let Some(chunk) = chunk else {
            // The contract knows no end of it. It is asked for anew, and what was missed is reconciled.
            self.faults.fetch_add(1, Ordering::Relaxed);
            tracing::error!(executor = %self.name(), "the report stream has ended");
            self.listening = None;
            self.listen_at = Some(Instant::now() + self.listen_waits.next());
            return;
        };
        let mut reports = Vec::with_capacity(chunk.len());
        for report in chunk {
            if let Report::Attempt(report) = report {
                reports.push(report);
                continue;
            }
            self.tell(&mut reports);
            match report {
                Report::Attempt(_) => {}
                Report::Capacity(nodes) => {
                    self.outgoing.push(HostEvent::Capacity { executor: self.name(), nodes });
                }
                Report::Away(words) => self.go_away(words),
                Report::Back if self.away.is_some() => {
                    // One that is under way was asked before that, and may never be answered.
                    self.probing = None;
                    self.probe();
                }
                Report::Back => self.want_reconcile("the executor says so"),
            }
        }
        self.tell(&mut reports);
    }

    fn tell(&mut self, reports: &mut Vec<berth_executor_api::AttemptReport>) {
        if !reports.is_empty() {
            let reports = std::mem::take(reports);
            self.outgoing.push(HostEvent::Reports { executor: self.name(), reports });
        }
    }

    fn listen_again(&mut self) {
        self.listen_at = None;
        let executor = Arc::clone(&self.executor);
        match self.caller.now(|| executor.reports()) {
            Ok(reports) => {
                self.listen_to(reports);
                self.want_reconcile("reports were interrupted");
            }
            Err(words) => {
                self.faults.fetch_add(1, Ordering::Relaxed);
                tracing::error!(executor = %self.name(), words, "the plugin broke down");
                self.listen_at = Some(Instant::now() + self.listen_waits.next());
            }
        }
    }

    /// A task on the plugin's side takes the reports; it ends if the stream ends or panics, and that
    /// closes the channel.
    pub(super) fn listen_to(&mut self, reports: BoxStream<'static, Report>) {
        let (sender, chunks) = mpsc::channel(4);
        let pump = self.caller.runtime.spawn(async move {
            let mut reports = reports.ready_chunks(REPORTS_AT_ONCE);
            while let Some(chunk) = reports.next().await {
                if sender.send(chunk).await.is_err() {
                    return;
                }
            }
        });
        self.listening = Some(Listening { chunks, _pump: AbortOnDropHandle::new(pump) });
    }
}

fn utc_now() -> UtcMs {
    UtcMs(0).after(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}
