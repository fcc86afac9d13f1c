//! The highest priority first.

use berth_policy_sdk::{
    Error, Ordered,
    testing::{Host, job, node},
};
use berth_scheduler_priority::policy::Priority;
use proptest::prelude::*;

const HOUR: u64 = 3_600_000;
/// A day in 2026.
const NOW: u64 = 1_790_000_000_000;

fn host(settings: &[(&str, &str)]) -> Host<Ordered<Priority>> {
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
    for pair in [("age-weight", "-1"), ("age-weight", "much"), ("age-weight", "100001"), ("age", "1")] {
        let refused = Host::<Ordered<Priority>>::new(&[pair]).err();
        assert!(matches!(refused, Some(Error::BadSettings(_))), "{pair:?}");
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
