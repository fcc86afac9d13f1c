//! Executors from shared libraries, through the daemon and the command line.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::harness::{Berth, eventually};

/// The executor in C that stands among the examples.
fn in_c(folder: &Path) -> PathBuf {
    let library = folder.join("libdetached_c.so");
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let flags = Command::new("pkg-config").args(["--cflags", "--libs", "libcjson"]).output().unwrap();
    let flags = String::from_utf8(flags.stdout).unwrap();
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-o"]).arg(&library).arg("-I").arg(top.join("plugin-api/executor/include"));
    cc.arg(top.join("examples/executor-c/detached.c")).args(flags.split_whitespace()).arg("-lpthread");
    assert!(cc.status().unwrap().success());
    std::fs::set_permissions(&library, std::fs::Permissions::from_mode(0o755)).unwrap();
    library
}

/// A Berth with such an executor beside that of this machine.
async fn with_library(berth: impl FnOnce(&Path) -> PathBuf) -> (tempfile::TempDir, Berth) {
    let folder = tempfile::tempdir().unwrap();
    let library = berth(folder.path());
    let site = Berth::with(|setup| {
        setup.executors = format!(
            "[executors.local]\ncpus = 4\nmemory = \"4G\"\n\
             [executors.theirs]\nkind = \"library\"\npath = {library:?}\nsettings = {{ cpus = 2 }}\n"
        );
        // The tests' own user may be root.
        setup.more = "[auth]\npolicy = \"local\"\n[auth.settings]\nallow-root-jobs = true\n".into();
    })
    .await;
    (folder, site)
}

#[tokio::test]
#[ignore = "needs pkg-config and libcjson-dev"]
async fn a_job_runs_on_an_executor_from_a_library_and_outlives_a_killed_berth_there() {
    let (_folder, mut site) = with_library(in_c).await;
    let go = site.path("go");
    let script =
        format!("echo begun >> log; while [ ! -e {} ]; do sleep 0.05; done; echo over; exit 3", go.display());
    let job = site.cli(["submit", "--executor", "theirs", "--", "sh", "-c", &script]).await.ok();
    let job: u64 = job.trim().parse().unwrap();
    site.wait_for(job, "running").await;
    site.kill_dash_9();
    site.start_again().await;
    std::fs::write(go, "").unwrap();
    let end = site.end_of(job).await;
    assert_eq!((end.state.as_str(), end.exit_code), ("failed", Some(3)), "{end:?}");
    assert_eq!(site.log(job).await, "over\n");
    let directory = site.job(job).await.directory;
    let log = std::fs::read_to_string(Path::new(&directory).join("log")).unwrap();
    assert_eq!(log, "begun\n", "it ran once");
}

#[tokio::test]
async fn a_library_that_is_none_is_told_and_everything_else_goes_on() {
    let nonsense = |folder: &Path| {
        let library = folder.join("nonsense.so");
        std::fs::write(&library, "nonsense").unwrap();
        std::fs::set_permissions(&library, std::fs::Permissions::from_mode(0o755)).unwrap();
        library
    };
    let (_folder, site) = with_library(nonsense).await;
    let waits = site.cli(["submit", "--executor", "theirs", "--", "true"]).await.ok();
    let goes = site.submit("true").await;
    site.succeeds(goes).await;
    eventually("berth why names the library", async || {
        let why = site.cli(["why", waits.trim()]).await.ok();
        why.contains("nonsense.so cannot be used as an executor")
    })
    .await;
    assert!(site.server_log().contains("nonsense.so cannot be used as an executor"));
}
