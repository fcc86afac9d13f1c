//! Images, with a registry that wants a password.

use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use berth_docker_engine::RegistryLogin;
use berth_executor_api::{AttemptState, Executor};
use berth_executor_docker::{DockerConfig, Pull};
use berth_testbed::{IMAGE_PLAIN, Registry, registry};

use crate::support::{Berth, exit_of, folder, sh};

async fn a_registry() -> Registry {
    tokio::task::spawn_blocking(|| registry(None)).await.unwrap()
}

fn secret(folder: &Path, text: &str) -> PathBuf {
    let file = folder.join("password");
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    file
}

fn login(config: &mut DockerConfig, registry: &Registry, password_file: PathBuf) {
    let login = RegistryLogin { username: registry.username.clone(), password_file };
    config.images.registries.logins = BTreeMap::from([(registry.address.clone(), login)]);
}

/// The engine is as it was.
async fn untag(berth: &Berth, image: &str) {
    let engine = berth.engine.clone();
    let image = image.to_owned();
    let _ = tokio::task::spawn_blocking(move || engine.try_docker(&["rmi", &image])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn an_image_is_pulled_once_for_all_who_wait_and_told() {
    let (registry, secrets) = (a_registry().await, folder());
    let password = secret(secrets.path(), &registry.password);
    let berth = Berth::with(|config| login(config, &registry, password)).await;
    let jobs: Vec<_> = (0..6)
        .map(|_| berth.job_with(sh("true"), |spec| spec.image = Some(registry.image.clone())))
        .collect();
    berth.executor().launch(&jobs).await.unwrap();
    for job in &jobs {
        let report = berth.ended(job).await;
        assert_eq!(exit_of(&report).code, Some(0), "{report:?}");
        let message = report.message.unwrap();
        assert!(message.contains(&registry.image) && message.contains("@sha256:"), "{message}");
        let pulling = berth.told(job).into_iter().any(|report| {
            report.state == AttemptState::Starting
                && report.message.is_some_and(|message| message.contains("pulling image"))
        });
        assert!(pulling, "{:?}", berth.told(job));
    }
    let history = std::fs::read_to_string(berth.folder().join("state/images.json"));
    // Written now and then, and never with a password.
    assert!(!history.unwrap_or_default().contains(&registry.password));
    untag(&berth, &registry.image).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn a_registry_that_refuses_is_believed_and_told_without_the_password() {
    let (registry, secrets) = (a_registry().await, folder());
    let wrong = secret(secrets.path(), "not-the-pass~word?>");
    let berth = Berth::with(|config| login(config, &registry, wrong)).await;
    let job = berth.sh_with("true", |spec| spec.image = Some(registry.image.clone())).await;
    let report = berth.ended(&job).await;
    let reason = exit_of(&report).could_not_launch.unwrap();
    assert!(reason.contains(&registry.image), "{reason}");
    assert!(!format!("{:?}", berth.reports()).contains("not-the-pass"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn an_image_that_a_registry_does_not_have_fails_the_job() {
    let (registry, secrets) = (a_registry().await, folder());
    let password = secret(secrets.path(), &registry.password);
    let berth = Berth::with(|config| login(config, &registry, password)).await;
    let image = format!("{}/no/such:1", registry.address);
    let job = berth.sh_with("true", |spec| spec.image = Some(image.clone())).await;
    let reason = berth.exit(&job).await.could_not_launch.unwrap();
    assert!(reason.contains("manifest unknown") || reason.contains("not found"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn a_registry_that_is_away_gives_jobs_back_and_is_left_alone_for_a_while() {
    let berth = Berth::with(|config| config.images.cool_down = Duration::from_secs(3600)).await;
    let image = "127.0.0.1:1/away/image:1";
    for _ in 0..2 {
        let job = berth.sh_with("true", |spec| spec.image = Some(image.into())).await;
        let report = berth.report(&job, "given back", |state| *state == AttemptState::NoRoom).await;
        assert!(report.message.as_ref().unwrap().contains("127.0.0.1:1"), "{report:?}");
    }
    let pulls = |report: &berth_executor_api::Report| {
        matches!(report, berth_executor_api::Report::Attempt(report)
            if report.message.as_ref().is_some_and(|message| message.starts_with("pulling image")))
    };
    assert_eq!(berth.reports().iter().filter(|report| pulls(report)).count(), 1, "asked once");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn without_pulling_only_what_is_there_is_used() {
    let berth = Berth::with(|config| config.images.pull = Pull::Never).await;
    let job = berth.sh_with("true", |spec| spec.image = Some("127.0.0.1:1/away/image:1".into())).await;
    assert!(berth.exit(&job).await.could_not_launch.unwrap().contains("none is pulled"));
    let job = berth.sh("true").await;
    assert_eq!(berth.exit(&job).await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn what_is_there_has_to_do_where_it_cannot_be_renewed() {
    let berth = Berth::with(|config| config.images.pull = Pull::Always).await;
    let name = "127.0.0.1:1/away/plain:1";
    berth.docker(&["tag", IMAGE_PLAIN, name]).await;
    let job = berth.sh_with("true", |spec| spec.image = Some(name.into())).await;
    let report = berth.ended(&job).await;
    untag(&berth, name).await;
    assert_eq!(exit_of(&report).code, Some(0), "{report:?}");
    assert!(report.message.unwrap().contains("asked in vain"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn a_private_registry_stands_before_every_name_and_the_users_own_is_told() {
    let (registry, secrets) = (a_registry().await, folder());
    let password = secret(secrets.path(), &registry.password);
    let berth = Berth::with(|config| {
        login(config, &registry, password);
        config.images.rules.prefix = Some(format!("{}/berth", registry.address).parse().unwrap());
    })
    .await;
    let job = berth.sh_with("true", |spec| spec.image = Some("plain:1".into())).await;
    let report = berth.ended(&job).await;
    assert_eq!(exit_of(&report).code, Some(0), "{report:?}");
    assert!(report.message.unwrap().starts_with("image plain:1 was"));
    assert_eq!(berth.inspect(&job, "{{.Config.Image}}").await, registry.image);
    untag(&berth, &registry.image).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn what_berth_pulled_goes_when_it_takes_too_much_room_and_nothing_else() {
    let (registry, secrets) = (a_registry().await, folder());
    let password = secret(secrets.path(), &registry.password);
    let mut berth = Berth::with(|config| {
        login(config, &registry, password);
        config.images.cache_bytes = Some(1);
    })
    .await;
    // Whatever else runs on this engine would keep contents that it shares with others.
    let image = berth.image_of_its_own(&registry, &secrets.path().join("client")).await;
    let job = berth.sh_with("sleep 1", |spec| spec.image = Some(image.clone())).await;
    assert_eq!(berth.exit(&job).await.code, Some(0));
    berth.executor().remove(std::slice::from_ref(&job.attempt)).await.unwrap();
    let there = async |berth: &Berth| !berth.docker(&["images", "-q", &image]).await.is_empty();
    for _ in 0..1200 {
        if !there(&berth).await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!there(&berth).await, "it stays");
    assert_ne!(berth.docker(&["images", "-q", IMAGE_PLAIN]).await, "", "it was there before Berth");
    berth.crash().await;
    berth.start().await;
    let job = berth.sh("true").await;
    assert_eq!(berth.exit(&job).await.code, Some(0));
}
