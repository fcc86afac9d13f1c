//! Executors from outside of this tree, in Rust and in C: built as their authors would, loaded by path, and judged by
//! the conformance kit across the border.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use berth_executor_api::{
    Identity, Launch, Resources, SharedExecutor,
    abi::Settings,
    conformance::{Fixture, Report, Site, run},
};
use berth_executor_host::ForeignExecutor;
use rustix::process::{getegid, geteuid};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The executor of `examples/executor`, built into a folder of its own beside those of this workspace.
fn in_rust() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let target = test.ancestors().nth(3).unwrap().join("examples-executor");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--quiet", "--locked", "--manifest-path"])
        .arg(examples().join("executor/Cargo.toml"));
    // What cargo has set for this test is not meant for another workspace.
    cargo.env("CARGO_TARGET_DIR", &target).env_remove("CARGO_MANIFEST_DIR");
    said(&mut cargo);
    target.join("debug/libberth_executor_detached.so")
}

/// The executor of `examples/executor-c`.
fn in_c(folder: &Path) -> PathBuf {
    let library = folder.join("libdetached_c.so");
    let flags = said(Command::new("pkg-config").args(["--cflags", "--libs", "libcjson"]));
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&library);
    cc.arg("-I").arg(examples().join("../plugin-api/executor/include"));
    cc.arg(examples().join("executor-c/detached.c")).args(flags.split_whitespace()).arg("-lpthread");
    said(&mut cc);
    std::fs::set_permissions(&library, std::fs::Permissions::from_mode(0o755)).unwrap();
    library
}

struct Foreign {
    folder: tempfile::TempDir,
    library: PathBuf,
}

impl Foreign {
    async fn load(&self) -> SharedExecutor {
        let state = self.folder.path().join("state");
        let settings = serde_json::json!({ "cpus": 64 });
        let settings = Settings { cluster: "kit".into(), name: "theirs".into(), state, settings };
        let loaded = ForeignExecutor::load(&self.library, &settings, Duration::from_secs(30)).await;
        Arc::new(loaded.unwrap_or_else(|error| panic!("{error}")))
    }
}

#[async_trait]
impl Fixture for Foreign {
    async fn executor(&self) -> SharedExecutor {
        self.load().await
    }

    async fn crash(&self) {}

    async fn restart(&self) -> SharedExecutor {
        self.load().await
    }

    fn site(&self) -> Site {
        let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
        let identity =
            Identity { user: "me".into(), uid, gid, groups: vec![], home: None, email: None, roles: vec![] };
        Site {
            cluster: "kit".into(),
            identity,
            directory: self.folder.path().join("jobs").to_str().unwrap().into(),
            image: None,
            resources: Resources { cpu_millis: 10, ..Resources::default() },
        }
    }

    fn spoil(&self, launch: &mut Launch) -> bool {
        launch.directory = "not/absolute".into();
        true
    }
}

async fn judged(library: impl FnOnce(&Path) -> PathBuf) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let library = library(folder.path());
    let report = run(&Foreign { folder, library }).await;
    println!("{report}");
    report
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "builds a workspace of its own"]
async fn an_executor_of_another_workspace_conforms() {
    judged(|_| in_rust()).await.assert_passed();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs pkg-config and libcjson-dev"]
async fn an_executor_in_c_conforms() {
    judged(in_c).await.assert_passed();
}
