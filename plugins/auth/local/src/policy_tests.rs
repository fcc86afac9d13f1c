use berth_policy_sdk::{
    Error, Setting,
    auth::{Mount, PasswordCredentials, ProjectVolume, Role, VolumeRequest},
    bad_settings,
    site::Account,
};

use super::*;

/// Two users; `down` is what the name service says instead of an answer.
#[derive(Clone, Debug, Default)]
struct Few {
    down: Option<String>,
}

impl Few {
    fn all() -> [Account; 3] {
        let account = |user: &str, uid, gid, home: &str, shell: &str| Account {
            user: user.into(),
            uid,
            gid,
            home: home.into(),
            shell: shell.into(),
        };
        [
            account("root", 0, 0, "/root", "/bin/bash"),
            account("alice", 1000, 100, "/home/alice", "/bin/bash"),
            account("service", 999, 999, "", "/usr/sbin/nologin"),
        ]
    }

    fn up(&self) -> Result<(), String> {
        self.down.clone().map_or(Ok(()), Err)
    }
}

impl Accounts for Few {
    fn by_uid(&self, uid: u32) -> Result<Option<Account>, String> {
        self.up().map(|()| Self::all().into_iter().find(|account| account.uid == uid))
    }

    fn by_name(&self, user: &str) -> Result<Option<Account>, String> {
        self.up().map(|()| Self::all().into_iter().find(|account| account.user == user))
    }

    fn groups_of(&self, user: &str) -> Result<Vec<u32>, String> {
        self.up().map(|()| if user == "alice" { vec![100, 27, 50] } else { vec![] })
    }

    fn group(&self, name: &str) -> Result<Option<u32>, String> {
        self.up().map(|()| (name == "sudo").then_some(27))
    }
}

/// The handle that stands for everybody's password.
const RIGHT: u64 = 7;

impl Passwords for Few {
    fn check(&self, password: u64) -> Result<bool, String> {
        self.up().map(|()| password == RIGHT)
    }
}

fn read(pairs: &[(&str, &str)]) -> Result<Local<Few>, Error> {
    let setting = |&(key, value): &(&str, &str)| Setting { key: key.into(), value: value.into() };
    let mut settings = Settings::new(pairs.iter().map(setting).collect());
    let policy = Local::configure(&mut settings)?;
    settings.finish()?;
    Ok(policy)
}

fn policy(pairs: &[(&str, &str)]) -> Local<Few> {
    read(pairs).unwrap()
}

fn user(policy: &mut Local<Few>, user: &str) -> Identity {
    policy.identify(0, Credentials::KnownUser(user.into())).unwrap()
}

fn job() -> JobRequest {
    JobRequest {
        project: "default".into(),
        as_root: false,
        volumes: vec![],
        executor: None,
        image: None,
        extensions: vec![],
    }
}

fn wants(volumes: &[(&str, bool)]) -> JobRequest {
    let request =
        |&(name, read_only): &(&str, bool)| VolumeRequest { name: name.into(), read_only, of_project: None };
    JobRequest { volumes: volumes.iter().map(request).collect(), ..job() }
}

fn mount(name: &str, source: &str, target: &str, read_only: bool) -> Mount {
    Mount { name: name.into(), source: source.into(), target: target.into(), read_only }
}

const VOLUMES: [(&str, &str); 5] = [
    ("volumes.data.path", "/data"),
    ("volumes.own.path", "/scratch/$USER-$UID"),
    ("volumes.own.target", "/own"),
    ("volumes.own.mode", "rw"),
    ("allow-root-jobs", "true"),
];

#[test]
fn a_peer_of_the_socket_is_who_the_name_service_says() {
    let mut policy = policy(&[]);
    let alice = policy.identify(0, Credentials::UnixUser(1000));
    assert_eq!(alice.as_ref().unwrap().user, "alice");
    assert_eq!(alice.as_ref().unwrap().groups, [27, 50]);
    assert_eq!(alice.as_ref().unwrap().home.as_deref(), Some("/home/alice"));
    assert_eq!(alice.as_ref().unwrap().roles, []);
    assert_eq!(alice, policy.identify(0, Credentials::KnownUser("alice".into())));
    assert_eq!(policy.identify(0, Credentials::UnixUser(4711)), Err(Denial::Unknown));
}

#[test]
fn an_account_without_a_shell_or_a_home_is_known_all_the_same() {
    let service = user(&mut policy(&[]), "service");
    assert_eq!((service.uid, service.home), (999, None));
}

#[test]
fn a_name_service_that_is_down_is_no_answer() {
    let mut policy = Local::new(Site::default(), Few { down: Some("no answer from ldap".into()) });
    let answer = policy.identify(0, Credentials::UnixUser(1000));
    assert_eq!(answer, Err(Denial::Unavailable("no answer from ldap".into())));
}

#[test]
fn a_right_password_lets_in_whom_the_name_service_knows_and_a_wrong_one_nobody() {
    let shown =
        |user: &str, password| Credentials::Password(PasswordCredentials { user: user.into(), password });
    let mut policy = policy(&[]);
    assert_eq!(policy.identify(0, shown("alice", RIGHT)).unwrap().uid, 1000);
    for (user, password) in [("alice", RIGHT + 1), ("root", 0), ("nobody-here", RIGHT), ("nobody-here", 0)] {
        assert_eq!(policy.identify(0, shown(user, password)), Err(Denial::Unknown), "{user}");
    }
    let mut down = Local::new(Site::default(), Few { down: Some("not now".into()) });
    assert_eq!(down.identify(0, shown("alice", RIGHT)), Err(Denial::Unavailable("not now".into())));
}

#[test]
fn roles_come_from_names_and_from_groups_and_root_always_administrates() {
    let roles = |pairs: &[(&str, &str)], name: &str| user(&mut policy(pairs), name).roles;
    assert_eq!(roles(&[], "root"), [Role::Administrator]);
    assert_eq!(roles(&[("administrators", "bob, alice")], "alice"), [Role::Administrator]);
    assert_eq!(roles(&[("administrator-groups", "gone,sudo")], "alice"), [Role::Administrator]);
    assert_eq!(roles(&[("administrator-groups", "gone,sudo")], "service"), []);
    assert_eq!(roles(&[("operators", "alice")], "alice"), [Role::Operator]);
}

#[test]
fn volumes_are_those_of_the_site_with_the_stricter_mode() {
    let mut policy = policy(&VOLUMES);
    let alice = user(&mut policy, "alice");
    let asked = wants(&[("data", false), ("own", false), ("home", false), ("elsewhere", false)]);
    let grant = policy.authorise(0, alice.clone(), asked).unwrap();
    let expected = [
        mount("data", "/data", "/mnt/data", true),
        mount("own", "/scratch/alice-1000", "/own", false),
        mount("home", "/home/alice", "/mnt/home", false),
    ];
    assert_eq!(grant.mounts, expected);
    let again = policy.authorise(0, alice, wants(&[("own", false), ("own", true)])).unwrap();
    assert_eq!(again.mounts, [mount("own", "/scratch/alice-1000", "/own", true)]);
}

#[test]
fn a_projects_volumes_are_granted_behind_the_sites_and_no_wider_than_they_are() {
    let mut policy = policy(&VOLUMES);
    let alice = user(&mut policy, "alice");
    let of_project = |name: &str, source: &str, read_only| VolumeRequest {
        name: name.into(),
        read_only: false,
        of_project: Some(ProjectVolume { source: source.into(), target: format!("/mnt/{name}"), read_only }),
    };
    let volumes = vec![
        of_project("rna", "/p/rna", false),
        of_project("ref", "/p/ref", true),
        of_project("data", "/p", false),
    ];
    let asked = JobRequest { volumes, ..job() };
    let expected = [
        mount("rna", "/p/rna", "/mnt/rna", false),
        mount("ref", "/p/ref", "/mnt/ref", true),
        mount("data", "/data", "/mnt/data", true),
    ];
    assert_eq!(policy.authorise(0, alice.clone(), asked.clone()).unwrap().mounts, expected);
    let as_root = JobRequest { as_root: true, image: Some("debian".into()), ..asked };
    let grant = policy.authorise(0, alice, as_root).unwrap();
    assert!(grant.mounts.iter().all(|mount| mount.read_only), "{grant:?}");
}

#[test]
fn root_reads_only_and_only_where_it_may() {
    let mut open = policy(&VOLUMES);
    let (alice, root) = (user(&mut open, "alice"), user(&mut open, "root"));
    let in_container = JobRequest {
        as_root: true,
        image: Some("debian".into()),
        ..wants(&[("own", false), ("home", false)])
    };
    let grant = open.authorise(0, alice.clone(), in_container.clone()).unwrap();
    assert!(grant.as_root && grant.mounts.len() == 2 && grant.mounts.iter().all(|mount| mount.read_only));

    let on_machine = JobRequest { image: None, ..in_container.clone() };
    assert!(matches!(open.authorise(0, alice, on_machine.clone()), Err(Denial::Forbidden(_))));
    assert!(open.authorise(0, root.clone(), on_machine).unwrap().as_root);
    assert!(matches!(policy(&[]).authorise(0, root, in_container), Err(Denial::Forbidden(_))));
}

#[test]
fn no_account_leads_a_volume_astray() {
    let mut policy = policy(&[("volumes.own.path", "/scratch/$USER/x"), ("volumes.h.path", "$HOME/h")]);
    let mut who = user(&mut policy, "alice");
    for name in ["..", "a/b"] {
        who.user = name.into();
        let answer = policy.authorise(0, who.clone(), wants(&[("own", false)]));
        assert!(matches!(answer, Err(Denial::Forbidden(_))), "{name}");
    }
    who.home = Some("/home/../etc".into());
    assert!(matches!(policy.authorise(0, who.clone(), wants(&[("home", true)])), Err(Denial::Forbidden(_))));
    who.home = None;
    assert!(matches!(policy.authorise(0, who, wants(&[("h", true)])), Err(Denial::Forbidden(_))));
}

#[test]
fn extensions_are_granted_as_far_as_the_site_lists_them() {
    let mut policy = policy(&[("extensions.allow", "docker.shm-size, kubernetes.*")]);
    let alice = user(&mut policy, "alice");
    let keys = ["docker.privileged", "docker.shm-size", "kubernetes.class", "docker.shm-size-x"];
    let asked = JobRequest { extensions: keys.map(str::to_owned).to_vec(), ..job() };
    let granted = policy.authorise(0, alice, asked).unwrap().extensions;
    assert_eq!(granted, ["docker.shm-size", "kubernetes.class"]);
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let words = |pairs: &[(&str, &str)]| read(pairs).unwrap_err();
    let cases = [
        (("volumes.home.path", "/x"), "the volume home is every user's own home and cannot be set"),
        (("volumes.a.mode", "ro"), "volumes.a has no path"),
        (("volumes.a.path", "x"), "volumes.a.path = \"x\" does not begin with /"),
        (("volumes.a", "x"), "volumes.a is not volumes.NAME.path, .target or .mode"),
        (("allow-root-jobs", "yes"), "allow-root-jobs = \"yes\" is not true or false"),
    ];
    for (pair, expected) in cases {
        assert_eq!(words(&[pair]), bad_settings(expected));
    }
    let pairs = [("volumes.a.path", "/x"), ("volumes.a.mode", "rx")];
    assert_eq!(words(&pairs), bad_settings("volumes.a.mode = \"rx\" is neither ro nor rw"));
    let pairs = [("volumes.a.path", "/x"), ("volumes.a.tarket", "/y")];
    assert_eq!(words(&pairs), bad_settings("volumes.a.tarket is not one of path, target and mode"));
}
