//! Scripts with their `#BERTH` lines, and job files.

use crate::harness::{Berth, said_with};

const SCRIPT: &str = "#!/bin/sh
# A job for the cluster.
#BERTH --name from-the-script --cpus 2
#BERTH --memory 64M --env WHO=world

echo hello $WHO from $BERTH_JOB_NAME
echo $1 $2
";

#[tokio::test]
async fn lines_at_the_top_of_a_script_are_options() {
    let berth = Berth::start().await;
    let path = berth.write("job.sh", SCRIPT);
    berth.cli(["submit", path.to_str().unwrap(), "one", "--two"]).await.ok();
    let row = berth.succeeds(1).await;
    assert_eq!((row.name.as_str(), row.cpu_millis, row.memory_bytes), ("from-the-script", 2000, 64 << 20));
    assert_eq!(berth.log(1).await, "hello world from from-the-script\none --two\n");
}

#[tokio::test]
async fn options_on_the_command_line_win_over_the_scripts() {
    let berth = Berth::start().await;
    let path = berth.write("job.sh", SCRIPT);
    let args = ["submit", "--name", "mine", "-e", "WHO=you", path.to_str().unwrap()];
    berth.cli(args).await.ok();
    let row = berth.succeeds(1).await;
    assert_eq!((row.name.as_str(), row.cpu_millis), ("mine", 2000));
    assert!(berth.log(1).await.starts_with("hello you from mine\n"));
}

#[tokio::test]
async fn a_script_comes_from_standard_input_too() {
    let berth = Berth::start().await;
    let said = said_with(berth.command(["run", "-"]), SCRIPT.as_bytes()).await;
    assert!(said.ok().starts_with("hello world from from-the-script\n"));
}

#[tokio::test]
async fn a_script_is_run_by_what_its_first_line_names() {
    let berth = Berth::start().await;
    let path = berth.write("job.awk", "#!/usr/bin/awk -f\nBEGIN { print 6 * 7 }\n");
    assert_eq!(berth.cli(["run", path.to_str().unwrap()]).await.ok(), "42\n");
    let path = berth.write("plain", "echo no first line\n");
    assert_eq!(berth.cli(["run", path.to_str().unwrap()]).await.ok(), "no first line\n");
}

#[tokio::test]
async fn a_late_line_does_not_count_and_is_warned_of() {
    let berth = Berth::start().await;
    let path = berth.write("job.sh", "echo first\n#BERTH --name late\n");
    let said = berth.cli(["submit", path.to_str().unwrap()]).await;
    assert!(said.err.contains("job.sh:2") && said.err.contains("does not count"), "{said:?}");
    said.ok();
    assert_eq!(berth.succeeds(1).await.name, "job.sh");
}

#[tokio::test]
async fn job_files_in_toml_and_json_say_the_same() {
    let berth = Berth::start().await;
    let toml =
        berth.write("job.toml", "name = \"n\"\ncpus = \"0.5\"\n[command]\nargv = [\"echo\", \"hi\"]\n");
    let json =
        berth.write("job.json", r#"{"name": "n", "cpus": "0.5", "command": {"argv": ["echo", "hi"]}}"#);
    for (job, file) in [(1, toml), (2, json)] {
        berth.cli(["submit", "-f", file.to_str().unwrap()]).await.ok();
        let row = berth.succeeds(job).await;
        assert_eq!((row.name.as_str(), row.cpu_millis), ("n", 500));
        assert_eq!(berth.log(job).await, "hi\n");
    }
}
