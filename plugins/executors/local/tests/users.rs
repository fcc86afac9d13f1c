//! Jobs of other users, and what they may try. Only root can play these parts: for anyone else there is
//! nothing to be tried, since jobs have no rights that Berth has not.

mod support;

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
};

use berth_executor_api::{Action, Executor, Launch, LogQuery, Stream};
use futures::StreamExt;

use crate::support::{ALL, Site, change, identity, is_root, number_in};

const NOBODY: u32 = 65534;

fn of_nobody(mut launch: Launch) -> Launch {
    change(&mut launch, |spec| {
        spec.identity = identity("nobody", NOBODY, NOBODY);
        spec.identity.groups = vec![NOBODY, 60001];
    });
    launch
}

#[tokio::test]
async fn a_job_runs_as_its_user_and_no_one_else() {
    if !is_root() {
        return;
    }
    let mut site = Site::new().await;
    let script = "id -u; id -g; id -G; grep -E '^(Uid|Gid|CapEff)' /proc/self/status; umask; echo $USER $HOME; \
                  kill -9 $PPID 2>/dev/null && echo killed it; cat /etc/shadow";
    let launch = of_nobody(site.shell(1, script));
    assert_eq!(site.run(&launch).await.code, Some(1));
    let text = fs::read_to_string(&launch.stdout).unwrap();
    let expected = format!(
        "65534\n65534\n65534 60001\nUid:\t65534\t65534\t65534\t65534\nGid:\t65534\t65534\t65534\t65534\n\
         CapEff:\t0000000000000000\n0022\nnobody {}\n",
        launch.directory
    );
    assert_eq!(text, expected);
    for path in [&launch.directory, &launch.stdout, &launch.stderr] {
        assert_eq!(fs::metadata(path).unwrap().uid(), NOBODY, "{path}");
    }
    assert_eq!(fs::metadata(&launch.directory).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(site.log(&launch.attempt, ALL).await, expected);
    site.close().await;
}

#[tokio::test]
async fn a_job_runs_as_root_only_where_that_was_granted() {
    if !is_root() {
        return;
    }
    let mut site = Site::new().await;
    let mut launch = of_nobody(site.shell(1, "id -u; echo $USER"));
    change(&mut launch, |spec| spec.as_root = true);
    assert_eq!(site.run(&launch).await.code, Some(0));
    assert_eq!(fs::read_to_string(&launch.stdout).unwrap(), "0\nroot\n");
    assert_eq!(fs::metadata(&launch.directory).unwrap().uid(), 0);
    // In a directory of a user's, root writes nothing.
    let mut inside = launch.clone();
    fs::create_dir(site.path("home")).unwrap();
    std::os::unix::fs::chown(site.path("home"), Some(NOBODY), None).unwrap();
    inside.attempt = site.shell(2, "").attempt;
    inside.directory = site.path("home/2").to_str().unwrap().into();
    let exit = site.run(&inside).await;
    assert!(exit.could_not_launch.unwrap().contains("root needs a directory"));
    site.close().await;
}

#[tokio::test]
async fn a_job_cannot_have_its_files_made_where_its_user_may_not() {
    if !is_root() {
        return;
    }
    let mut site = Site::new().await;
    let mut output = of_nobody(site.shell(1, "echo mine"));
    output.stdout = site.path("in-roots-folder").to_str().unwrap().into();
    let exit = site.run(&output).await;
    assert!(exit.could_not_launch.unwrap().contains("in-roots-folder"));
    assert!(!site.path("in-roots-folder").exists());

    // A directory of one's own under a name that leads elsewhere.
    fs::create_dir(site.path("home")).unwrap();
    std::os::unix::fs::chown(site.path("home"), Some(NOBODY), None).unwrap();
    fs::create_dir(site.path("target")).unwrap();
    symlink(site.path("target"), site.path("home/link")).unwrap();
    std::os::unix::fs::lchown(site.path("home/link"), Some(NOBODY), None).unwrap();
    let mut astray = of_nobody(site.shell(2, "true"));
    astray.directory = site.path("home/link/2").to_str().unwrap().into();
    let exit = site.run(&astray).await;
    assert!(exit.could_not_launch.is_some(), "{exit:?}");
    assert_eq!(fs::read_dir(site.path("target")).unwrap().count(), 0);

    let mut others = of_nobody(site.shell(3, "true"));
    fs::create_dir_all(&others.directory).unwrap();
    let exit = site.run(&others).await;
    assert!(exit.could_not_launch.unwrap().contains("belongs to user 0"));

    let mut home = of_nobody(site.shell(4, "pwd"));
    others.directory = site.path("home/4").to_str().unwrap().into();
    home.directory.clone_from(&others.directory);
    home.stdout = format!("{}/stdout", home.directory);
    home.stderr = format!("{}/stderr", home.directory);
    assert_eq!(site.run(&home).await.code, Some(0), "in the user's own directory, as the user");
    site.close().await;
}

#[tokio::test]
async fn logs_never_show_what_the_user_could_not_read() {
    if !is_root() {
        return;
    }
    let mut site = Site::new().await;
    let secret = site.path("secret");
    fs::write(&secret, "nobody may see this").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    for (job, trick) in [
        (1, format!("rm stdout; ln -s {} stdout", secret.display())),
        (
            2,
            format!(
                "cd ..; mv 2 old 2>/dev/null; rm -f 2/stdout; cd 2; rm -f stdout; ln -s {} stdout",
                secret.display()
            ),
        ),
        (3, format!("rm stdout; ln {} stdout; mkfifo stdout", secret.display())),
        (4, "rm stdout; mkdir stdout".to_owned()),
    ] {
        let launch = of_nobody(site.shell(job, &trick));
        let attempt = site.launch(&launch).await;
        site.end(&attempt).await;
        for follow in [false, true] {
            let query = LogQuery { stream: Stream::Stdout, tail_bytes: None, follow, since: None };
            let all: Vec<_> = site.executor.logs(&attempt, query).await.unwrap().collect().await;
            assert!(matches!(&all[..], [Err(_)]), "{trick}: {all:?}");
        }
    }
    // The whole directory exchanged for a link, while it runs.
    let ready = site.path("ready");
    fs::write(&ready, "").unwrap();
    std::os::unix::fs::chown(&ready, Some(NOBODY), None).unwrap();
    let root = site.path("jobs");
    fs::create_dir_all(site.path("home")).unwrap();
    std::os::unix::fs::chown(site.path("home"), Some(NOBODY), None).unwrap();
    fs::create_dir(site.path("trap")).unwrap();
    fs::write(site.path("trap/stdout"), "nobody may see this").unwrap();
    let mut swap = of_nobody(site.shell(
        5,
        &format!(
            "cd {home}; mv 5 old; ln -s {trap} 5; echo $$ > {ready}; sleep 60",
            home = site.path("home").display(),
            trap = site.path("trap").display(),
            ready = ready.display(),
        ),
    ));
    swap.directory = site.path("home/5").to_str().unwrap().into();
    swap.stdout = format!("{}/stdout", swap.directory);
    swap.stderr = format!("{}/stderr", swap.directory);
    let attempt = site.launch(&swap).await;
    number_in(&ready).await;
    let all: Vec<_> = site.executor.logs(&attempt, ALL).await.unwrap().collect().await;
    assert!(matches!(&all[..], [Err(_)]), "{all:?}");
    site.executor.control(&attempt, Action::Terminate { grace: std::time::Duration::ZERO }).await.unwrap();
    assert!(root.exists());
    site.close().await;
}
