//! First come, first served.

use berth_policy_sdk::{
    Ordered,
    testing::{Host, job, node},
};
use berth_scheduler_fifo::policy::Fifo;

fn host(cpu_millis: u64) -> Host<Ordered<Fifo>> {
    let mut host = Host::new(&[]).expect("fifo needs no settings");
    host.nodes([node(1, cpu_millis, 0, 0)]);
    host
}

#[test]
fn who_became_eligible_first_starts_first_and_then_the_lower_number() {
    let mut host = host(0);
    host.submit([job(1).submitted(5), job(4).submitted(3), job(2).submitted(1).eligible(9)]);
    host.submit([job(3).submitted(3)]);
    assert_eq!(host.turn(10).unwrap().jobs(), [3, 4, 1, 2]);
}

#[test]
fn a_priority_changes_nothing() {
    let mut host = host(0);
    host.submit([job(1), job(2).priority(100)]);
    assert_eq!(host.turn(0).unwrap().jobs(), [1, 2]);
}

#[test]
fn a_hundred_jobs_on_two_cores_all_run_in_order() {
    let mut host = host(2000);
    host.submit((1..=100).rev().map(|id| job(id).cpu(1000)));
    let mut order = Vec::new();
    while order.len() < 100 {
        let started = host.turn(0).unwrap();
        assert_eq!(started.running.len(), 2);
        order.extend(started.jobs());
        host.end(started.jobs());
    }
    assert_eq!(order, (1..=100).collect::<Vec<_>>());
    assert_eq!(host.waiting().count(), 0);
}
