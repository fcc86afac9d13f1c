//! A job is the same whether it comes by the command line, the API, or a TOML or JSON file.
//!
//! The rows are those of the tables by which DRMAA2 job templates become containers, with Berth's words for
//! them; what each does to a container is tested beside the Docker executor.

use berth_api::Submit;

use crate::harness::{Containers, sh};

/// A row: the template's field, the options of `berth submit`, and the same as the API takes it.
type Row = (&'static str, Vec<String>, Submit);

const SCRIPT: &str = "echo \"$GREETING\"";
/// Everybody may use every option of the executor's.
const ALL_OPTIONS: &str = "[auth.settings.extensions]\nallow = \"docker.*\"\n";

fn row(field: &'static str, options: &[&str], change: impl FnOnce(&mut Submit)) -> Row {
    let mut job = Submit { image: Some("some/image:1".into()), hold: true, ..sh(SCRIPT) };
    change(&mut job);
    let options = options.iter().map(|&option| option.to_owned()).collect();
    (field, options, job)
}

/// An extension's row: one option of the executor's.
fn extension(field: &'static str, key: &str, value: &str) -> Row {
    row(field, &["--option", &format!("{key}={value}")], |job| {
        job.options.insert(key.into(), value.into());
    })
}

/// Those of the template's fields that mean something to a container.
fn fields() -> Vec<Row> {
    let text = |text: &str| Some(text.to_owned());
    vec![
        row("JobName", &["--name", "a name"], |job| job.name = text("a name")),
        row("WorkingDirectory", &["--workdir", "/tmp"], |job| job.workdir = text("/tmp")),
        row("JobEnvironment", &["--env", "GREETING=a b=c", "--env", "EMPTY="], |job| {
            job.env = [("GREETING", "a b=c"), ("EMPTY", "")].map(|(k, v)| (k.into(), v.into())).into();
        }),
        row("StageInFiles", &["--volume", "data", "--volume", "refs:ro"], |job| {
            job.volumes = ["data", "refs:ro"].map(str::to_owned).into();
        }),
        row("OutputPath", &["--output", "o.%j"], |job| job.output = text("o.%j")),
        row("ErrorPath", &["--error", "e.%j"], |job| job.error = text("e.%j")),
        row("CandidateMachines", &["--constraint", "os=linux"], |job| {
            job.constraints = [("os".into(), "linux".into())].into();
        }),
        row("MinPhysMemory", &["--memory", "512M"], |job| job.memory = text("512M")),
        row("MinSlots", &["--cpus", "2", "--exclusive"], |job| {
            (job.cpus, job.exclusive) = (text("2"), true);
        }),
        row("Priority", &["--priority", "-3"], |job| job.priority = Some(-3)),
        row("ResourceLimits", &["--time", "1h"], |job| job.time = text("1h")),
        row("StartTime", &["--begin", "2130-01-31T09:00:00Z"], |job| {
            job.begin = text("2130-01-31T09:00:00Z");
        }),
        row("ReRunnable", &["--retry-on-node-failure", "2"], |job| job.retry_on_node_failure = Some(2)),
        row("maxParallel", &["--array", "1-9:2%3"], |job| job.array = text("1-9:2%3")),
        row("labels", &["--label", "kind=test"], |job| {
            job.labels = [("kind".into(), "test".into())].into();
        }),
        row("scratch", &["--scratch", "1G"], |job| job.scratch = text("1G")),
        row("exposedPorts", &["--port", "80,8080"], |job| job.ports = vec![80, 8080]),
        row("net", &["--network", "internal"], |job| job.network = text("internal")),
        row("gpus of the job", &["--gpus", "1"], |job| job.gpus = Some(1)),
        row("user", &["--root"], |job| job.root = true),
    ]
}

/// The template's extensions, and what other systems take beside them.
fn extensions() -> Vec<Row> {
    vec![
        extension("exposedPorts, fixed", "docker.ports", "8080:80,8081:81"),
        extension("entrypoint", "docker.entrypoint", "/bin/sh -c"),
        extension("net", "docker.net", "host"),
        extension("privileged", "docker.privileged", "true"),
        extension("restart", "docker.restart", "no"),
        extension("ipc", "docker.ipc", "host"),
        extension("uts", "docker.uts", "host"),
        extension("pid", "docker.pid", "host"),
        extension("rm", "docker.rm", "true"),
        extension("gpus", "docker.gpus", "all"),
        extension("shm-size", "docker.shm-size", "64m"),
        extension("ulimit", "docker.ulimits", "memlock=-1,stack=67108864"),
        extension("hostname", "docker.hostname", "host-1"),
        extension("runtime", "docker.runtime", "runc"),
        extension("pull", "docker.pull", "never"),
    ]
}

/// The number of the job that `berth submit` with these arguments has made.
async fn submitted(site: &Containers, args: impl IntoIterator<Item = String>) -> u64 {
    let args = std::iter::once("submit".to_owned()).chain(args);
    site.berth.cli(args).await.ok().trim().parse().unwrap()
}

#[tokio::test]
#[ignore = "needs a Docker Engine"]
async fn every_row_of_the_mapping_tables_is_one_job_by_every_door() {
    let site = Containers::with(|setup| {
        setup.jobs = "retry-on-node-failure = 2".into();
        setup.executors += "gpu-vendor = \"nvidia\"\ngpus = [\"0\"]\n";
        setup.more += "[auth.settings.volumes.data]\npath = \"/tmp\"\nmode = \"rw\"\n";
        setup.more += "[auth.settings.volumes.refs]\npath = \"/tmp\"\n";
        setup.more += ALL_OPTIONS;
    })
    .await;
    for (field, options, job) in fields().into_iter().chain(extensions()) {
        let by_api = site.berth.submit_job(job.clone()).await;
        let expected = site.berth.job(by_api).await.spec;
        let toml = site.berth.write("job.toml", toml::to_string(&job).unwrap());
        let json = site.berth.write("job.json", serde_json::to_string(&job).unwrap());
        let words = ["--hold", "--image", "some/image:1"].map(str::to_owned).into_iter().chain(options);
        let program = ["--", "/bin/sh", "-c", SCRIPT].map(str::to_owned);
        let by_options = submitted(&site, words.chain(program)).await;
        let by_toml = submitted(&site, ["--file".to_owned(), toml.display().to_string()]).await;
        let by_json = submitted(&site, ["--file".to_owned(), json.display().to_string()]).await;
        for (door, id) in [("options", by_options), ("a TOML file", by_toml), ("a JSON file", by_json)] {
            assert_eq!(site.berth.job(id).await.spec, expected, "{field} by {door}");
        }
    }
}

#[tokio::test]
#[ignore = "needs a Docker Engine"]
async fn an_option_that_cannot_be_is_refused_alike_by_every_door() {
    let site = Containers::with(|setup| setup.more += ALL_OPTIONS).await;
    for (key, value) in [("docker.restart", "always"), ("docker.ulimit", "stack=1"), ("docker.rm", "maybe")] {
        let (_, options, job) = extension("", key, value);
        let job = Submit { hold: false, ..job };
        let words = ["--image", "some/image:1"].map(str::to_owned).into_iter().chain(options);
        let program = ["--", "/bin/sh", "-c", SCRIPT].map(str::to_owned);
        let json = site.berth.write("job.json", serde_json::to_string(&job).unwrap());
        let all = [
            site.berth.submit_job(job).await,
            submitted(&site, words.chain(program)).await,
            submitted(&site, ["--file".to_owned(), json.display().to_string()]).await,
        ];
        for id in all {
            let row = site.berth.end_of(id).await;
            let cause = format!("{:?}", row.cause);
            assert!(row.state == "failed" && cause.contains(key), "{key}: {row:?}");
        }
    }
}
