use berth_policy_sdk::{Resources, Setting, testing::watched};

use super::*;

const MINUTE: u64 = 60_000;
/// Microseconds of CPU time in a minute of one CPU.
const BUSY: u64 = 60_000_000;

fn watcher(pairs: &[(&str, &str)]) -> Result<Idle, Error> {
    let setting = |&(key, value): &(&str, &str)| Setting { key: key.into(), value: value.into() };
    let mut settings = Settings::new(pairs.iter().map(setting).collect());
    let watcher = Idle::configure(&mut settings)?;
    settings.finish().map(|()| watcher)
}

fn ten_minutes() -> Idle {
    watcher(&[("for", "10m"), ("below", "10%")]).unwrap()
}

fn used(id: JobId, cpu_micros: u64) -> WatchedJob {
    WatchedJob { cpu_micros: Some(cpu_micros), ..watched(id) }
}

/// Looks every minute at one job, as it is after so many, and tells what became of it and when.
fn watch(idle: &mut Idle, minutes: u64, job: impl Fn(u64) -> WatchedJob) -> Vec<(u64, Verdict)> {
    let look = |minute| {
        let judged = idle.judge(minute * MINUTE, vec![job(minute)]).unwrap();
        judged.into_iter().map(move |judgement| (minute, judgement.verdict))
    };
    (1..=minutes).flat_map(look).collect()
}

#[test]
fn a_job_that_sleeps_is_ended_with_the_reason() {
    let all = watch(&mut ten_minutes(), 11, |_| used(1, 7));
    let words = "it has used less than 10% of its CPUs for 10m";
    assert_eq!(all, [(11, Verdict::Stop(words.into()))]);
}

#[test]
fn a_job_that_computes_goes_on_whatever_it_did_before() {
    assert_eq!(watch(&mut ten_minutes(), 100, |minute| used(1, minute * BUSY / 10)), []);
    // Nine minutes of nothing, and then a little work, again and again.
    assert_eq!(watch(&mut ten_minutes(), 100, |minute| used(1, minute / 9 * BUSY)), []);
}

#[test]
fn a_share_is_one_of_the_cpus_that_a_job_has() {
    let four = Resources { cpu_millis: 4000, memory_bytes: 0, gpus: 0 };
    let of_four = |minute: u64| WatchedJob { needs: four, ..used(1, minute * BUSY / 5) };
    assert_eq!(watch(&mut ten_minutes(), 11, of_four).len(), 1, "a fifth of a CPU, of four");
    let of_none = |minute: u64| WatchedJob { needs: Resources::NONE, ..used(1, minute * BUSY / 5) };
    assert_eq!(watch(&mut ten_minutes(), 30, of_none), []);
}

#[test]
fn a_job_is_warned_once_by_the_same_words_before_it_is_ended() {
    let pairs = [("for", "10m"), ("warn-before", "3m"), ("warn-signal", "USR1")];
    let all = watch(&mut watcher(&pairs).unwrap(), 11, |_| used(1, 0));
    let (last, warnings) = all.split_last().unwrap();
    assert!(matches!(last, (11, Verdict::Stop(_))), "{last:?}");
    // At the seventh minute three are left; a look before that is due as the next might be late.
    assert_eq!(warnings.iter().map(|(minute, _)| *minute).collect::<Vec<_>>(), [7, 8, 9, 10]);
    let words = "it has used less than 5% of its CPUs since 0:01:00 after its start; \
                 when that has lasted for 10m, it is ended";
    let warning = Verdict::Warn(Warning { words: words.into(), signal: Some(10) });
    assert!(warnings.iter().all(|(_, verdict)| *verdict == warning), "{warnings:?}");
}

#[test]
fn a_suspended_job_is_not_idle_and_begins_anew() {
    let job = |minute: u64| WatchedJob {
        suspended: (5..50).contains(&minute),
        active_since_ms: if minute < 50 { 0 } else { 50 * MINUTE },
        ..used(1, 0)
    };
    let all = watch(&mut ten_minutes(), 60, job);
    assert_eq!(all.iter().map(|(minute, _)| *minute).collect::<Vec<_>>(), [60]);
    // One that nobody saw standing still.
    let job = |minute: u64| WatchedJob { active_since_ms: minute / 7 * 7 * MINUTE + 1, ..used(1, 0) };
    assert_eq!(watch(&mut ten_minutes(), 60, job), []);
}

#[test]
fn a_job_whose_cpu_time_cannot_be_had_goes_on_and_is_told_so() {
    let all = watch(&mut ten_minutes(), 12, |_| watched(1));
    let minutes: Vec<u64> = all.iter().map(|(minute, _)| *minute).collect();
    assert_eq!(minutes, [11, 12]);
    assert!(all.iter().all(|(_, verdict)| matches!(verdict, Verdict::Warn(Warning { signal: None, .. }))));
    // Where it can be had every other time, nobody knows of the time between.
    let sometimes =
        |minute: u64| WatchedJob { cpu_micros: minute.is_multiple_of(2).then_some(0), ..watched(1) };
    assert_eq!(watch(&mut ten_minutes(), 60, sometimes), []);
}

#[test]
fn exempt_users_and_projects_may_be_idle() {
    let pairs =
        [("for", "2m"), ("exempt-users.0", "root"), ("exempt-users.1", "carol"), ("exempt-projects", "web")];
    let mut idle = watcher(&pairs).unwrap();
    let of = |id, user: &str, project: &str| WatchedJob {
        user: user.into(),
        project: project.into(),
        ..used(id, 0)
    };
    let jobs = || vec![of(1, "carol", "p"), of(2, "alice", "web"), of(3, "alice", "p")];
    for minute in 1..3 {
        assert_eq!(idle.judge(minute * MINUTE, jobs()).unwrap(), []);
    }
    let ended: Vec<JobId> = idle.judge(3 * MINUTE, jobs()).unwrap().iter().map(|judged| judged.job).collect();
    assert_eq!(ended, [3]);
}

#[test]
fn parts_of_one_look_are_one_look_and_what_is_over_is_forgotten() {
    let mut idle = ten_minutes();
    for minute in 1..=11 {
        let mut judged = Vec::new();
        for part in [vec![used(1, 0)], vec![used(2, 0)]] {
            judged.extend(idle.judge(minute * MINUTE, part).unwrap());
        }
        assert_eq!(judged.len(), if minute == 11 { 2 } else { 0 });
    }
    idle.judge(12 * MINUTE, vec![]).unwrap();
    idle.judge(13 * MINUTE, vec![]).unwrap();
    assert!(idle.jobs.is_empty());
}

#[test]
fn a_clock_that_is_set_back_ends_nobody() {
    let mut idle = ten_minutes();
    for now in [100, 1, 2, 3, 2, 1].map(|minute| minute * MINUTE) {
        assert_eq!(idle.judge(now, vec![used(1, now)]).unwrap(), [], "{now}");
    }
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    for pairs in [
        &[][..],
        &[("for", "0")],
        &[("for", "a while")],
        &[("for", "10m"), ("below", "0%")],
        &[("for", "10m"), ("below", "5")],
        &[("for", "10m"), ("below", "200%")],
        &[("for", "10m"), ("warn-before", "10m")],
        &[("for", "10m"), ("warn-signal", "USR1")],
        &[("for", "10m"), ("warn-before", "1m"), ("warn-signal", "9")],
        &[("for", "10m"), ("exempt", "alice")],
    ] {
        assert!(matches!(watcher(pairs), Err(Error::BadSettings(_))), "{pairs:?}");
    }
}
