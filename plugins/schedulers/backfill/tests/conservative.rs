//! Conservative backfill: promises, and that they are kept.

use std::collections::BTreeMap;

use berth_policy_sdk::{
    JobId,
    testing::{Host, JobBuilder, job, node},
};
use berth_scheduler_backfill::policy::Backfill;

/// 2026-11-21T14:00:00Z.
const NOW: u64 = 1_795_269_600_000;
const MINUTE: u64 = 60_000;

fn host(settings: &[(&str, &str)], cpus: &[u64]) -> Host<Backfill> {
    let settings = [&[("mode", "conservative")], settings].concat();
    let mut host = Host::new(&settings).expect("the settings are good");
    host.nodes((1..).zip(cpus).map(|(id, cpus)| node(id, cpus * 1000, 0, 0)));
    host
}

fn shaped(id: JobId, cpus: u64, minutes: u64) -> JobBuilder {
    job(id).cpu(cpus * 1000).time_limit(minutes * MINUTE).submitted(NOW + id)
}

/// What starts, and in how many minutes from the beginning others are to start.
fn planned(host: &mut Host<Backfill>, minute: u64) -> (Vec<JobId>, BTreeMap<JobId, u64>) {
    let turn = host.turn(NOW + minute * MINUTE).expect("a plan");
    let later = turn.plan.reservations.iter().map(|one| (one.job, (one.at_ms - NOW) / MINUTE));
    (turn.running.iter().map(|&(_, job, _)| job).collect(), later.collect())
}

#[test]
fn nobody_who_waits_is_delayed_by_who_came_later() {
    let mut host = host(&[], &[8]);
    host.submit([shaped(1, 6, 60), shaped(2, 8, 10), shaped(3, 4, 30), shaped(4, 2, 60), shaped(5, 5, 20)]);
    let later = BTreeMap::from([(2, 60), (3, 70), (5, 100)]);
    assert_eq!(planned(&mut host, 0), (vec![1, 4], later), "EASY would know only of job 2");
}

#[test]
fn what_is_over_early_lets_everybody_come_sooner_in_their_order() {
    let mut host = host(&[], &[8]);
    host.submit([shaped(1, 6, 60), shaped(2, 8, 10), shaped(3, 4, 30), shaped(4, 5, 20)]);
    let later = BTreeMap::from([(2, 60), (3, 70), (4, 100)]);
    assert_eq!(planned(&mut host, 0), (vec![1], later));
    host.end([1]);
    assert_eq!(planned(&mut host, 5), (vec![2], BTreeMap::from([(3, 15), (4, 45)])));
}

#[test]
fn a_promise_comes_true_without_an_event_at_its_time() {
    let mut host = host(&[], &[4]);
    host.submit([shaped(1, 4, 10), shaped(2, 1, 5)]);
    planned(&mut host, 0);
    let turn = host.turn(NOW).expect("a plan");
    assert_eq!(turn.plan.wake_at_ms, Some(NOW + 10 * MINUTE));
}

#[test]
fn who_is_late_puts_the_others_off_as_little_as_can_be() {
    let mut host = host(&[], &[4]);
    host.submit([shaped(1, 4, 10), shaped(2, 3, 10), shaped(3, 4, 10), shaped(4, 1, 5)]);
    assert_eq!(planned(&mut host, 0).1, BTreeMap::from([(2, 10), (3, 20), (4, 10)]));
    assert_eq!(planned(&mut host, 10).1, BTreeMap::from([(3, 20)]), "2 and 4 start once job 1 is over");
    assert_eq!(
        host.explain(NOW + 10 * MINUTE, 2).as_deref(),
        Some("it starts as soon as there is room; no other that waits for the same nodes comes before it")
    );
    let later = BTreeMap::from([(2, 14), (3, 24), (4, 14)]);
    assert_eq!(planned(&mut host, 12).1, later, "two minutes late, and taken to be so for two more");
    host.end([1]);
    assert_eq!(planned(&mut host, 13), (vec![2, 4], BTreeMap::from([(3, 23)])));
}

#[test]
fn who_goes_away_makes_room_for_those_behind() {
    let mut host = host(&[], &[4]);
    host.submit([shaped(1, 4, 10), shaped(2, 4, 10), shaped(3, 4, 10)]);
    assert_eq!(planned(&mut host, 0).1, BTreeMap::from([(2, 10), (3, 20)]));
    host.withdraw([2]);
    assert_eq!(planned(&mut host, 1).1, BTreeMap::from([(3, 10)]));
}

#[test]
fn a_higher_priority_takes_the_place_of_a_lower_one_and_not_of_an_equal_one() {
    let mut host = host(&[("order", "priority")], &[4]);
    host.submit([shaped(1, 4, 10), shaped(2, 4, 10), shaped(3, 4, 10).priority(1)]);
    assert_eq!(planned(&mut host, 0), (vec![3], BTreeMap::from([(1, 10), (2, 20)])));
    host.submit([shaped(4, 4, 5).priority(1), shaped(5, 4, 5)]);
    assert_eq!(planned(&mut host, 1).1, BTreeMap::from([(4, 10), (1, 15), (2, 25), (5, 35)]));
}

#[test]
fn each_task_of_an_array_has_a_promise() {
    let mut host = host(&[], &[4, 4]);
    host.submit([shaped(1, 4, 10).tasks(5), shaped(2, 4, 10)]);
    assert_eq!(planned(&mut host, 0), (vec![1, 1], BTreeMap::from([(1, 10), (2, 20)])));
    let tasks = host.running();
    host.end(tasks);
    assert_eq!(planned(&mut host, 4), (vec![1, 1], BTreeMap::from([(1, 14), (2, 14)])));
}

#[test]
fn nothing_is_told_of_more_than_is_asked_for() {
    let mut host = host(&[("reservations", "1")], &[4]);
    host.submit([shaped(1, 4, 10), shaped(2, 4, 10), shaped(3, 4, 10)]);
    assert_eq!(planned(&mut host, 0).1, BTreeMap::from([(2, 10)]));
    assert_eq!(
        host.explain(NOW, 3).as_deref(),
        Some("it starts by 14:20 UTC at the latest; 1 job that waits for the same nodes comes before it")
    );
}
