//! The orders of `priority` against their formulas, natively and as the component that ships.

#![allow(clippy::panic)] // What goes wrong here is to fail the test.

use std::path::Path;

use berth_engine::PendingTold;
use berth_policy_tests::{
    checked::Checked,
    cluster::{self, BEGIN},
    order::ByNumber,
    planners::{self, Guest, Native},
    workloads::workload,
};
use berth_scheduler_priority::policy::Priority;
use proptest::prelude::*;

/// How urgent a job is by the formula of this name at an instant: less is sooner.
fn number(order: &str, job: &PendingTold, now: u64) -> f64 {
    let n = (job.needs.cpu_millis as f64 / 1000.0).ceil().max(1.0);
    // Nobody said: seven seconds, by the settings below.
    let r = job.time_limit_ms.unwrap_or(7000) as f64 / 1000.0;
    let w = (now - job.submitted.0) as f64 / 1000.0;
    let s = (job.submitted.0 - BEGIN) as f64 / 1000.0;
    match order {
        "priority" => -f64::from(job.priority),
        "sjf" => r,
        "wfp3" => -(w / r) * (w / r) * (w / r) * n,
        "unicep" => -(w / r) / if n > 1.0 { n.log2() } else { (1.0_f64 + 1e-15).log2() },
        "f1" => {
            let s = if s > 0.0 { s } else { 0.1 };
            // In millionths, like the policy: a logarithm may be rounded otherwise on another machine.
            ((r.log10() * n + 870.0 * s.log10()) * 1e6).round()
        }
        other => panic!("no formula for {other}"),
    }
}

fn settings(order: &'static str) -> Vec<(&'static str, &'static str)> {
    let mut settings = vec![("order", order)];
    if order != "priority" {
        settings.push(("default-time-limit", "7s"));
    }
    if order == "f1" {
        // When the cluster of these tests begins.
        settings.push(("f1-origin", "1000"));
    }
    settings
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn jobs_start_in_the_order_of_the_formula(workload in workload()) {
        for order in ["priority", "sjf", "wfp3", "unicep", "f1"] {
            let model = ByNumber(|job: &PendingTold, now| number(order, job, now));
            let mut policy = Checked::new(Native::<Priority>::new(&settings(order)), model);
            cluster::play(&workload.0, &workload.1, &mut policy);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn the_component_orders_them_likewise(workload in workload()) {
        let host = planners::host(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled-policies"));
        for order in ["priority", "sjf", "wfp3", "unicep", "f1"] {
            let model = ByNumber(|job: &PendingTold, now| number(order, job, now));
            let mut policy = Checked::new(Guest::new(&host, "priority", &settings(order)), model);
            cluster::play(&workload.0, &workload.1, &mut policy);
        }
    }
}
