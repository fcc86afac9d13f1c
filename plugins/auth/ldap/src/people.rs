//! From an entry of the directory to a person.

use berth_policy_sdk::auth::Denial;

use crate::{
    directory::{Directory, Entry, Question, Scope, denied, equals, values},
    settings::{Layout, Names},
};

/// A person of the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The entry's distinguished name.
    pub dn: String,
    /// The name that they log in with.
    pub user: String,
    /// Their number.
    pub uid: u32,
    /// Their primary group.
    pub gid: u32,
    /// Where they are at home.
    pub home: Option<String>,
    /// Their address.
    pub email: Option<String>,
    /// Distinguished names of groups that the entry says they are in.
    pub member_of: Vec<String>,
}

/// By what somebody is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By<'a> {
    /// Their number.
    Number(u32),
    /// Their name.
    Name(&'a str),
}

/// The one person that this is.
///
/// # Errors
/// `unknown` when there is nobody; otherwise why the directory, or what stands in it, lets nobody in.
pub fn person(layout: &Layout, directory: &impl Directory, by: By<'_>) -> Result<Person, Denial> {
    let names = &layout.names;
    let wanted = match by {
        By::Number(uid) if uid < layout.least_uid => return Err(Denial::Unknown),
        By::Number(uid) => equals(&names.uid, uid.to_string()),
        By::Name(user) if !is_name(user) => return Err(Denial::Unknown),
        By::Name(user) => equals(&names.user, user),
    };
    let filter = layout.user_filter.iter().cloned();
    let question = Question {
        base: &layout.users,
        scope: Scope::Subtree,
        clauses: [wanted].into_iter().chain(filter).map(|test| vec![test]).collect(),
        attributes: [&names.user, &names.uid, &names.gid, &names.home, &names.mail, &names.member_of]
            .map(String::clone)
            .to_vec(),
    };
    let mut found = directory.search(question).map_err(denied)?;
    let entry = found.pop().ok_or(Denial::Unknown)?;
    if !found.is_empty() {
        return Err(forbidden("the directory has several entries for you"));
    }
    let person = read(entry, names)?;
    let is_asked = match by {
        By::Number(uid) => person.uid == uid,
        // Directories take capital letters and spaces lightly; nobody is let in under two names.
        By::Name(user) => person.user == user,
    };
    if !is_asked {
        return Err(Denial::Unknown);
    }
    sound(person, layout)
}

/// What the machine could be tricked by does not come from the directory.
fn sound(person: Person, layout: &Layout) -> Result<Person, Denial> {
    let least = layout.least_uid;
    if person.uid < least || person.uid == 0 {
        return Err(forbidden(format!("your number, {}, is less than {least}", person.uid)));
    }
    if person.gid == 0 {
        return Err(forbidden("your primary group is that of root"));
    }
    if layout.local_users.contains(&person.user) {
        let words = format!("the name {} belongs to an account of the machine itself", person.user);
        return Err(forbidden(words));
    }
    Ok(person)
}

fn read(entry: Entry, names: &Names) -> Result<Person, Denial> {
    let [user] = values(&entry, &names.user) else {
        return Err(forbidden("your entry in the directory does not have exactly one name to log in with"));
    };
    if !is_name(user) {
        return Err(forbidden("your name in the directory cannot be used"));
    }
    let number = |attribute: &str| match values(&entry, attribute) {
        [one] => {
            one.parse().map_err(|_| forbidden(format!("your {attribute} in the directory is no number")))
        }
        _ => Err(forbidden(format!("your entry in the directory does not have exactly one {attribute}"))),
    };
    let home = values(&entry, &names.home).iter().find(|home| home.starts_with('/'));
    Ok(Person {
        user: user.clone(),
        uid: number(&names.uid)?,
        gid: number(&names.gid)?,
        home: home.cloned(),
        // Values come in any order, and what is answered must not change by that.
        email: values(&entry, &names.mail).iter().min().cloned(),
        member_of: values(&entry, &names.member_of).to_vec(),
        dn: entry.dn,
    })
}

/// A name that can stand in a path without leading anywhere else.
fn is_name(user: &str) -> bool {
    let plain = |c: char| !c.is_control() && c != '/';
    (1..=256).contains(&user.len()) && user.chars().all(plain) && !matches!(user, "." | "..")
}

fn forbidden(words: impl Into<String>) -> Denial {
    Denial::Forbidden(words.into())
}
