use berth_policy_sdk::{Setting, testing::watched};

use super::*;

const HOUR: u64 = 3_600_000;

fn watcher(pairs: &[(&str, &str)]) -> Result<MaxLifespan, Error> {
    let setting = |&(key, value): &(&str, &str)| Setting { key: key.into(), value: value.into() };
    let mut settings = Settings::new(pairs.iter().map(setting).collect());
    let watcher = MaxLifespan::configure(&mut settings)?;
    settings.finish().map(|()| watcher)
}

fn started(id: u64, started_ms: u64) -> WatchedJob {
    WatchedJob { started_ms, ..watched(id) }
}

/// Who is warned and who is stopped of these jobs.
fn judged(watcher: &mut MaxLifespan, now_ms: u64, jobs: &[WatchedJob]) -> (Vec<u64>, Vec<u64>) {
    let (mut warned, mut stopped) = (Vec::new(), Vec::new());
    for Judgement { job, verdict } in watcher.judge(now_ms, jobs.to_vec()).unwrap() {
        match verdict {
            Verdict::Warn(_) => warned.push(job),
            Verdict::Stop(_) => stopped.push(job),
            other => panic!("{other:?}"),
        }
    }
    (warned, stopped)
}

#[test]
fn jobs_are_warned_and_then_stopped_and_others_left_alone() {
    let mut watcher = watcher(&[("max", "12h"), ("warn-before", "1h"), ("warn-signal", "USR1")]).unwrap();
    let now = 100 * HOUR;
    let jobs = vec![
        started(1, now - 11 * HOUR + 1),
        started(2, now - 11 * HOUR),
        started(3, now - 12 * HOUR),
        started(4, now - 12 * HOUR - 1),
        started(5, now + HOUR),
    ];
    let words = "it is ended in 1h or little more, when it has run the 12h that a job may".into();
    let warning = Verdict::Warn(Warning { words, signal: Some(10) });
    let stop = Verdict::Stop("it ran longer than the 12h that a job may".into());
    let expected = [(2, warning.clone()), (3, warning), (4, stop)];
    let expected = expected.map(|(job, verdict)| Judgement { job, verdict });
    assert_eq!(watcher.judge(now, jobs).unwrap(), expected);
}

#[test]
fn without_a_warning_time_nobody_is_warned() {
    let mut watcher = watcher(&[("max", "90s")]).unwrap();
    assert_eq!(judged(&mut watcher, 90_000, &[started(1, 0)]), (vec![], vec![]));
    assert_eq!(judged(&mut watcher, 90_001, &[started(1, 0)]), (vec![], vec![1]));
}

#[test]
fn a_warning_comes_before_the_end_even_if_looks_are_far_apart() {
    let mut watcher = watcher(&[("max", "60m"), ("warn-before", "5m")]).unwrap();
    // Every four minutes: there is no look that is exactly five before the end.
    let looks = (0..=64).step_by(4).map(|minute| minute * 60_000);
    let warned = looks.into_iter().find(|&now| judged(&mut watcher, now, &[started(1, 0)]).0 == [1]);
    assert_eq!(warned, Some(52 * 60_000));
}

#[test]
fn users_and_projects_have_limits_of_their_own() {
    let pairs = [("max", "2h"), ("users.root", "none"), ("users.alice", "4h"), ("projects.short", "1h")];
    let mut watcher = watcher(&pairs).unwrap();
    let of = |id, user: &str, project: &str| WatchedJob {
        user: user.into(),
        project: project.into(),
        ..started(id, 0)
    };
    let jobs = [of(1, "root", "short"), of(2, "alice", "short"), of(3, "bob", "short"), of(4, "bob", "p")];
    assert_eq!(judged(&mut watcher, HOUR + 1, &jobs).1, [3]);
    assert_eq!(judged(&mut watcher, 2 * HOUR + 1, &jobs).1, [3, 4]);
    assert_eq!(judged(&mut watcher, 400 * HOUR, &jobs).1, [2, 3, 4]);
}

#[test]
fn a_job_is_warned_of_its_own_time_limit_and_ended_by_it_alone() {
    let mut watcher = watcher(&[("max", "2d"), ("warn-before", "10m")]).unwrap();
    let job = WatchedJob { time_limit_ms: Some(HOUR), ..started(1, 0) };
    let short = WatchedJob { time_limit_ms: Some(60_000), ..started(2, 0) };
    let jobs = [job, short];
    assert_eq!(judged(&mut watcher, HOUR / 2, &jobs), (vec![], vec![]));
    assert_eq!(judged(&mut watcher, HOUR - 1, &jobs), (vec![1], vec![]));
    assert_eq!(judged(&mut watcher, 2 * HOUR, &jobs), (vec![], vec![]), "Berth ends it, with its grace");
}

#[test]
fn the_usual_limit_is_for_those_without_one_of_their_own() {
    let mut watcher = watcher(&[("max", "10h"), ("usual", "1h")]).unwrap();
    let own = WatchedJob { time_limit_ms: Some(9 * HOUR), ..started(2, 0) };
    let jobs = [started(1, 0), own];
    assert_eq!(judged(&mut watcher, HOUR + 1, &jobs).1, [1]);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    for pairs in [
        &[][..],
        &[("max", "0")],
        &[("max", "soon")],
        &[("max", "1h"), ("warn-before", "60m")],
        &[("max", "2h"), ("warn-before", "1h"), ("projects.p", "1h")],
        &[("max", "2h"), ("warn-signal", "USR1")],
        &[("max", "2h"), ("warn-before", "1h"), ("warn-signal", "KILL")],
        &[("max", "2h"), ("usual", "0")],
        &[("max", "2h"), ("users.alice", "0")],
        &[("max", "2h"), ("users", "alice")],
    ] {
        assert!(matches!(watcher(pairs), Err(Error::BadSettings(_))), "{pairs:?}");
    }
}
