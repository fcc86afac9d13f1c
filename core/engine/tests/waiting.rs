//! Why jobs wait, since when, and what would make them fit.

mod site;

use berth_engine::{Bar, Suggestion};
use berth_model::{Dependency, DependencyKind, Hold, JobId, JobSpec, StateKind};
use site::{Site, array, cpus};

fn limited(spec: JobSpec, seconds: u64) -> JobSpec {
    JobSpec { time_limit: Some(std::time::Duration::from_secs(seconds)), ..spec }
}

/// What would make a job fit, as words; each change is then tried for real by `fits`.
fn suggestions(site: &Site, job: JobId) -> Vec<Suggestion> {
    let active: Vec<JobId> = site.engine.running().iter().map(|view| view.id).collect();
    site.engine.suggestions(job, &active)
}

#[test]
fn less_is_suggested_where_it_fits_and_then_it_does() {
    let mut site = Site::with_nodes(&[4]);
    site.submit(cpus(3));
    let waiting = site.submit(cpus(2));
    site.settle_all();
    let found = suggestions(&site, waiting);
    let Some(Suggestion::Less { asked, instead, node }) = found.first() else { panic!("{found:?}") };
    assert_eq!((asked.cpu_millis, instead.cpu_millis, node.as_str()), (2000, 1000, "fake/n0"));
    let taken_at_its_word = site.submit(cpus(1));
    site.settle_all();
    assert_eq!(site.state(taken_at_its_word), StateKind::Running);
}

#[test]
fn the_fewest_ends_that_make_room_soonest_are_named() {
    let mut site = Site::with_nodes(&[4]);
    let long = site.submit(limited(cpus(2), 1000));
    let soon = site.submit(limited(cpus(1), 10));
    let later = site.submit(limited(cpus(1), 20));
    let waiting = site.submit(cpus(2));
    site.settle_all();
    let ends = |found: Vec<Suggestion>| {
        found.into_iter().find_map(|one| match one {
            Suggestion::Ends { jobs, by, .. } => Some((jobs, by)),
            _ => None,
        })
    };
    let (jobs, by) = ends(suggestions(&site, waiting)).unwrap();
    assert_eq!(jobs, [soon, later]);
    let started = site.engine.running().iter().find(|view| view.id == later).unwrap().started;
    assert_eq!(by, Some(started.after(std::time::Duration::from_secs(20))));
    let all = site.submit(cpus(4));
    site.settle_all();
    let (jobs, _) = ends(suggestions(&site, all)).unwrap();
    assert_eq!(jobs, [soon, later, long]);
}

#[test]
fn a_hold_is_only_suggested_to_be_lifted_where_that_is_enough() {
    let mut site = Site::with_nodes(&[2]);
    let held = site.submit(JobSpec { hold: true, ..cpus(1) });
    let other = site.submit(JobSpec { hold: true, ..cpus(2) });
    site.settle_all();
    let unheld = |hold| Suggestion::Unheld { hold, at: None, on: None, node: "fake/n0".into() };
    assert_eq!(suggestions(&site, held), [unheld(Hold::User)]);
    assert_eq!(suggestions(&site, other), [unheld(Hold::User)]);
    let running = site.submit(limited(cpus(1), 60));
    site.settle_all();
    assert_eq!(suggestions(&site, other), [], "there is no room for it any more");
    let on = vec![Dependency { on: running, kind: DependencyKind::AfterOk }];
    let after = site.submit(JobSpec { dependencies: on.clone(), ..cpus(1) });
    let found = suggestions(&site, after);
    assert!(
        matches!(found.as_slice(), [Suggestion::Unheld { hold: Hold::Dependency, at: Some(_), on: Some(job), .. }] if *job == running),
        "{found:?}"
    );
    let both = site.submit(JobSpec { hold: true, dependencies: on, ..cpus(1) });
    assert_eq!(suggestions(&site, both), [], "one hold lifted is not enough");
}

#[test]
fn a_bound_is_named_where_it_alone_is_in_the_way() {
    let mut site = Site::with_nodes(&[4]);
    let bounded = site.submit(array("1-10%2"));
    site.settle_all();
    let found = suggestions(&site, bounded);
    assert_eq!(found, [Suggestion::Unbound { at_once: 2, node: "fake/n0".into() }]);
    site.submit(cpus(2));
    site.settle_all();
    assert_eq!(suggestions(&site, bounded), [], "there is no room for a third one either");
}

#[test]
fn what_it_waited_for_is_known_with_its_times() {
    let mut site = Site::with_nodes(&[2]);
    let running = site.submit(cpus(2));
    let waiting = site.submit(cpus(1));
    site.settle_all();
    let spells = site.engine.view(waiting).unwrap().spells;
    assert_eq!(
        spells.iter().map(|spell| (spell.bar, spell.until)).collect::<Vec<_>>(),
        [(Bar::NoRoom, None)]
    );
    let since = spells[0].since;
    site.advance(std::time::Duration::from_secs(60));
    site.settle_all();
    assert_eq!(site.engine.view(waiting).unwrap().spells[0].since, since, "still the same");
    assert_eq!(site.engine.view(running).unwrap().spells, [], "it waits for nothing");
}
