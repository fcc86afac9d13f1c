//! What moves on a terminal while something is waited for. In a pipe nothing does.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::escape;

/// A line that says what is waited for, or a bar that fills.
pub struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    /// A line with a moving sign; none unless `shown`.
    pub fn line(shown: bool) -> Self {
        Self::new(shown, None, "{spinner} {msg}  {elapsed}")
    }

    /// A bar for so many; none unless `shown`.
    pub fn bar(shown: bool, of: u64) -> Self {
        Self::new(shown, Some(of), "{bar:30} {pos}/{len}  {msg}  {elapsed}")
    }

    /// A bar for so many bytes; none unless `shown`.
    pub fn bytes(shown: bool, of: u64) -> Self {
        Self::new(shown, Some(of), "{bar:30} {bytes}/{total_bytes}  {binary_bytes_per_sec}  {eta}")
    }

    fn new(shown: bool, of: Option<u64>, template: &str) -> Self {
        if !shown {
            return Self { bar: None };
        }
        let bar = ProgressBar::with_draw_target(of, ProgressDrawTarget::stderr_with_hz(4));
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(250));
        Self { bar: Some(bar) }
    }

    /// Says something else.
    pub fn say(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(escape::one_line(text).into_owned());
        }
    }

    /// So many are done.
    pub fn done(&self, count: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(count);
        }
    }

    /// Makes room for other output while `work` writes it.
    pub fn aside<T>(&self, work: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(work),
            None => work(),
        }
    }

    /// Takes it off the screen.
    pub fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
