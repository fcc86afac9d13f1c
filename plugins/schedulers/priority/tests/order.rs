//! The highest priority first.

use berth_policy_sdk::{
    Error, JobId,
    testing::{Host, JobBuilder, job, node},
};
use berth_scheduler_priority::policy::Priority;
use proptest::prelude::*;

const HOUR: u64 = 3_600_000;
/// A day in 2026.
const NOW: u64 = 1_790_000_000_000;

fn host(settings: &[(&str, &str)]) -> Host<Priority> {
    let mut host = Host::new(settings).expect("the settings are good");
    host.nodes([node(1, 0, 0, 0)]);
    host
}

#[test]
fn priority_comes_before_submission_and_submission_before_number() {
    let mut host = host(&[]);
    host.submit([job(1).submitted(NOW), job(2).submitted(NOW).priority(1), job(3).submitted(NOW - 1)]);
    host.submit([job(4).submitted(NOW).priority(-1), job(5).submitted(NOW)]);
    assert_eq!(host.turn(NOW).unwrap().jobs(), [2, 3, 1, 5, 4]);
}

#[test]
fn a_changed_priority_changes_the_place() {
    let mut host = host(&[]);
    host.most = 1;
    host.submit([job(1), job(2), job(3)]);
    host.submit([job(3).priority(5)]);
    assert_eq!(host.turn(0).unwrap().jobs(), [3]);
    assert_eq!(host.turn(0).unwrap().jobs(), [1]);
}

#[test]
fn waiting_makes_up_for_priority_as_its_weight_says() {
    let order = |weight: &str| {
        let mut host = host(&[("age-weight", weight)]);
        host.submit([job(1).submitted(NOW - 10 * HOUR), job(2).submitted(NOW).priority(15)]);
        host.turn(NOW).unwrap().jobs()
    };
    assert_eq!(order("1"), [2, 1], "ten points against fifteen");
    assert_eq!(order("2"), [1, 2], "twenty points against fifteen");
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let refused = |settings: &[(&str, &str)]| {
        let refused = Host::<Priority>::new(settings).err();
        assert!(matches!(refused, Some(Error::BadSettings(_))), "{settings:?}");
    };
    for pair in [("age-weight", "-1"), ("age-weight", "much"), ("age-weight", "100001"), ("age", "1")] {
        refused(&[pair]);
    }
    refused(&[("order", "wfp4")]);
    refused(&[("order", "sjf"), ("default-time-limit", "soon")]);
    refused(&[("order", "f1"), ("f1-origin", "-1")]);
    for (order, of_another) in
        [("sjf", "age-weight"), ("wfp3", "f1-origin"), ("priority", "default-time-limit")]
    {
        refused(&[("order", order), (of_another, "1")]);
    }
}

/// The order that these start in at the second `now`, one after the other at the same time.
fn order(settings: &[(&str, &str)], now: u64, jobs: impl IntoIterator<Item = JobBuilder>) -> Vec<JobId> {
    let mut host: Host<Priority> = Host::new(settings).expect("the settings are good");
    host.nodes([node(1, 1_000_000, 0, 0)]);
    host.submit(jobs);
    host.turn(now * 1000).expect("a plan").jobs()
}

/// A job with so many CPUs, a time limit and a submission in seconds.
fn shaped(id: JobId, cpus: u64, limit: u64, submitted: u64) -> JobBuilder {
    job(id).cpu(cpus * 1000).time_limit(limit * 1000).submitted(submitted * 1000)
}

#[test]
fn the_shortest_comes_first_and_of_equals_who_was_submitted_first() {
    let jobs = [shaped(1, 1, 60, 5), shaped(2, 1, 60, 4), shaped(3, 9, 59, 9), job(4).cpu(1000)];
    assert_eq!(order(&[("order", "sjf")], 10, jobs.clone()), [3, 2, 1, 4], "a day where nothing is said");
    let with_usual = [("order", "sjf"), ("default-time-limit", "1s")];
    assert_eq!(order(&with_usual, 10, jobs), [4, 3, 2, 1]);
}

#[test]
fn wfp3_weighs_waiting_by_the_cube_and_processors_once() {
    // At 100: (50/100)^3 * 1 = 0.125, (25/50)^3 * 2 = 0.25, (100/1000)^3 * 64 = 0.064, (100/100)^3 * 1 = 1.
    let jobs = [shaped(1, 1, 100, 50), shaped(2, 2, 50, 75), shaped(3, 64, 1000, 0), shaped(4, 1, 100, 0)];
    assert_eq!(order(&[("order", "wfp3")], 100, jobs.clone()), [4, 2, 1, 3]);
    // At 1075: 1.03e3 * 1, 8e3 * 2, 1.24 * 64, 1.24e3 * 1.
    assert_eq!(order(&[("order", "wfp3")], 1075, jobs), [2, 4, 1, 3], "another order at another time");
}

#[test]
fn unicep_divides_by_the_logarithm_and_puts_single_processors_first() {
    // At 100: (90/100)/3 = 0.3, (40/100)/1 = 0.4, and for one processor a division by nearly nothing.
    let jobs = [shaped(1, 8, 100, 10), shaped(2, 2, 100, 60), shaped(3, 1, 9000, 99), shaped(4, 1, 9000, 98)];
    assert_eq!(order(&[("order", "unicep")], 100, jobs), [4, 3, 2, 1]);
}

#[test]
fn parts_of_a_processor_count_as_a_whole_one() {
    let jobs = [job(1).cpu(1001), job(2).cpu(2000), job(3).cpu(10), job(4).cpu(1000), job(5)];
    let waited = |job: JobBuilder| job.time_limit(1000).submitted(0);
    assert_eq!(order(&[("order", "wfp3")], 100, jobs.map(waited)), [1, 2, 3, 4, 5]);
}

#[test]
fn f1_counts_time_from_its_origin_and_what_came_before_as_its_first_instant() {
    // log10(100) * 4 + 870 * log10(10) = 878, log10(10) * 2 + 870 * log10(10) = 872, and 1 - 870.
    let jobs =
        |from: u64| [shaped(1, 4, 100, from + 10), shaped(2, 2, 10, from + 10), shaped(3, 1, 10, from)];
    assert_eq!(order(&[("order", "f1")], 20, jobs(0)), [3, 2, 1]);
    let since = [("order", "f1"), ("f1-origin", "1790000000")];
    assert_eq!(order(&since, 1_790_000_020, jobs(1_790_000_000)), [3, 2, 1]);
    // Two days later weigh less than nine more processors only where the count of time began long ago.
    let two_days = |from: u64| [shaped(1, 10, 100, from + 86_400), shaped(2, 1, 100, from + 3 * 86_400)];
    assert_eq!(order(&since, 1_800_000_000, two_days(1_790_000_000)), [1, 2]);
    assert_eq!(order(&[("order", "f1")], 1_800_000_000, two_days(1_790_000_000)), [2, 1]);
}

#[test]
fn nobody_passes_the_first_that_finds_no_room_in_any_order() {
    for name in ["priority", "sjf", "wfp3", "unicep", "f1"] {
        let mut host: Host<Priority> = Host::new(&[("order", name)]).expect("the settings are good");
        host.nodes([node(1, 4000, 0, 0), node(2, 4000, 0, 0)]);
        host.placement(1, [1]);
        host.placement(2, [2]);
        host.submit([shaped(1, 3, 1000, 0).placement(1)]);
        assert_eq!(host.turn(1000).expect("a plan").jobs(), [1]);
        // Three of a kind: the first, though it is the larger, is the most urgent by every measure.
        let urgent = shaped(2, 2, 10, 0).priority(9).placement(1);
        let small = shaped(3, 1, 5000, 900).placement(1);
        host.submit([urgent, small, shaped(4, 1, 5000, 900).placement(2)]);
        let started = host.turn(2_000_000).expect("a plan");
        if name == "unicep" {
            assert_eq!(started.jobs(), [3, 4], "{name} puts single processors first");
            continue;
        }
        assert_eq!(started.jobs(), [4], "{name}");
        assert_eq!(
            host.explain(2_000_000, 3).as_deref(),
            Some(
                "1 job that waits for the same nodes comes before it, and the first of them, 2, waits for room"
            )
        );
        host.end([1]);
        assert_eq!(host.turn(2_000_001).expect("a plan").jobs(), [2, 3], "{name}");
    }
}

proptest! {
    #[test]
    fn the_order_is_that_of_points_and_never_depends_on_when_it_is_asked(
        jobs in prop::collection::vec((any::<i32>(), 0..1_000 * HOUR), 2..20),
        weight in 0..=100_000_i128,
        later in 0..HOUR,
    ) {
        let weight_text = weight.to_string();
        let mut host = host(&[("age-weight", &weight_text)]);
        for (id, &(priority, age)) in (1..).zip(&jobs) {
            host.submit([job(id).priority(priority).submitted(NOW - age)]);
        }
        let points = |id: u64| {
            let (priority, age) = jobs[id as usize - 1];
            (i128::from(priority) * i128::from(HOUR) + i128::from(age) * weight, age)
        };
        let order = host.turn(NOW + later).unwrap().jobs();
        prop_assert_eq!(order.len(), jobs.len());
        prop_assert!(order.windows(2).all(|pair| {
            let (first, second) = (points(pair[0]), points(pair[1]));
            first > second || (first == second && pair[0] < pair[1])
        }), "{:?}", order);
    }
}
