//! What is shown on a terminal while a job waits.

use std::time::Duration;

use berth_api::Client;

use crate::output::progress::Progress;

/// A job that starts at once needs no words.
const FIRST_LOOK: Duration = Duration::from_millis(400);
/// The reason may change while the state does not.
const NEXT_LOOK: Duration = Duration::from_secs(5);

/// The line about a job that waits. Off a terminal there is none, and nothing is asked.
pub struct Pending {
    client: Client,
    job: String,
    shown: bool,
    line: Option<Progress>,
    looked: bool,
}

impl Pending {
    /// For a job that was just submitted.
    pub fn new(client: Client, job: String, shown: bool) -> Self {
        Self { client, job, shown, line: None, looked: false }
    }

    /// Comes back after it has shown something new; never once the job has begun. Safe to drop.
    pub async fn tick(&mut self) {
        if !self.shown {
            return std::future::pending().await;
        }
        tokio::time::sleep(if self.looked { NEXT_LOOK } else { FIRST_LOOK }).await;
        self.looked = true;
        let Ok(why) = self.client.why(&self.job).await else { return };
        let line = self.line.get_or_insert_with(|| Progress::line(true));
        line.say(&why.summary);
    }

    /// The job stands elsewhere now.
    pub fn on_state(&mut self, state: &str) {
        if !matches!(state, "held" | "pending" | "starting") {
            self.clear();
        } else if let Some(line) = &self.line {
            line.say(&format!("job {} is {state}", self.job));
        }
    }

    /// Writes something beside the line.
    pub fn aside(&self, work: impl FnOnce()) {
        match &self.line {
            Some(line) => line.aside(work),
            None => work(),
        }
    }

    /// No more of it.
    pub fn clear(&mut self) {
        self.shown = false;
        self.line = None;
    }
}
