use berth_policy_sdk::{Setting, testing::watched};

use super::*;

const MIB: u64 = 1 << 20;

fn watcher(pairs: &[(&str, &str)]) -> Result<DiskQuota, Error> {
    let setting = |&(key, value): &(&str, &str)| Setting { key: key.into(), value: value.into() };
    let mut settings = Settings::new(pairs.iter().map(setting).collect());
    let watcher = DiskQuota::configure(&mut settings)?;
    settings.finish().map(|()| watcher)
}

fn takes(bytes: u64, whole: bool) -> WatchedJob {
    WatchedJob { directory: Some(DirectorySize { bytes, whole }), ..watched(1) }
}

fn verdict(watcher: &mut DiskQuota, job: WatchedJob) -> Option<Verdict> {
    watcher.judge(0, vec![job]).unwrap().pop().map(|judgement| judgement.verdict)
}

fn warning(words: &str, signal: Option<i32>) -> Option<Verdict> {
    Some(Verdict::Warn(Warning { words: words.into(), signal }))
}

#[test]
fn a_job_is_warned_and_ended_when_its_directory_takes_more_than_it_may() {
    let mut watcher = watcher(&[("max", "10m"), ("warn-at", "80%"), ("warn-signal", "12")]).unwrap();
    assert_eq!(verdict(&mut watcher, takes(8 * MIB - 1, true)), None);
    let words = "its directory takes 80% or more of the 10M that it may; beyond that it is ended";
    for bytes in [8 * MIB, 10 * MIB] {
        assert_eq!(verdict(&mut watcher, takes(bytes, true)), warning(words, Some(12)));
    }
    let stop = Verdict::Stop("its directory takes 12M, and may take 10M".into());
    assert_eq!(verdict(&mut watcher, takes(12 * MIB, true)), Some(stop));
}

#[test]
fn users_and_projects_have_limits_of_their_own() {
    let pairs = [("max", "10M"), ("users.alice", "1g"), ("users.root", "none"), ("projects.big", "1T")];
    let mut watcher = watcher(&pairs).unwrap();
    let of = |user: &str, project: &str| WatchedJob {
        user: user.into(),
        project: project.into(),
        ..takes(2 << 30, true)
    };
    assert!(matches!(verdict(&mut watcher, of("alice", "big")), Some(Verdict::Stop(_))));
    assert!(matches!(verdict(&mut watcher, of("bob", "small")), Some(Verdict::Stop(_))));
    assert_eq!(verdict(&mut watcher, of("bob", "big")), None);
    assert_eq!(verdict(&mut watcher, of("root", "small")), None);
}

#[test]
fn a_directory_that_cannot_be_measured_is_left_alone_and_that_is_said() {
    let mut watcher = watcher(&[("max", "10M")]).unwrap();
    let words = "its directory cannot be measured; what it takes is not watched";
    assert_eq!(verdict(&mut watcher, watched(1)), warning(words, None));
}

#[test]
fn what_is_known_of_a_directory_counts_and_the_site_says_what_becomes_of_the_rest() {
    let mut lenient = watcher(&[("max", "10M")]).unwrap();
    let words = "its directory is too large to be looked through; a part of it is not counted";
    assert_eq!(verdict(&mut lenient, takes(MIB, false)), warning(words, None));
    let stop = Verdict::Stop("its directory takes at least 11M, and may take 10M".into());
    assert_eq!(verdict(&mut lenient, takes(11 * MIB, false)), Some(stop));
    let mut strict = watcher(&[("max", "10M"), ("unmeasured", "stop")]).unwrap();
    assert!(matches!(verdict(&mut strict, takes(MIB, false)), Some(Verdict::Stop(_))));
    assert_eq!(verdict(&mut strict, takes(MIB, true)), None);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    for pairs in [
        &[][..],
        &[("max", "0")],
        &[("max", "lots")],
        &[("max", "1G"), ("warn-at", "0%")],
        &[("max", "1G"), ("warn-at", "120%")],
        &[("max", "1G"), ("warn-signal", "USR1")],
        &[("max", "1G"), ("warn-at", "80%"), ("warn-signal", "STOP")],
        &[("max", "1G"), ("unmeasured", "perhaps")],
        &[("max", "1G"), ("projects.p", "-1")],
    ] {
        assert!(matches!(watcher(pairs), Err(Error::BadSettings(_))), "{pairs:?}");
    }
}
