//! From just before a submission to the news that the job runs, on an idle machine.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::TryStreamExt;
use tokio::time::sleep;

use crate::{
    commits::Bare,
    figures::{quantile, ratio},
    site::{Site, World, argv},
    table::{Table, Target, ms},
};

const JOBS: usize = 200;
/// Between two jobs, so that nothing of one is left when the next comes.
const PAUSE: Duration = Duration::from_millis(15);
/// What a start may cost beside two commits.
const BESIDE: Duration = Duration::from_millis(3);

/// Adds the lines about latency.
pub async fn measure(world: &World, table: &mut Table) -> Result<()> {
    let site = Site::start(world, "[executors.local]").await?;
    let mut bare = Bare::open(site.folder())?;
    let job = argv(&["true"]);
    let mut events = site.client()?.events(None).await?;
    let (mut times, mut commits) = (Vec::new(), Vec::new());
    for number in 0..JOBS + 5 {
        sleep(PAUSE).await;
        let two = bare.commit()? + bare.commit()?;
        let begun = Instant::now();
        let id = site.client()?.submit(&job).await?.id;
        let mut began = None;
        loop {
            let event = events.try_next().await?.context("the stream of events has ended")?;
            match event.state.as_str() {
                "running" if event.id == id => began = began.or(Some(begun.elapsed())),
                "succeeded" if event.id == id => break,
                _ => {}
            }
        }
        // The first ones make what later ones find.
        if number >= 5 {
            times.push(began.context("a job ended that never ran")?);
            commits.push(two);
        }
    }
    for (name, part, least) in [("p50", 0.50, 5), ("p99", 0.99, 20)] {
        let took = quantile(&times, part).context("nothing was measured")?;
        let two = quantile(&commits, part).context("nothing was measured")?;
        let most = Duration::from_millis(least).max(two + BESIDE);
        let target = Target::of(format!("< {}", ms(most)), took < most);
        let compared = format!("two bare commits: {}", ms(two));
        let what = format!("submission to the news that it runs, idle machine, {name} of {JOBS}");
        table.row(&what, ms(took), &compared, Some(ratio(took, two)), target);
    }
    Ok(())
}
