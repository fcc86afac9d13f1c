//! What jobs may use and have used.

use std::time::Duration;

use berth_executor_api::{Executor, Launched, NamedGrant, Truth};

use crate::support::{Berth, LONG, sh, terminate};

const EAT: &str = "head -c 200000000 /dev/zero | tail -c 199999999 | wc -c";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn what_takes_too_much_memory_is_ended_and_says_so() {
    let berth = Berth::new().await;
    // Without the small first process: the shell itself is what the kernel has to end.
    let eat = "x=a; while :; do x=$x$x; done";
    let job = berth
        .sh_with(eat, |spec| {
            spec.resources.memory_bytes = 32 << 20;
            spec.extensions.insert("docker.init".into(), "false".into());
        })
        .await;
    let exit = berth.exit(&job).await;
    assert!(exit.out_of_memory, "{exit:?}");
    assert_eq!(exit.code, Some(137));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn a_child_that_is_killed_for_memory_does_not_fail_a_job_that_copes() {
    let berth = Berth::new().await;
    let text = format!("({EAT}) || true; exit 0");
    let job = berth.sh_with(&text, |spec| spec.resources.memory_bytes = 32 << 20).await;
    let report = berth.ended(&job).await;
    let exit = crate::support::exit_of(&report);
    assert_eq!((exit.code, exit.out_of_memory), (Some(0), false), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn a_code_that_looks_like_a_signal_is_one_only_where_one_was_sent() {
    let berth = Berth::new().await;
    let by_itself = berth.sh("exit 137").await;
    let report = berth.ended(&by_itself).await;
    let exit = crate::support::exit_of(&report);
    assert_eq!((exit.code, exit.signal), (Some(137), None));
    assert!(report.message.unwrap().contains("what signal 9 leaves"));
    let killed = berth.sh(&format!("echo up; {LONG}")).await;
    berth.wrote(&killed, "stdout", "up").await;
    // By someone else.
    berth.docker(&["kill", "-s", "KILL", killed.attempt.as_str()]).await;
    let exit = berth.exit(&killed).await;
    assert_eq!((exit.signal, exit.before_stop), (Some(9), true));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn what_was_used_is_counted_to_the_end() {
    let berth = Berth::new().await;
    let text = format!("{EAT}; i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done");
    let job = berth.sh(&text).await;
    let report = berth.ended(&job).await;
    let usage = report.usage.expect("this engine's control groups are files");
    assert!(usage.cpu_micros > 10_000, "{usage:?}");
    assert!(usage.memory_peak_bytes > 50_000_000, "{usage:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn limits_are_those_of_the_spec() {
    let berth = Berth::new().await;
    let job = berth
        .sh_with(LONG, |spec| {
            spec.resources.cpu_millis = 500;
            spec.enforce_cpu = true;
            spec.resources.memory_bytes = 64 << 20;
            spec.extensions.insert("docker.ulimits".into(), "core=0,stack=67108864".into());
            spec.extensions.insert("docker.shm-size".into(), "16M".into());
        })
        .await;
    berth.running(&job).await;
    let format = "{{.HostConfig.NanoCpus}} {{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} \
                  {{.HostConfig.PidsLimit}} {{.HostConfig.ShmSize}} {{len .HostConfig.Ulimits}}";
    let set = berth.inspect(&job, format).await;
    assert_eq!(set, "500000000 67108864 67108864 4096 16777216 2");
    berth.control(&job, terminate(Duration::ZERO)).await;
    berth.ended(&job).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn two_jobs_never_share_a_core_that_one_has_for_itself() {
    let mut berth = Berth::new().await;
    let cores: u32 = berth.docker(&["info", "-f", "{{.NCPU}}"]).await.parse().unwrap();
    let shared = berth.sh(LONG).await;
    berth.running(&shared).await;
    let exclusive = |spec: &mut berth_executor_api::LaunchSpec| {
        spec.resources.cpu_millis = 1000;
        spec.exclusive_cpus = true;
    };
    let first = berth.sh_with(LONG, exclusive).await;
    berth.running(&first).await;
    assert_eq!(berth.inspect(&first, "{{.HostConfig.CpusetCpus}}").await, "0");
    let others: Vec<String> = (1..cores).map(|core| core.to_string()).collect();
    for _ in 0..600 {
        if berth.inspect(&shared, "{{.HostConfig.CpusetCpus}}").await == others.join(",") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(berth.inspect(&shared, "{{.HostConfig.CpusetCpus}}").await, others.join(","));
    // Also for a Berth that has forgotten everything.
    berth.crash().await;
    berth.start().await;
    assert!(matches!(berth.truth(&first).await, Truth::Known(_)));
    let all = berth.job_with(sh(LONG), |spec| {
        spec.resources.cpu_millis = u64::from(cores) * 1000;
        spec.exclusive_cpus = true;
    });
    let answer = berth.launch(&all).await;
    assert!(matches!(&answer, Launched::NoRoom { words } if words.contains("are free")), "{answer:?}");
    let too_many = berth.job_with(sh(LONG), |spec| {
        spec.resources.cpu_millis = u64::from(cores + 1) * 1000;
        spec.exclusive_cpus = true;
    });
    assert!(matches!(berth.launch(&too_many).await, Launched::Refused { .. }));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn scratch_space_is_held_to_its_size_or_refused_or_said_not_to_be() {
    let strict = Berth::new().await;
    let job = strict.sh_with("true", |spec| spec.scratch_bytes = 1 << 20).await;
    let exit = strict.exit(&job).await;
    // Only some file systems have quotas.
    let refused = exit.could_not_launch.as_deref().is_some_and(|reason| reason.contains("held to its size"));
    assert!(refused || exit.code == Some(0), "{exit:?}");
    let lax = Berth::with(|config| config.scratch_unbounded = true).await;
    let text = "echo mine > \"$BERTH_SCRATCH/file\" && cat /scratch/file";
    let job = lax.sh_with(text, |spec| spec.scratch_bytes = 1 << 20).await;
    let report = lax.ended(&job).await;
    assert_eq!(crate::support::exit_of(&report).code, Some(0), "{report:?}");
    assert_eq!(lax.read(&job, "stdout"), "mine\n");
    assert!(!refused || report.message.unwrap().contains("not held"));
    lax.executor().remove(std::slice::from_ref(&job.attempt)).await.unwrap();
    let filter = format!("label=berth.cluster={}", lax.config.cluster);
    assert_eq!(lax.docker(&["volume", "ls", "-q", "--filter", &filter]).await, "");
}

/// A device file that no container has by itself, with a name that tells it from others.
struct Device(std::path::PathBuf);

impl Device {
    fn make(name: &str) -> Self {
        let path = std::path::PathBuf::from(format!("/dev/berth-test-{}-{name}", std::process::id()));
        let made = std::process::Command::new("mknod")
            .arg("-m")
            .arg("666")
            .arg(&path)
            .args(["c", "1", "5"])
            .status();
        assert!(made.unwrap().success(), "mknod of {} failed", path.display());
        Self(path)
    }

    fn path(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine, and root to make device files"]
async fn the_devices_of_a_jobs_units_are_in_its_container_and_no_others() {
    let berth = Berth::new().await;
    let (own, other) = (Device::make("own"), Device::make("other"));
    let text = format!(
        "echo $BERTH_RESOURCE_ZERO_1; head -c 3 {} | od -An -tx1 | tr -d ' '; test -e {} || echo absent",
        own.path(),
        other.path()
    );
    let mut job = berth.job(sh(&text));
    job.granted =
        vec![NamedGrant { name: "zero.1".into(), amount: 1, units: vec![4], devices: vec![own.path()] }];
    let job = berth.taken(job).await;
    assert_eq!(berth.exit(&job).await.code, Some(0));
    let said = std::fs::read_to_string(&job.stdout).unwrap();
    assert_eq!(said, "4\n000000\nabsent\n");
}
