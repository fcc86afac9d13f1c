//! GO-Docker's own command line in front of Berth.

use std::path::PathBuf;

use berth_api::Submit;
use berth_testbed::{IMAGE_PLAIN, godocker_commands};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::harness::{
    Containers, Said, eventually, free_port, in_container, is_over, is_root, over_tcp, said, sh,
};

/// A site whose users have that command line, and its administrator, who has logged in.
struct Site {
    containers: Containers,
    commands: PathBuf,
    port: u16,
    token: String,
    /// Who the administrator is.
    user: String,
}

impl Site {
    async fn start() -> Self {
        let commands = godocker_commands();
        let port = free_port();
        let containers = Containers::with(|setup| {
            setup.server = format!("listen = [\"127.0.0.1:{port}\"]\ngodocker = true\n");
            // `godjob` has no way to give a time limit, and a quota of time needs one.
            setup.jobs = "default-time = \"10m\"\n".into();
            setup.executors += &format!(
                "labels = {{ disk = \"ssd\" }}\n[executors.docker.images]\noffered = [{IMAGE_PLAIN:?}]\n"
            );
            setup.more += "[auth.settings.volumes.data]\npath = \"/usr\"\n";
        })
        .await;
        let made = containers.berth.json(["token", "create", "--scope", "admin", "god"]).await;
        let token = made["token"].as_str().unwrap().to_owned();
        let user = containers.berth.client().info().await.unwrap().user;
        let site = Self { containers, commands, port, token, user };
        let server = format!("http://127.0.0.1:{port}");
        site.god("godlogin", &["-l", &site.user, "-a", &site.token, "-s", &server]).await.ok();
        site
    }

    /// Runs one of its programs.
    async fn god(&self, program: &str, args: &[&str]) -> Said {
        said(self.command(program, args)).await
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(self.commands.join(program));
        // Its tables are as wide as the terminal.
        command.args(args).env("HOME", self.containers.berth.path("home")).env("COLUMNS", "300");
        command.env("PYTHONUTF8", "1").current_dir(self.containers.berth.path("."));
        command
    }

    /// Its words, when it has succeeded, as far as its exit code tells.
    async fn says(&self, program: &str, args: &[&str]) -> String {
        self.god(program, args).await.ok()
    }

    /// Has `godjob create` make a task; its number.
    async fn create(&self, script: &str, more: &[&str]) -> u64 {
        let args = ["create", "-n", "job", "-i", IMAGE_PLAIN, "--cmd", script];
        let root: &[&str] = if is_root() { &["--root"] } else { &[] };
        let words = self.says("godjob", &[&args, root, more].concat()).await;
        let id = words.trim().rsplit(' ').next().and_then(|id| id.parse().ok());
        id.unwrap_or_else(|| panic!("no number: {words}"))
    }

    /// Asks as it does, for what its programs cannot show.
    async fn ask(&self, method: &str, path: &str, body: &str) -> Value {
        let answer = over_tcp(self.port, method, &format!("/api/1.0{path}"), Some(&self.token), body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }
}

#[tokio::test]
#[ignore = "needs godocker_CLI and a Docker Engine"]
async fn its_users_log_in_and_see_what_there_is() {
    let site = Site::start().await;
    let wrong = site.god("godlogin", &["-l", "eve", "-a", &site.token, "-s", "http://127.0.0.1:1"]).await;
    assert_ne!(wrong.code, 0, "nobody is there");
    let server = format!("http://127.0.0.1:{}", site.port);
    let wrong = site.god("godlogin", &["-l", "eve", "-a", &site.token, "-s", &server]).await;
    assert!(wrong.out.contains("Unauthorized"), "a token of somebody else: {wrong:?}");
    assert!(site.says("godimage", &["list"]).await.contains(IMAGE_PLAIN));
    let shown = site.says("goduser", &["show"]).await;
    assert!(shown.contains(&site.user) && shown.contains("True"), "{shown}");
    assert!(!shown.contains(&site.token), "no key is told");
    let config = site.ask("GET", "/config", "").await;
    let disk = json!({"name": "disk", "value": ["ssd"]});
    assert!(config["constraints"].as_array().unwrap().contains(&disk), "{config}");
}

#[tokio::test]
#[ignore = "needs godocker_CLI and a Docker Engine"]
async fn its_users_create_tasks_and_fetch_what_they_write() {
    let site = Site::start().await;
    let berth = &site.containers.berth;
    let script = "echo task $GODOCKER_JID of $HOME; mkdir sub; echo deep > sub/file; ls /mnt/data >/dev/null && echo seen";
    let more = [
        "-v",
        "data",
        "-l",
        "disk==ssd",
        "-t",
        "a,b",
        "-d",
        "words",
        "-c",
        "2",
        "-r",
        "1",
        "--env",
        "HOME",
        "--wait",
    ];
    let id = site.create(script, &more).await;
    let job = berth.succeeds(id).await;
    assert_eq!((job.cpu_millis, job.memory_bytes), (2000, 1 << 30));
    assert_eq!(berth.job(id).await.spec.constraints["disk"], "ssd");
    let shown = site.says("godjob", &["show", &id.to_string()]).await;
    for word in ["words", "a,b", "over", IMAGE_PLAIN, "data"] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    let over = site.says("godjob", &["list", "over"]).await;
    assert!(over.contains(IMAGE_PLAIN) && over.contains("success"), "{over}");
    assert!(
        site.says("godjob", &["list", "over", "no such name"]).await.lines().count() < over.lines().count()
    );
    assert!(site.says("godjob", &["search", "^jo.$"]).await.contains("success"));
    let files = site.says("godfile", &["list", &id.to_string()]).await;
    assert!(files.contains("god.log") && files.contains("sub") && files.contains("dir"), "{files}");
    let below = site.god("godfile", &["list", &id.to_string(), "sub"]).await;
    assert!(below.out.contains("file"), "{below:?}");
    site.says("godfile", &["download", &id.to_string(), "god.log"]).await;
    let log = std::fs::read_to_string(berth.path(&format!("god_{id}.log"))).unwrap();
    assert_eq!(log, format!("task {id} of {}\nseen\n", berth.path("home").display()));
    site.says("godfile", &["download", &id.to_string(), "sub/file"]).await;
    assert_eq!(std::fs::read_to_string(berth.path("file")).unwrap(), "deep\n");
    let unset = ["create", "-n", "n", "-i", IMAGE_PLAIN, "--cmd", "echo $NOT_SET", "--env", "NOT_SET"];
    assert!(site.god("godjob", &unset).await.out.contains("not defined"));
    assert_eq!(berth.all_jobs().await.len(), 1, "nothing was sent");
    let outside = site.god("godfile", &["download", &id.to_string(), "%2e%2e/%2e%2e/berth.toml"]).await;
    assert!(outside.out.contains("Forbidden"), "{outside:?}");
}

#[tokio::test]
#[ignore = "needs godocker_CLI and a Docker Engine"]
async fn its_users_run_arrays_and_tasks_that_wait_for_others() {
    let site = Site::start().await;
    let berth = &site.containers.berth;
    let array = site.create("echo $GOGOCKER_TASK_ID; test $GOGOCKER_TASK_ID != 3", &["-a", "1:3:2"]).await;
    let after = site.create("true", &["--parent", &array.to_string()]).await;
    assert_eq!(after, array + 3, "the array has its number and two behind it");
    assert_eq!(berth.end_of(array).await.state, "failed");
    // However the others ended.
    berth.succeeds(after).await;
    let document = site.ask("GET", &format!("/task/{array}"), "").await;
    assert_eq!(document["requirements"]["array"]["tasks"], json!([array + 1, array + 2]));
    let task = site.ask("GET", &format!("/task/{}", array + 2), "").await;
    assert_eq!((&task["parent_task_id"], &task["status"]["exitcode"]), (&json!(array), &json!(1)));
    let shown = site.says("godjob", &["show", &after.to_string()]).await;
    assert!(shown.contains("job parents") && shown.contains(&array.to_string()), "{shown}");
    let refused =
        site.god("godjob", &["create", "-n", "n", "-i", IMAGE_PLAIN, "--cmd", "true", "-c", "-1"]).await;
    assert!(refused.out.contains("requirements.cpu"), "{refused:?}");
}

#[tokio::test]
#[ignore = "needs godocker_CLI and a Docker Engine"]
async fn its_users_suspend_resume_and_kill() {
    let site = Site::start().await;
    let berth = &site.containers.berth;
    let id = site.create("exec sleep 600", &["-t", "one"]).await;
    let other = site.create("exec sleep 600", &["-t", "two"]).await;
    let text = id.to_string();
    berth.wait_for(id, "running").await;
    berth.wait_for(other, "running").await;
    assert!(site.says("godjob", &["list", "active"]).await.contains(IMAGE_PLAIN));
    assert!(site.says("godjob", &["suspend", &text]).await.contains("now suspended"));
    berth.wait_for(id, "suspended").await;
    assert!(site.says("godjob", &["list", "activeall", "^job$"]).await.contains("suspended"));
    assert!(site.says("godjob", &["resume", &text]).await.contains("now resumed"));
    berth.wait_for(id, "running").await;
    site.says("godjob", &["kill", &text]).await;
    assert_eq!(berth.end_of(id).await.state, "killed");
    assert!(site.says("godjob", &["list", "overall"]).await.contains("warning"), "137 is its warning");
    site.says("godjob", &["killall", "--tag", "two"]).await;
    assert_eq!(berth.end_of(other).await.state, "killed");
    let folder = PathBuf::from(berth.job(id).await.directory);
    assert!(folder.exists());
    let purged = site.god("godjob", &["archive", "-i", &text, "--purge"]).await;
    assert!(purged.out.contains("Forbidden") && folder.exists(), "{purged:?}");
    assert!(site.says("godjob", &["archive", "-i", &text]).await.contains("archived."));
    assert!(!folder.exists());
    let waits = berth.submit_job(Submit { hold: true, ..in_container(IMAGE_PLAIN, sh("true")) }).await;
    let update = ["update", "-i", &waits.to_string(), "-r", "cpu", "-v", "3"];
    site.says("godjob", &update).await;
    assert_eq!(berth.job(waits).await.row.cpu_millis, 3000);
}

#[tokio::test]
#[ignore = "needs godocker_CLI and a Docker Engine"]
async fn a_list_of_theirs_is_sent_bit_by_bit() {
    let site = Site::start().await;
    let berth = &site.containers.berth;
    let script = berth.write("task.sh", "#!/bin/sh\nexec sleep 600\n").display().to_string();
    let root: &[&str] = if is_root() { &["--root"] } else { &[] };
    for name in ["one", "two", "three"] {
        let add = ["add", "--batch", "b", "-n", name, "-i", IMAGE_PLAIN, "-s", &script];
        site.says("godbatch", &[add.as_slice(), root].concat()).await;
    }
    let play = site.command("godbatch", &["play", "--batch", "b", "--parallel", "2"]);
    let playing = tokio::spawn(said(play));
    let sent = async |most_active: usize| {
        let jobs = berth.all_jobs().await;
        let active = jobs.iter().filter(|job| !is_over(&job.state)).count();
        assert!(active <= most_active, "more than two at a time: {jobs:?}");
        jobs
    };
    eventually("two are sent", async || sent(2).await.len() == 2).await;
    let first = sent(2).await.iter().map(|job| job.id).min().unwrap();
    site.says("godjob", &["kill", &first.to_string()]).await;
    eventually("the third follows", async || sent(2).await.len() == 3).await;
    let played = playing.await.unwrap().ok();
    assert!(played.contains("Completed!"), "{played}");
    let shown = site.says("godbatch", &["show"]).await;
    for job in sent(2).await {
        assert!(shown.contains(&job.id.to_string()), "{shown}");
        assert!(berth.job(job.id).await.spec.tags.contains(&"batch:b".to_owned()));
    }
    site.says("godbatch", &["clean"]).await;
    assert!(!site.says("godbatch", &["show"]).await.contains("three"));
    site.says("godjob", &["killall", "--tag", "batch:b"]).await;
    eventually("all are over", async || sent(2).await.iter().all(|job| is_over(&job.state))).await;
}

#[tokio::test]
#[ignore = "needs godocker_CLI and a Docker Engine"]
async fn its_administrators_look_after_users_and_projects() {
    let site = Site::start().await;
    let berth = &site.containers.berth;
    let quotas = ["-c", "8", "-r", "16", "-t", "3600", "-p", "70"];
    let create = ["create", "-n", "proj", "-d", "words", "-m", &site.user];
    site.says("godproject", &[create.as_slice(), &quotas].concat()).await;
    let set = berth.client().account("project", "proj").await.unwrap().settings;
    assert_eq!((set.about.as_str(), set.priority, &set.members), ("words", 70, &vec![site.user.clone()]));
    assert_eq!(berth_model::parse_bytes(&set.limits["memory"]), Ok(16 << 30));
    assert_eq!(
        berth_model::parse_duration(&set.limits["wall-time"]),
        Ok(std::time::Duration::from_secs(3600))
    );
    site.says("godproject", &["addmember", "proj", "bob"]).await;
    site.says("godproject", &["deletemember", "proj", &site.user]).await;
    site.says("godproject", &["addmember", "proj", &site.user]).await;
    let members = berth.client().account("project", "proj").await.unwrap().settings.members;
    assert_eq!(members.len(), 2, "{members:?}");
    for list in ["list", "listall"] {
        assert!(site.says("godproject", &[list]).await.contains("proj"), "{list}");
    }
    site.says("godproject", &["update", "proj", "-d", "more words", "-c", "0"]).await;
    let set = berth.client().account("project", "proj").await.unwrap().settings;
    assert_eq!((set.about.as_str(), set.limits.get("cpus"), set.priority), ("more words", None, 70));
    assert!(site.god("godproject", &["show", "proj"]).await.out.contains("bob"));
    let id = site.create("true", &["-p", "proj"]).await;
    assert_eq!(berth.succeeds(id).await.project, "proj");
    site.says("goduser", &["update", &site.user, "-c", "8", "-p", "70"]).await;
    let set = berth.client().account("user", &site.user).await.unwrap().settings;
    assert_eq!((set.priority, set.limits["cpus"].as_str(), set.limits.len()), (70, "8", 1));
    assert!(site.says("goduser", &["list"]).await.contains(&site.user));
    let volume = ["volume", "proj", "--add", "-n", "v", "-p", "/"];
    site.god("godproject", &volume).await;
    let of_project = || async { berth.client().account("project", "proj").await.unwrap().settings.volumes };
    assert!(of_project().await.is_empty(), "nobody gets the whole disk");
    site.god("godproject", &["volume", "proj", "--add", "-n", "v", "-p", "/srv/v", "-m", "rw"]).await;
    assert_eq!(of_project().await["v"].path, "/srv/v");
    assert!(site.god("goduser", &["remove", "--force", "bob"]).await.out.contains("Forbidden"));
    site.says("godproject", &["delete", "proj"]).await;
    assert_eq!(berth.client().account("project", "proj").await.unwrap().version, 0);
}
