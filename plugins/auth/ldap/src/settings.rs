//! How the site's directory is laid out.

use berth_policy_sdk::{Error, Info, Setting, Settings, bad_settings, info, site};

use crate::directory::Test;

/// Where people and groups are, and what their attributes are called.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// The place below which people are.
    pub users: String,
    /// The place below which groups are.
    pub groups: Option<String>,
    /// What has to hold of a person, beside being who is looked for.
    pub user_filter: Vec<Test>,
    /// What has to hold of a group.
    pub group_filter: Vec<Test>,
    /// Attributes.
    pub names: Names,
    /// The machine's own accounts that are let in, by name.
    pub local_users: Vec<String>,
    /// Entries with smaller numbers are nobody's.
    pub least_uid: u32,
}

/// Names of attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// A person's name.
    pub user: String,
    /// A person's number.
    pub uid: String,
    /// A group's number, and that of a person's primary group.
    pub gid: String,
    /// A person's home.
    pub home: String,
    /// A person's address.
    pub mail: String,
    /// The groups that a person's entry says it is in.
    pub member_of: String,
    /// A group's name.
    pub group: String,
    /// A group's members by their names.
    pub members: Vec<String>,
    /// A group's members by their distinguished names.
    pub member_dns: Vec<String>,
}

/// Who the policy is.
pub(crate) fn describe() -> Info {
    let mut info = info!(
        "ldap",
        "the people of an LDAP directory",
        "users" => "the distinguished name below which people are; has to be given",
        "groups" => "the one below which groups are; without, people are in their primary group and in those \
            that their entries name",
        "user-filter" => "what has to hold of people, as a list of attribute=value, attribute=* for any value, \
            or either with ! before it; objectClass=posixAccount unless given",
        "group-filter" => "what has to hold of groups, likewise; nothing unless given",
        "attributes.user" => "the attribute with a person's name; uid unless given",
        "attributes.uid" => "a person's number; uidNumber unless given",
        "attributes.gid" => "a group's number, and that of a person's primary group; gidNumber unless given",
        "attributes.home" => "a person's home; homeDirectory unless given",
        "attributes.mail" => "a person's e-mail address; mail unless given",
        "attributes.member-of" => "the groups that a person's entry names; memberOf unless given",
        "attributes.group" => "a group's name; cn unless given",
        "attributes.members" => "a group's members by name, with commas; memberUid unless given",
        "attributes.member-dns" => "a group's members by distinguished name, with commas; member, uniqueMember \
            unless given",
        "local-users" => "accounts of the machine itself that are let in, with commas; root unless given",
        "least-uid" => "entries with smaller numbers are not let in; 1000 unless given",
    );
    info.settings.extend(site::settings().into_iter().map(|setting| match setting.key.as_str() {
        "administrator-groups" => {
            let about =
                "groups whose members administrate Berth, by name or, as a list, by distinguished name";
            Setting { value: about.to_owned(), ..setting }
        }
        _ => setting,
    }));
    info
}

impl Layout {
    /// Reads the settings.
    ///
    /// # Errors
    /// `bad-settings` that name the one that makes no sense.
    pub fn read(settings: &mut Settings) -> Result<Self, Error> {
        let users = settings.take("users").filter(|base| !base.trim().is_empty());
        let missing = "users is missing: the distinguished name below which people are, such as \
                       ou=people,dc=example,dc=org";
        let users = users.ok_or_else(|| bad_settings(missing))?;
        let mut local_users = settings.list("local-users");
        if local_users.is_empty() {
            local_users.push("root".to_owned());
        }
        Ok(Self {
            users,
            groups: settings.take("groups").filter(|base| !base.trim().is_empty()),
            user_filter: filter("user-filter", settings, &["objectClass=posixAccount"])?,
            group_filter: filter("group-filter", settings, &[])?,
            names: Names::read(settings),
            local_users,
            least_uid: settings.parse("least-uid", "a number")?.unwrap_or(1000),
        })
    }
}

impl Names {
    fn read(settings: &mut Settings) -> Self {
        let mut one = |key: &str, usual: &str| {
            settings.take(&format!("attributes.{key}")).unwrap_or_else(|| usual.to_owned())
        };
        let (user, uid, gid) = (one("user", "uid"), one("uid", "uidNumber"), one("gid", "gidNumber"));
        let (home, mail) = (one("home", "homeDirectory"), one("mail", "mail"));
        let (member_of, group) = (one("member-of", "memberOf"), one("group", "cn"));
        let mut list = |key: &str, usual: &[&str]| {
            let given = settings.list(&format!("attributes.{key}"));
            if given.is_empty() { usual.iter().map(|&name| name.to_owned()).collect() } else { given }
        };
        let members = list("members", &["memberUid"]);
        let member_dns = list("member-dns", &["member", "uniqueMember"]);
        Self { user, uid, gid, home, mail, member_of, group, members, member_dns }
    }
}

fn filter(key: &str, settings: &mut Settings, usual: &[&str]) -> Result<Vec<Test>, Error> {
    let given = settings.list(key);
    let usual = || usual.iter().map(|&test| test.to_owned()).collect();
    let tests: Vec<String> = if given.is_empty() { usual() } else { given };
    tests.iter().map(|text| test(key, text)).collect()
}

fn test(key: &str, text: &str) -> Result<Test, Error> {
    let (negated, plain) = text.strip_prefix('!').map_or((false, text), |plain| (true, plain));
    let parts = plain.split_once('=').map(|(attribute, value)| (attribute.trim(), value.trim()));
    let is_name =
        |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ';'));
    match parts {
        Some((attribute, value)) if !attribute.is_empty() && is_name(attribute) && !value.is_empty() => {
            let value = Some(value.to_owned()).filter(|value| value != "*");
            Ok(Test { attribute: attribute.to_owned(), value, negated })
        }
        _ => Err(bad_settings(format!(
            "{key}: {text:?} is not attribute=value or attribute=*, with or without ! before it"
        ))),
    }
}
