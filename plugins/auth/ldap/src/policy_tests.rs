use std::cell::RefCell;

use berth_policy_sdk::{
    Setting,
    auth::{PasswordCredentials, Role},
    bad_settings,
};

use super::*;
use crate::directory::{Entry, Failure, Question, Scope, Test};

/// What the directory knows, or why it does not answer. Each test has a thread of its own.
#[derive(Clone, Default)]
struct Kept {
    entries: Vec<Entry>,
    down: Option<&'static str>,
    asked: usize,
    tried: Vec<String>,
}

thread_local! {
    static KEPT: RefCell<Kept> = RefCell::default();
}

/// A directory in memory, which takes capital letters lightly, as real ones do.
#[derive(Clone, Copy, Debug, Default)]
struct Memory;

impl Directory for Memory {
    fn search(&self, question: Question<'_>) -> Result<Vec<Entry>, Failure> {
        KEPT.with_borrow_mut(|kept| {
            kept.asked += 1;
            if let Some(words) = kept.down {
                return Err(Failure::Unavailable(words.to_owned()));
            }
            let is_at = |entry: &Entry| match question.scope {
                Scope::Base => entry.dn == question.base,
                _ => entry.dn.ends_with(question.base),
            };
            let here: Vec<_> = kept.entries.iter().filter(|entry| is_at(entry)).collect();
            if here.is_empty() {
                return Err(Failure::Refused(format!("the directory has no {}", question.base)));
            }
            let fits = |entry: &&Entry| {
                question.clauses.iter().all(|clause| clause.iter().any(|test| holds(entry, test)))
            };
            Ok(here.into_iter().filter(fits).cloned().collect())
        })
    }

    fn bind(&self, dn: &str, password: u64) -> Result<bool, Failure> {
        KEPT.with_borrow_mut(|kept| {
            kept.tried.push(dn.to_owned());
            let there = kept.entries.iter().any(|entry| entry.dn == dn);
            kept.down
                .map_or(Ok(there && password == RIGHT), |words| Err(Failure::Unavailable(words.to_owned())))
        })
    }
}

/// The handle that stands for the right password of everybody in the directory, and on the machine.
const RIGHT: u64 = 7;

impl Passwords for Machine {
    fn check(&self, password: u64) -> Result<bool, String> {
        Ok(password == RIGHT)
    }
}

fn holds(entry: &Entry, test: &Test) -> bool {
    let values = crate::directory::values(entry, &test.attribute);
    let fits = |value: &String| test.value.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(value));
    values.iter().any(fits) != test.negated
}

/// A machine with root and a service.
#[derive(Clone, Copy, Debug, Default)]
struct Machine;

impl Accounts for Machine {
    fn by_uid(&self, _uid: u32) -> Result<Option<Account>, String> {
        Err("a number is never asked for".to_owned())
    }

    fn by_name(&self, user: &str) -> Result<Option<Account>, String> {
        let known = [("root", 0), ("ci", 900)].into_iter().find(|(name, _)| *name == user);
        Ok(known.map(|(name, uid)| Account {
            user: name.to_owned(),
            uid,
            gid: uid,
            home: format!("/{name}"),
            shell: String::new(),
        }))
    }

    fn groups_of(&self, _user: &str) -> Result<Vec<u32>, String> {
        Ok(vec![])
    }

    fn group(&self, _name: &str) -> Result<Option<u32>, String> {
        Ok(None)
    }
}

type Policy = Ldap<Memory, Machine>;

/// A name with values.
type Values<'a> = (&'a str, &'a [&'a str]);

fn entry(dn: &str, attributes: &[Values<'_>]) -> Entry {
    let owned = |(name, values): &Values<'_>| {
        ((*name).to_owned(), values.iter().map(|&value| value.to_owned()).collect())
    };
    Entry { dn: dn.to_owned(), attributes: attributes.iter().map(owned).collect() }
}

fn someone(user: &str, uid: &str, more: &[Values<'_>]) -> Entry {
    let usual: [Values<'_>; 5] = [
        ("objectClass", &["posixAccount"]),
        ("uid", &[user]),
        ("uidNumber", &[uid]),
        ("gidNumber", &["20000"]),
        ("homeDirectory", &["/home/x"]),
    ];
    // What is said once more replaces what is usual.
    let kept = usual.iter().filter(|(name, _)| !more.iter().any(|(other, _)| other == name));
    let all: Vec<_> = kept.chain(more).copied().collect();
    entry(&format!("uid={user},ou=people,dc=t"), &all)
}

fn knows(entries: impl IntoIterator<Item = Entry>) {
    KEPT.with_borrow_mut(|kept| kept.entries = entries.into_iter().collect());
}

fn site() {
    let alice: [Values<'_>; 2] = [
        ("mail", &["z@t", "alice@t"]),
        ("memberOf", &["cn=wheel,ou=groups,dc=t", "cn=gone,ou=groups,dc=t", "cn=evil,ou=elsewhere,dc=t"]),
    ];
    knows([
        someone("alice", "20001", &alice),
        someone("bob", "20002", &[]),
        entry("cn=users,ou=groups,dc=t", &[("cn", &["users"]), ("gidNumber", &["20000"])]),
        entry(
            "cn=lab,ou=groups,dc=t",
            &[("cn", &["lab"]), ("gidNumber", &["20010"]), ("memberUid", &["alice", "bob"])],
        ),
        entry(
            "cn=staff,ou=groups,dc=t",
            &[("cn", &["staff"]), ("gidNumber", &["20020"]), ("member", &["uid=alice,ou=people,dc=t"])],
        ),
        entry("cn=wheel,ou=groups,dc=t", &[("cn", &["wheel"]), ("gidNumber", &["20030"])]),
        entry(
            "cn=rooted,ou=groups,dc=t",
            &[("cn", &["rooted"]), ("gidNumber", &["0"]), ("memberUid", &["alice"])],
        ),
        entry("cn=evil,ou=elsewhere,dc=t", &[("cn", &["evil"]), ("gidNumber", &["4711"])]),
    ]);
}

fn read(pairs: &[(&str, &str)]) -> Result<Policy, Error> {
    let setting = |&(key, value): &(&str, &str)| Setting { key: key.into(), value: value.into() };
    let mut settings = Settings::new(pairs.iter().map(setting).collect());
    let policy = Policy::configure(&mut settings)?;
    settings.finish()?;
    Ok(policy)
}

fn policy(more: &[(&str, &str)]) -> Policy {
    let usual = [("users", "ou=people,dc=t"), ("groups", "ou=groups,dc=t")];
    let kept = usual.iter().filter(|(key, _)| !more.iter().any(|(other, _)| other == key));
    read(&kept.chain(more).copied().collect::<Vec<_>>()).unwrap()
}

fn named(policy: &mut Policy, user: &str) -> Result<Identity, Denial> {
    policy.identify(0, Credentials::KnownUser(user.into()))
}

fn numbered(policy: &mut Policy, uid: u32) -> Result<Identity, Denial> {
    policy.identify(0, Credentials::UnixUser(uid))
}

#[test]
fn a_person_is_the_same_by_number_and_by_name() {
    site();
    let mut policy = policy(&[]);
    let alice = named(&mut policy, "alice").unwrap();
    assert_eq!((alice.uid, alice.gid, alice.home.as_deref()), (20001, 20000, Some("/home/x")));
    assert_eq!(alice.email.as_deref(), Some("alice@t"), "of several, always the same");
    assert_eq!(
        alice.groups,
        [20010, 20020, 20030],
        "each kind of membership, and neither root's nor another's group"
    );
    assert_eq!(numbered(&mut policy, 20001), Ok(alice));
    assert_eq!(numbered(&mut policy, 20009), Err(Denial::Unknown));
    assert_eq!(named(&mut policy, "carol"), Err(Denial::Unknown));
}

#[test]
fn nobody_is_let_in_under_two_names_or_none() {
    site();
    let mut policy = policy(&[]);
    let long = "a".repeat(257);
    for name in
        ["ALICE", " alice", "alice ", "*", "*)(uid=*", "a/../b", "alice\0", "", "\u{202e}ecila", &long]
    {
        assert_eq!(named(&mut policy, name), Err(Denial::Unknown), "{name:?}");
    }
}

#[test]
fn administrators_come_from_groups_by_name_and_by_distinguished_name() {
    site();
    let roles = |pairs: &[(&str, &str)], user: &str| named(&mut policy(pairs), user).unwrap().roles;
    assert_eq!(roles(&[("administrator-groups", "staff")], "alice"), [Role::Administrator]);
    assert_eq!(roles(&[("administrator-groups", "staff")], "bob"), []);
    let dn = [("administrator-groups.0", "cn=staff,OU=groups,dc=t")];
    assert_eq!(roles(&dn, "alice"), [Role::Administrator]);
    assert_eq!(roles(&[("administrator-groups", "evil")], "alice"), [], "not a group of the site's");
    let by_name = [("administrators", "bob"), ("operators", "bob")];
    assert_eq!(roles(&by_name, "bob"), [Role::Administrator, Role::Operator]);
}

#[test]
fn a_directory_that_is_down_lets_in_only_the_machines_own() {
    site();
    KEPT.with_borrow_mut(|kept| kept.down = Some("no LDAP server answers"));
    let mut policy = policy(&[("local-users", "root, ci, missing")]);
    let down = Err(Denial::Unavailable("no LDAP server answers".into()));
    assert_eq!(named(&mut policy, "alice"), down);
    assert_eq!(numbered(&mut policy, 20001), down);
    let root = named(&mut policy, "root").unwrap();
    assert_eq!((root.uid, &root.roles[..]), (0, &[Role::Administrator][..]));
    assert_eq!(numbered(&mut policy, 0), Ok(root));
    assert_eq!(numbered(&mut policy, 900).unwrap().user, "ci");
    assert_eq!(named(&mut policy, "missing"), Err(Denial::Unknown), "the machine has to know them");
}

#[test]
fn the_directory_is_not_asked_about_what_is_not_its_own() {
    site();
    let mut policy = policy(&[]);
    for answer in [numbered(&mut policy, 0), named(&mut policy, "root")] {
        assert!(answer.is_ok());
    }
    assert_eq!(numbered(&mut policy, 999), Err(Denial::Unknown));
    assert_eq!(KEPT.with_borrow(|kept| kept.asked), 0);
}

#[test]
fn no_entry_makes_anybody_root_or_an_account_of_the_machine() {
    let entries = [
        someone("zero", "0", &[]),
        someone("low", "999", &[]),
        someone("rooted", "20003", &[("gidNumber", &["0"])]),
        someone("root", "20004", &[]),
    ];
    knows(entries);
    let mut open = policy(&[("least-uid", "0")]);
    let mut usual = policy(&[]);
    assert!(matches!(named(&mut usual, "low"), Err(Denial::Forbidden(_))));
    assert!(matches!(named(&mut usual, "rooted"), Err(Denial::Forbidden(_))));
    assert!(matches!(numbered(&mut usual, 20004), Err(Denial::Forbidden(_))), "whose name is root's");
    assert!(matches!(named(&mut open, "zero"), Err(Denial::Forbidden(_))), "whatever the site says");
    assert_eq!(numbered(&mut open, 0).unwrap().home.as_deref(), Some("/root"), "the machine's");
}

#[test]
fn an_entry_that_is_not_clear_lets_nobody_in() {
    let many: [(&str, &str, &[Values<'_>]); 7] = [
        ("two", "20001", &[("uid", &["two", "zwei"])]),
        ("none", "20002", &[("uid", &[])]),
        ("slash", "20003", &[("uid", &["a/b"])]),
        ("dot", "20008", &[("uid", &["."])]),
        ("numbers", "20004", &[("uidNumber", &["20004", "20005"])]),
        ("word", "20006", &[("gidNumber", &["many"])]),
        ("large", "20007", &[("gidNumber", &["4294967296"])]),
    ];
    for (user, uid, more) in many {
        knows([someone(user, uid, more)]);
        let answer = numbered(&mut policy(&[]), uid.parse().unwrap());
        assert!(matches!(answer, Err(Denial::Forbidden(_))), "{user}: {answer:?}");
    }
    knows([someone("a", "20001", &[]), someone("b", "20001", &[])]);
    let answer = numbered(&mut policy(&[]), 20001);
    assert_eq!(answer, Err(Denial::Forbidden("the directory has several entries for you".into())));
}

#[test]
fn the_sites_filter_and_its_names_of_attributes_hold() {
    let mut gone = someone("gone", "20001", &[("shell", &["/bin/false"])]);
    gone.attributes.push(("sAMAccountName".into(), vec!["gone".into()]));
    let there = entry(
        "cn=there,ou=people,dc=t",
        &[
            ("sAMAccountName", &["there"]),
            ("uidNumber", &["20002"]),
            ("gidNumber", &["20000"]),
            ("objectClass", &["user"]),
        ],
    );
    knows([gone, there]);
    let names = [("attributes.user", "sAMAccountName"), ("groups", "")];
    let mut filtered = policy(&[&names[..], &[("user-filter", "objectClass=*, !shell=/bin/false")]].concat());
    assert_eq!(named(&mut filtered, "there").unwrap().uid, 20002);
    assert_eq!(named(&mut filtered, "gone"), Err(Denial::Unknown));
    assert_eq!(named(&mut policy(&names), "there"), Err(Denial::Unknown), "no posixAccount");
}

#[test]
fn a_place_without_groups_is_no_answer() {
    knows([someone("alice", "20001", &[])]);
    let answer = named(&mut policy(&[("groups", "ou=nowhere,dc=t")]), "alice");
    assert_eq!(answer, Err(Denial::Unavailable("the directory has no ou=nowhere,dc=t".into())));
}

#[test]
fn the_directory_judges_passwords_of_its_people_and_berth_those_of_accounts() {
    site();
    let by_password = |user: &str, password| {
        let shown = PasswordCredentials { user: user.into(), password };
        policy(&[("local-users", "root, ci, gone")]).identify(0, Credentials::Password(shown))
    };
    assert_eq!(by_password("alice", RIGHT).unwrap().uid, 20001);
    assert_eq!(by_password("ci", RIGHT).unwrap().uid, 900);
    for (user, password) in [("alice", 1), ("ALICE", RIGHT), ("ci", 1), ("gone", RIGHT), ("x)(uid=*", RIGHT)]
    {
        assert_eq!(by_password(user, password), Err(Denial::Unknown), "{user}");
    }
    let tried = KEPT.with_borrow(|kept| kept.tried.clone());
    let (alice, nobody) = ("uid=alice,ou=people,dc=t", "cn=nobody,ou=people,dc=t");
    assert_eq!(tried, [alice, alice, nobody, nobody], "whoever is not there is tried, too");
    KEPT.with_borrow_mut(|kept| kept.down = Some("gone fishing"));
    assert_eq!(by_password("alice", RIGHT), Err(Denial::Unavailable("gone fishing".into())));
}

#[test]
fn jobs_are_granted_what_the_site_grants() {
    site();
    let volume = [("volumes.data.path", "/data/$USER"), ("volumes.data.mode", "rw")];
    let mut policy = policy(&volume);
    let alice = named(&mut policy, "alice").unwrap();
    let job = JobRequest {
        project: "default".into(),
        as_root: false,
        volumes: vec![berth_policy_sdk::auth::VolumeRequest {
            name: "data".into(),
            read_only: false,
            of_project: None,
        }],
        executor: None,
        image: None,
        extensions: vec![],
    };
    let granted = policy.authorise(0, alice.clone(), job.clone()).unwrap();
    assert_eq!(granted.mounts[0].source, "/data/alice");
    let as_root = policy.authorise(0, alice, JobRequest { as_root: true, ..job });
    assert!(matches!(as_root, Err(Denial::Forbidden(_))));
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let words = |pairs: &[(&str, &str)]| match read(pairs).unwrap_err() {
        Error::BadSettings(words) | Error::Other(words) => words,
    };
    assert!(words(&[]).starts_with("users is missing"));
    for filter in ["objectClass", "=x", "uid=", "u)(id=x", "!"] {
        let said = words(&[("users", "dc=t"), ("user-filter", filter)]);
        assert!(said.starts_with(&format!("user-filter: {filter:?} is not")), "{said}");
    }
    let said = read(&[("users", "dc=t"), ("least-uid", "few")]).unwrap_err();
    assert_eq!(said, bad_settings("least-uid = \"few\" is not a number"));
    assert!(words(&[("users", "dc=t"), ("user", "x")]).contains("there is no setting \"user\""));
}
