//! The fake through the conformance kit, in memory and from its state file.

mod fixture;

use berth_executor_api::conformance::{Outcome, run};

use crate::fixture::{Fake, Fault};

#[tokio::test(start_paused = true)]
async fn the_fake_conforms() {
    let report = run(&Fake::in_memory(Fault::None)).await;
    report.assert_passed();
    let missing: Vec<_> =
        report.cases.iter().filter(|case| matches!(case.outcome, Outcome::NotSupported(_))).collect();
    assert!(missing.is_empty(), "{report}");
}

#[tokio::test]
async fn the_fake_conforms_when_its_process_dies() {
    let folder = tempfile::tempdir().unwrap();
    run(&Fake::in_file(&folder.path().join("fake.state"))).await.assert_passed();
}
