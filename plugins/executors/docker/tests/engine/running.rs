//! From a spec to a program that runs.

use std::os::unix::fs::MetadataExt;

use berth_executor_api::{JobFile, Mount};
use berth_testbed::{IMAGE_BARE, IMAGE_BASH, IMAGE_PLAIN, NOT_A_PROGRAM};

use crate::support::{Berth, UID, argv, folder, script};

const WHICH_SHELL: &str = "if [ -n \"$BASH_VERSION\" ]; then echo bash; else echo other; fi\n";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn a_script_without_an_interpreter_gets_bash_where_there_is_one() {
    let berth = Berth::new().await;
    for (image, shell) in [(IMAGE_BASH, "bash\n"), (IMAGE_PLAIN, "other\n")] {
        let job = berth.job_with(script(WHICH_SHELL, &[]), |spec| spec.image = Some(image.into()));
        let job = berth.taken(job).await;
        assert_eq!(berth.exit(&job).await.code, Some(0));
        assert_eq!(berth.read(&job, "stdout"), shell, "{image}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn a_script_is_run_by_the_interpreter_of_its_first_line() {
    let berth = Berth::new().await;
    let text = "#!/usr/bin/env sh\necho \"$1|$2|$#\"\nexit 5\n";
    let job = berth.taken(berth.job(script(text, &["a b", "c"]))).await;
    assert_eq!(berth.exit(&job).await.code, Some(5));
    assert_eq!(berth.read(&job, "stdout"), "a b|c|2\n");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn a_program_needs_no_shell() {
    let berth = Berth::new().await;
    let job = berth.job_with(argv(&["/bin/echo", "$HOME", "*"]), |spec| spec.image = Some(IMAGE_BARE.into()));
    let job = berth.taken(job).await;
    assert_eq!(berth.exit(&job).await.code, Some(0));
    assert_eq!(berth.read(&job, "stdout"), "$HOME *\n");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn who_and_where_it_is_are_as_asked() {
    let berth = Berth::new().await;
    let text = "id -u; id -g; id -G; hostname; pwd; echo \"$MINE\"; cat \"$BERTH_JOB_DIR/uris.txt\"";
    let job = berth
        .sh_with(text, |spec| {
            spec.env.insert("MINE".into(), "it's here".into());
            spec.workdir = Some("/tmp".into());
            spec.extensions.insert("docker.hostname".into(), "n1".into());
            spec.files =
                vec![JobFile { name: "uris.txt".into(), contents: "one\n".into(), executable: false }];
        })
        .await;
    assert_eq!(berth.exit(&job).await.code, Some(0));
    let said = berth.read(&job, "stdout");
    assert_eq!(said, "1234\n1234\n1234 4321\nn1\n/tmp\nit's here\none\n");
    for (file, mode) in [(".", 0o700), ("stdout", 0o644), ("uris.txt", 0o600)] {
        let data = std::fs::metadata(berth.file(&job, file)).unwrap();
        assert_eq!((data.uid(), data.mode() & 0o777), (UID, mode), "{file}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn root_is_root_where_that_was_granted() {
    let berth = Berth::new().await;
    let job = berth.sh_with("id -u; touch \"$BERTH_JOB_DIR/made\"", |spec| spec.as_root = true).await;
    assert_eq!(berth.exit(&job).await.code, Some(0));
    assert_eq!(berth.read(&job, "stdout"), "0\n");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn a_program_that_is_not_there_is_127_and_one_that_is_none_126() {
    let berth = Berth::new().await;
    for init in ["true", "false"] {
        for (program, code) in [("/no/such/program", 127), (NOT_A_PROGRAM, 126)] {
            let job = berth.job_with(argv(&[program]), |spec| {
                spec.extensions.insert("docker.init".into(), init.into());
            });
            let job = berth.taken(job).await;
            assert_eq!(berth.exit(&job).await.code, Some(code), "{program} with init {init}");
            assert_eq!(berth.exit_by_truth(&job).await.code, Some(code));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn volumes_are_mounted_as_they_may_be_used() {
    let berth = Berth::new().await;
    let data = folder();
    std::os::unix::fs::chown(data.path(), Some(UID), Some(UID)).unwrap();
    std::fs::write(data.path().join("file"), "in it\n").unwrap();
    let mount = |target: &str, read_only| Mount {
        name: "data".into(),
        source: data.path().to_str().unwrap().into(),
        target: target.into(),
        read_only,
    };
    let text = "cat /ro/file; touch /ro/new 2>/dev/null || echo refused; echo more > /rw/new";
    let job = berth.sh_with(text, |spec| spec.mounts = vec![mount("/ro", true), mount("/rw", false)]).await;
    assert_eq!(berth.exit(&job).await.code, Some(0));
    assert_eq!(berth.read(&job, "stdout"), "in it\nrefused\n");
    assert_eq!(std::fs::read_to_string(data.path().join("new")).unwrap(), "more\n");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn a_container_carries_its_name_and_labels_and_no_secret() {
    let berth = Berth::new().await;
    let job = berth
        .sh_with("true", |spec| {
            spec.env.insert("TOKEN".into(), "secret-7".into());
            spec.labels.insert("team".into(), "blue".into());
        })
        .await;
    berth.ended(&job).await;
    let labels = berth.inspect(&job, "{{json .Config.Labels}}").await;
    for part in [
        &format!("\"berth.cluster\":\"{}\"", berth.config.cluster),
        "\"berth.job\":\"1\"",
        "\"team\":\"blue\"",
    ] {
        assert!(labels.contains(part), "{part} in {labels}");
    }
    assert!(!labels.contains("secret-7"));
}
