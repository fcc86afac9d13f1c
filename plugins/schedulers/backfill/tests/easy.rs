//! EASY backfill: who starts before their turn, and who does not.

use berth_policy_sdk::{
    Error, JobId,
    testing::{Host, JobBuilder, job, node},
};
use berth_scheduler_backfill::policy::Backfill;

/// 2026-11-21T14:00:00Z.
const NOW: u64 = 1_795_269_600_000;
const MINUTE: u64 = 60_000;

fn host(settings: &[(&str, &str)], cpus: &[u64]) -> Host<Backfill> {
    let mut host = Host::new(settings).expect("the settings are good");
    host.nodes((1..).zip(cpus).map(|(id, cpus)| node(id, cpus * 1000, 100, 2)));
    host
}

/// A job that needs so many CPUs for so many minutes.
fn shaped(id: JobId, cpus: u64, minutes: u64) -> JobBuilder {
    job(id).cpu(cpus * 1000).time_limit(minutes * MINUTE).submitted(NOW + id)
}

/// What starts, with its node.
fn started(host: &mut Host<Backfill>, at: u64) -> Vec<(JobId, u32)> {
    host.turn(at).expect("a plan").running.into_iter().map(|(_, job, node)| (job, node)).collect()
}

#[test]
fn a_small_job_starts_before_its_turn_where_it_is_over_when_the_first_can_start() {
    let mut host = host(&[], &[8]);
    host.submit([shaped(1, 6, 60), shaped(2, 8, 10), shaped(3, 2, 60), shaped(4, 1, 59)]);
    assert_eq!(started(&mut host, NOW), [(1, 1), (3, 1)], "exactly until then is soon enough");
    host.end([3]);
    assert_eq!(started(&mut host, NOW + 1), [(4, 1)]);
    host.submit([shaped(5, 1, 60)]);
    assert_eq!(started(&mut host, NOW + 1), [], "a millisecond too long");
}

#[test]
fn a_long_job_starts_before_its_turn_beside_the_first() {
    let mut host = host(&[], &[8]);
    host.submit([
        shaped(1, 6, 60),
        shaped(2, 6, 10),
        shaped(3, 1, 600),
        shaped(4, 1, 600),
        shaped(5, 1, 600),
    ]);
    assert_eq!(started(&mut host, NOW), [(1, 1), (3, 1), (4, 1)], "two are left over beside job 2");
    host.end([1]);
    assert_eq!(started(&mut host, NOW + 1), [(2, 1)]);
}

#[test]
fn the_first_is_promised_one_node_and_the_others_are_free_for_all() {
    let mut host = host(&[], &[8, 8]);
    host.submit([shaped(1, 8, 60), shaped(2, 7, 30), shaped(3, 8, 10), shaped(4, 1, 600)]);
    host.placement(1, [1]);
    assert_eq!(started(&mut host, NOW), [(1, 1), (2, 2)], "job 4 would delay job 3 on node 2");
    host.submit([shaped(5, 1, 30)]);
    assert_eq!(started(&mut host, NOW), [(5, 2)]);
    let plan = host.turn(NOW).expect("a plan").plan;
    let promised: Vec<_> = plan.reservations.iter().map(|one| (one.job, one.node, one.at_ms)).collect();
    assert_eq!(promised, [(3, Some(2), NOW + 30 * MINUTE)]);
}

#[test]
fn memory_and_gpus_are_promised_like_processors() {
    for takes in [|job: JobBuilder| job.memory(60), |job: JobBuilder| job.gpus(2)] {
        let mut host = host(&[], &[8]);
        let long = takes(shaped(3, 1, 600));
        host.submit([takes(shaped(1, 1, 60)), takes(shaped(2, 1, 60)), shaped(4, 1, 600)]);
        host.submit([long]);
        assert_eq!(started(&mut host, NOW), [(1, 1), (4, 1)]);
        host.end([1]);
        assert_eq!(started(&mut host, NOW), [(2, 1)]);
    }
}

#[test]
fn the_first_of_each_placement_has_a_promise() {
    let mut host = host(&[], &[4, 4]);
    host.placement(1, [1]);
    host.placement(2, [2]);
    host.submit([shaped(1, 3, 60).placement(1), shaped(2, 3, 60).placement(2)]);
    host.submit([shaped(3, 4, 10).placement(1), shaped(4, 4, 10).placement(2)]);
    host.submit([
        shaped(5, 1, 61).placement(1),
        shaped(6, 1, 61).placement(2),
        shaped(7, 1, 60).placement(2),
    ]);
    assert_eq!(started(&mut host, NOW), [(1, 1), (2, 2), (7, 2)], "job 6 would delay job 4");
}

#[test]
fn each_task_of_an_array_is_a_job_of_its_own() {
    let mut host = host(&[], &[4, 4, 4]);
    host.submit([shaped(1, 3, 60), shaped(2, 4, 10).tasks(4), shaped(3, 1, 60), shaped(4, 1, 61)]);
    assert_eq!(started(&mut host, NOW), [(1, 1), (2, 2), (2, 3), (3, 1)]);
    let first: Vec<JobId> = host.running().into_iter().filter(|&id| id > 4).take(1).collect();
    host.end(first);
    assert_eq!(started(&mut host, NOW + 1), [(2, 2)]);
}

#[test]
fn tasks_that_one_plan_cannot_say_come_with_the_next() {
    let mut host = host(&[], &[4, 4, 4]);
    host.placement(1, [2]);
    host.submit([shaped(1, 2, 60).placement(1), shaped(2, 4, 10).placement(1), shaped(3, 2, 90).tasks(4)]);
    let plan = host.turn(NOW).expect("a plan");
    let said: Vec<_> = plan.running.iter().map(|&(_, job, node)| (job, node)).collect();
    assert_eq!(said, [(1, 2), (3, 1), (3, 1)], "the host itself would go on with node 2, which is promised");
    assert_eq!(plan.plan.wake_at_ms, Some(NOW));
    assert_eq!(started(&mut host, NOW + 1), [(3, 3), (3, 3)]);
}

#[test]
fn what_never_ends_starts_before_its_turn_only_where_it_is_in_nobodys_way() {
    let endless = |id, cpus: u64| job(id).cpu(cpus * 1000).submitted(NOW + id);
    let mut host = host(&[], &[8]);
    host.submit([endless(1, 4), shaped(2, 8, 10), endless(3, 1), shaped(4, 2, 10_000), endless(5, 4)]);
    assert_eq!(started(&mut host, NOW), [(1, 1), (4, 1)], "nobody knows when job 2 can start, but it will");
    assert_eq!(
        host.explain(NOW, 2).as_deref(),
        Some(
            "it comes first among those that wait for the same nodes and starts when jobs without a time limit \
             are over, which nobody knows"
        )
    );
    assert_eq!(host.turn(NOW).expect("a plan").plan.reservations, []);
}

#[test]
fn a_guess_that_proved_wrong_is_put_off_for_as_long_again() {
    let endless = |id, cpus: u64| job(id).cpu(cpus * 1000).submitted(NOW + id);
    let mut host = host(&[("default-time-limit", "10m")], &[8]);
    host.submit([endless(1, 6), shaped(2, 8, 10), shaped(3, 2, 11), endless(4, 1)]);
    assert_eq!(started(&mut host, NOW), [(1, 1), (4, 1)]);
    host.end([4]);
    let mut promised = |minute: u64| {
        let plan = host.turn(NOW + minute * MINUTE).expect("a plan").plan;
        plan.reservations.iter().map(|one| (one.job, (one.at_ms - NOW) / MINUTE)).collect::<Vec<_>>()
    };
    assert_eq!((promised(9), promised(10), promised(13)), (vec![(2, 10)], vec![], vec![(2, 16)]));
}

#[test]
fn a_late_job_is_taken_to_be_late_for_as_long_again() {
    let mut host = host(&[], &[8]);
    host.submit([shaped(1, 6, 10), shaped(2, 7, 10)]);
    assert_eq!(started(&mut host, NOW), [(1, 1)]);
    host.submit([shaped(3, 2, 1), shaped(4, 1, 100)]);
    assert_eq!(started(&mut host, NOW + 10 * MINUTE), [(4, 1)], "job 1 may be over at any time");
    host.end([4]);
    assert_eq!(
        host.explain(NOW + 10 * MINUTE, 2).as_deref(),
        Some("it comes first among those that wait for the same nodes and starts as soon as there is room")
    );
    assert_eq!(started(&mut host, NOW + 11 * MINUTE), [(3, 1)]);
}

#[test]
fn nobody_waits_for_ever_for_a_job_that_does_not_end() {
    let mut host = host(&[], &[8, 8]);
    host.submit([shaped(1, 8, 10), shaped(2, 8, 60), shaped(3, 8, 10), shaped(4, 1, 45)]);
    assert_eq!(started(&mut host, NOW), [(1, 1), (2, 2)]);
    let promised = |host: &mut Host<Backfill>, minute: u64| {
        let plan = host.turn(NOW + minute * MINUTE).expect("a plan").plan;
        plan.reservations.first().map(|one| (one.node, (one.at_ms - NOW) / MINUTE))
    };
    assert_eq!(promised(&mut host, 20), Some((Some(1), 30)));
    assert_eq!(promised(&mut host, 40), Some((Some(2), 60)), "job 1 is half an hour late");
    host.end([2]);
    assert_eq!(started(&mut host, NOW + 50 * MINUTE), [(3, 2)]);
}

#[test]
fn what_fits_nowhere_holds_nobody_up() {
    let mut host = host(&[], &[4]);
    host.submit([shaped(1, 5, 10), shaped(2, 3, 10), shaped(3, 4, 10), shaped(4, 1, 20)]);
    assert_eq!(started(&mut host, NOW), [(2, 1)]);
    assert_eq!(
        host.explain(NOW, 1).as_deref(),
        Some("none of the nodes that take jobs at the moment is as large as it needs")
    );
}

#[test]
fn the_policy_looks_no_deeper_than_it_is_told() {
    let mut shallow = host(&[("depth", "2")], &[4]);
    shallow.submit([
        shaped(1, 3, 60),
        shaped(2, 4, 10),
        shaped(3, 2, 10),
        shaped(4, 1, 10),
        shaped(5, 1, 10),
    ]);
    assert_eq!(started(&mut shallow, NOW), [(1, 1)]);
    assert_eq!(
        shallow.explain(NOW, 4).as_deref(),
        Some(
            "2 jobs that wait for the same nodes come before it, and only the first 2 that cannot start are looked at"
        )
    );
    let mut deeper = host(&[("depth", "3")], &[4]);
    deeper.submit([shaped(1, 3, 60), shaped(2, 4, 10), shaped(3, 2, 10), shaped(4, 1, 10), shaped(5, 1, 10)]);
    assert_eq!(started(&mut deeper, NOW), [(1, 1), (4, 1)]);
}

#[test]
fn people_are_told_who_comes_first_and_until_when_they_wait() {
    let mut host = host(&[], &[8]);
    host.submit([shaped(1, 6, 5), shaped(17, 8, 10), shaped(18, 2, 6), shaped(19, 4, 1)]);
    assert_eq!(started(&mut host, NOW), [(1, 1)]);
    let why = |job| host.explain(NOW, job).expect("it waits");
    assert_eq!(
        why(17),
        "it comes first among those that wait for the same nodes and starts by 14:05 UTC at the latest"
    );
    assert_eq!(why(18), "job 17 comes first and starts by 14:05 UTC at the latest; this one would delay it");
    assert_eq!(
        why(19),
        "2 jobs that wait for the same nodes come before it; the first of them, 17, starts by 14:05 UTC at the \
         latest. It may start before them once it fits"
    );
    assert_eq!(host.explain(NOW, 99), None);
}

#[test]
fn priority_comes_before_arrival_where_the_settings_say_so() {
    let order = |settings: &[(&str, &str)]| {
        let mut host = host(settings, &[4]);
        host.submit([shaped(1, 4, 10), shaped(2, 4, 10).priority(1)]);
        host.turn(NOW).expect("a plan").jobs()
    };
    assert_eq!((order(&[]), order(&[("order", "priority")])), (vec![1], vec![2]));
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    for pair in [
        ("mode", "hard"),
        ("order", "size"),
        ("depth", "0"),
        ("depth", "many"),
        ("reservations", "100001"),
        ("default-time-limit", "soon"),
        ("deepness", "7"),
    ] {
        let refused = Host::<Backfill>::new(&[pair]).err();
        assert!(matches!(refused, Some(Error::BadSettings(_))), "{pair:?}");
    }
}

#[test]
fn an_instance_that_begins_anew_plans_the_same() {
    let mut host = host(&[("default-time-limit", "7m")], &[8, 6, 4]);
    host.placement(1, [2, 3]);
    for at in (0..40).map(|minute| NOW + minute * MINUTE) {
        let id = 1 + (at - NOW) / MINUTE;
        let new = shaped(id, 1 + id * 5 % 8, 1 + id * 7 % 30);
        host.submit([if id.is_multiple_of(3) { new.placement(1).cpu(id % 5 * 1000) } else { new }]);
        host.check_fresh(at).expect("the same plan");
        host.turn(at).expect("a plan");
        if id.is_multiple_of(2) {
            let oldest = host.running().into_iter().take(1).collect::<Vec<_>>();
            host.end(oldest);
        }
    }
}
