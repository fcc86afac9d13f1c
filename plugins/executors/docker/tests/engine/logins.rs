//! Users' own logins at a registry that wants a password.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    time::Duration,
};

use berth_docker_engine::RegistryLogin;
use berth_executor_api::{Executor, Identity, Launch};
use berth_testbed::{IMAGE_PLAIN, Registry, registry};

use crate::support::{Berth, UID, exit_of, folder, sh, someone};

async fn a_registry() -> Registry {
    tokio::task::spawn_blocking(|| registry(None)).await.unwrap()
}

/// A user with a home directory of their own.
fn user(homes: &tempfile::TempDir, name: &str, uid: u32) -> Identity {
    let home = homes.path().join(name);
    fs::create_dir_all(home.join(".docker")).unwrap();
    for place in [home.clone(), home.join(".docker")] {
        chown(&place, Some(uid), Some(uid)).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o700)).unwrap();
    }
    let home = Some(home.to_str().unwrap().to_owned());
    Identity { user: name.into(), uid, gid: uid, groups: vec![], home, ..someone() }
}

fn config_of(user: &Identity) -> PathBuf {
    Path::new(user.home.as_ref().unwrap()).join(".docker/config.json")
}

/// As if the user had a file with this text.
fn stored(user: &Identity, text: &str) {
    let place = config_of(user);
    fs::write(&place, text).unwrap();
    chown(&place, Some(user.uid), Some(user.gid)).unwrap();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o600)).unwrap();
}

/// What `docker login` writes.
fn login_file(registry: &Registry, password: &str) -> String {
    let token = base64(&format!("{}:{password}", registry.username));
    format!(r#"{{"auths": {{"{}": {{"auth": "{token}"}}}}}}"#, registry.address)
}

fn base64(text: &str) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letters = |piece: &[u8]| {
        let bits =
            piece.iter().fold(0_u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - piece.len()));
        let all = (0..4).map(|place| char::from(LETTERS[(bits >> (18 - 6 * place)) as usize & 63]));
        all.take(piece.len() + 1).chain("==".chars()).take(4).collect::<String>()
    };
    text.as_bytes().chunks(3).map(letters).collect()
}

struct Scene {
    berth: Berth,
    registry: Registry,
    image: String,
    homes: tempfile::TempDir,
}

impl Scene {
    /// Berth with users' own logins, and none of the site's.
    async fn new() -> Self {
        let (registry, homes) = (a_registry().await, folder());
        let berth = Berth::with(|config| {
            config.images.registries.user_logins = true;
            config.images.cool_down = Duration::from_secs(3600);
        })
        .await;
        let image = berth.image_of_its_own(&registry, &homes.path().join("client")).await;
        Self { berth, registry, image, homes }
    }

    /// A user who is logged in.
    fn with_login(&self, name: &str, uid: u32) -> Identity {
        let user = self.without_login(name, uid);
        stored(&user, &login_file(&self.registry, &self.registry.password));
        user
    }

    fn without_login(&self, name: &str, uid: u32) -> Identity {
        user(&self.homes, name, uid)
    }

    fn job(&self, owner: &Identity, image: &str, pull: Option<&str>) -> Launch {
        self.berth.job_with(sh("true"), |spec| {
            spec.identity = owner.clone();
            spec.image = Some(image.to_owned());
            spec.extensions.extend(pull.map(|pull| ("docker.pull".to_owned(), pull.to_owned())));
        })
    }

    /// Why a job with the image could not run; `None` where it did.
    async fn refusal(&self, owner: &Identity, pull: Option<&str>) -> Option<String> {
        self.refusal_of(owner, &self.image, pull).await
    }

    async fn refusal_of(&self, owner: &Identity, image: &str, pull: Option<&str>) -> Option<String> {
        let job = self.job(owner, image, pull);
        self.berth.executor().launch(std::slice::from_ref(&job)).await.unwrap();
        let exit = exit_of(&self.berth.ended(&job).await);
        assert_eq!(exit.code.is_none(), exit.could_not_launch.is_some(), "{exit:?}");
        exit.could_not_launch
    }

    /// The engine is as it was. The containers go first, which still need the image.
    async fn end(self) {
        let (engine, image) = (self.berth.engine.clone(), self.image.clone());
        let rest = (self.berth, self.registry, self.homes);
        let end = move || {
            drop(rest);
            engine.try_docker(&["rmi", "-f", &image])
        };
        let _ = tokio::task::spawn_blocking(end).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn a_users_own_login_pulls_where_the_site_has_none_and_is_never_shown() {
    let scene = Scene::new().await;
    let alice = scene.with_login("alice", UID);
    assert_eq!(scene.refusal(&alice, None).await, None);
    let told = format!("{:?}", scene.berth.reports());
    let kept = fs::read_to_string(scene.berth.folder().join("state/images.json")).unwrap();
    assert!(told.contains(&scene.image) && kept.contains("private"), "{told}{kept}");
    for text in [told, kept] {
        assert!(!text.contains(&scene.registry.password) && !text.contains(&base64("berth:")), "{text}");
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn what_a_users_login_brought_is_nobody_elses_until_a_registry_gives_it_to_them() {
    let mut scene = Scene::new().await;
    let alice = scene.with_login("alice", UID);
    let (bob, carol) = (scene.without_login("bob", UID + 1), scene.without_login("carol", UID + 2));
    assert_eq!(scene.refusal(&alice, None).await, None);
    let id = scene.berth.docker(&["image", "inspect", "-f", "{{.Id}}", &scene.image]).await;
    for pull in [None, Some("always"), Some("never")] {
        let words = scene.refusal(&bob, pull).await.unwrap_or_else(|| panic!("bob has it by {pull:?}"));
        assert!(words.contains(&scene.image) && words.contains("another user's login"), "{words}");
    }
    for name in [&id, &id[..19]] {
        let words = scene.refusal_of(&bob, name, Some("never")).await.unwrap();
        assert!(words.contains("another user's login"), "{words}");
    }

    scene.berth.crash().await;
    scene.berth.start().await;
    assert!(scene.refusal(&bob, Some("never")).await.unwrap().contains("another user's login"));
    assert_eq!(scene.refusal(&alice, Some("never")).await, None);
    stored(&bob, &login_file(&scene.registry, &scene.registry.password));
    assert_eq!(scene.refusal(&bob, None).await, None, "the registry gives it to bob");
    assert_eq!(scene.refusal(&bob, Some("never")).await, None);
    assert!(scene.refusal(&carol, None).await.unwrap().contains("another user's login"));

    scene.berth.crash().await;
    let password_file = scene.homes.path().join("password");
    fs::write(&password_file, &scene.registry.password).unwrap();
    fs::set_permissions(&password_file, fs::Permissions::from_mode(0o600)).unwrap();
    let login = RegistryLogin { username: scene.registry.username.clone(), password_file };
    scene.berth.config.images.registries.logins.insert(scene.registry.address.clone(), login);
    scene.berth.start().await;
    assert_eq!(scene.refusal(&carol, None).await, None, "the registry gives it to everybody");
    let dave = scene.without_login("dave", UID + 3);
    assert_eq!(scene.refusal(&dave, Some("never")).await, None);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn pulls_and_their_failures_are_shared_only_between_the_same_credentials() {
    let scene = Scene::new().await;
    let (alice, bob) = (scene.with_login("alice", UID), scene.without_login("bob", UID + 1));
    stored(&bob, &login_file(&scene.registry, "not-the-pass~word?>"));
    let nobody = scene.without_login("nobody", UID + 2);
    let jobs = [&bob, &nobody, &alice, &bob].map(|owner| scene.job(owner, &scene.image, None));
    scene.berth.executor().launch(&jobs).await.unwrap();
    let mut ran = Vec::new();
    for job in &jobs {
        ran.push(exit_of(&scene.berth.ended(job).await).could_not_launch.is_none());
    }
    assert_eq!(ran, [false, false, true, false]);
    assert!(scene.refusal(&bob, None).await.is_some(), "his failure is remembered");
    stored(&bob, &login_file(&scene.registry, &scene.registry.password));
    assert_eq!(scene.refusal(&bob, None).await, None, "a new login is used at once");
    assert!(!format!("{:?}", scene.berth.reports()).contains("not-the-pass"));
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn nobody_uses_a_file_that_is_not_the_users_own_alone() {
    let scene = Scene::new().await;
    let (alice, bob) = (scene.with_login("alice", UID), scene.without_login("bob", UID + 1));
    let (of_alice, of_bob) = (config_of(&alice), config_of(&bob));
    let own = login_file(&scene.registry, &scene.registry.password);
    let with_mode = |mode: u32| {
        stored(&bob, &own);
        fs::set_permissions(&of_bob, fs::Permissions::from_mode(mode)).unwrap();
    };
    let cases: [(&str, &dyn Fn(), &str); 7] = [
        ("a link to alice's", &|| symlink(&of_alice, &of_bob).unwrap(), "symbolic link"),
        ("a second name of alice's", &|| fs::hard_link(&of_alice, &of_bob).unwrap(), "denied"),
        ("open to the group", &|| with_mode(0o640), "chmod 600"),
        ("open to all", &|| with_mode(0o604), "chmod 600"),
        (
            "somebody else's, and readable",
            &|| {
                with_mode(0o644);
                chown(&of_bob, Some(UID), None).unwrap();
            },
            "does not belong",
        ),
        ("no such form", &|| stored(&bob, &format!("{own} and more")), "docker login"),
        ("too large", &|| stored(&bob, &format!("{own}{}", " ".repeat(1 << 20))), "1048576"),
    ];
    for (case, make, part) in cases {
        make();
        let words = scene.refusal(&bob, None).await.unwrap_or_else(|| panic!("{case}: bob has it"));
        assert!(words.contains(".docker/config.json") && words.contains(part), "{case}: {words}");
        fs::remove_file(&of_bob).unwrap();
    }
    let told = format!("{:?}", scene.berth.reports());
    assert!(!told.contains(&scene.registry.password) && !told.contains(&base64("berth:")));
    assert_eq!(scene.refusal(&alice, None).await, None, "hers is as it should be");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn a_login_that_a_helper_keeps_is_mentioned_when_the_registry_says_no() {
    let scene = Scene::new().await;
    let alice = scene.without_login("alice", UID);
    stored(&alice, &format!(r#"{{"auths": {{"{}": {{}}}}, "credsStore": "pass"}}"#, scene.registry.address));
    let words = scene.refusal(&alice, None).await.unwrap();
    assert!(words.contains(".docker/config.json") && words.contains("helper program"), "{words}");
    assert_eq!(scene.refusal_of(&alice, IMAGE_PLAIN, None).await, None);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker Engine"]
async fn what_a_pull_brought_that_nobody_saw_end_is_for_nobody_before_it_is_asked_for() {
    let mut scene = Scene::new().await;
    let (alice, bob) = (scene.with_login("alice", UID), scene.without_login("bob", UID + 1));
    scene.berth.crash().await;
    // As if it had been killed when the engine was about to have it.
    let record = format!(r#"{{"version": 1, "images": {{}}, "begun": {{"{}": null}}}}"#, scene.image);
    fs::write(scene.berth.folder().join("state/images.json"), record).unwrap();
    let client = scene.homes.path().join("client");
    scene.berth.docker(&["--config", client.to_str().unwrap(), "pull", "-q", &scene.image]).await;
    scene.berth.start().await;
    for owner in [&bob, &alice] {
        let words = scene.refusal(owner, Some("never")).await.unwrap();
        assert!(words.contains("another user's login"), "{words}");
    }
    assert_eq!(scene.refusal(&alice, None).await, None);
    assert!(scene.refusal(&bob, None).await.is_some());
    scene.end().await;
}
