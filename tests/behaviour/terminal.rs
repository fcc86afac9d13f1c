//! Commands on a terminal.

use berth_api::{Controls, Submit};

use crate::harness::{Berth, Terminal, sh};

/// What leaves the other screen, and shows the cursor.
const LEAVE: &str = "\x1b[?1049l";
const CURSOR: &str = "\x1b[?25h";

#[tokio::test]
async fn top_shows_a_job_as_it_comes_and_leaves_the_terminal_as_it_was() {
    let berth = Berth::start().await;
    let mut terminal = Terminal::open(100, 30);
    let before = terminal.modes();
    let mut top = terminal.run(berth.command(["top"]));
    terminal.shows("q leave").await;
    assert_ne!(terminal.modes(), before, "keys come one by one");
    let later = Submit { name: Some("comes-later".into()), hold: true, ..sh("true") };
    let job = berth.submit_job(later).await;
    terminal.shows("comes-later").await;
    terminal.press("q");
    let status = tokio::time::timeout(crate::harness::DEADLINE, top.wait()).await.unwrap().unwrap();
    assert!(status.success(), "{status}: {}", terminal.drawn());
    terminal.says(LEAVE).await;
    terminal.says(CURSOR).await;
    let drawn = terminal.drawn();
    let last = drawn.rsplit("\x1b[?25").next().unwrap_or_default();
    assert!(drawn.contains(CURSOR) && last.starts_with('h'), "the cursor is seen again: {drawn:?}");
    assert_eq!(terminal.modes(), before, "the terminal is as it was");
    assert_eq!(berth.job(job).await.row.state, "held");
}

#[tokio::test]
async fn top_kills_the_marked_job_after_asking() {
    let berth = Berth::start().await;
    let job = berth.submit_job(Submit { name: Some("to-be-killed".into()), ..sh("sleep 1000") }).await;
    berth.wait_for(job, "running").await;
    let mut terminal = Terminal::open(100, 30);
    let mut top = terminal.run(berth.command(["top"]));
    terminal.shows("to-be-killed").await;
    terminal.press("k");
    terminal.shows(&format!("kill job {job}?")).await;
    assert_eq!(berth.job(job).await.row.state, "running", "nothing is done before one has said yes");
    terminal.press("y");
    assert_eq!(berth.end_of(job).await.state, "killed");
    terminal.press("q");
    let status = tokio::time::timeout(crate::harness::DEADLINE, top.wait()).await.unwrap().unwrap();
    assert!(status.success(), "{status}: {}", terminal.drawn());
    assert_eq!(
        berth.control(Controls::Kill, job).await.message.as_deref(),
        Some("it has ended already: killed")
    );
}
