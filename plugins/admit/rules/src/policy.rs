//! What jobs get that do not say, how much they may ask for, and what they have to say.

use std::{collections::BTreeMap, fmt};

use berth_policy_sdk::{
    Admit, Draft, Error, Info, InstantMs, Settings,
    admit::Refusal,
    bad_settings, info,
    site::{Accounts, Host},
};

use crate::amount::Amount;

/// What takes away a bound that others have.
const NONE: &str = "none";

/// Fields that can have a default, beside keys of the tables below.
const FIELDS: [&str; 13] = [
    "cpus", "executor", "gpus", "grace", "image", "memory", "network", "priority", "project", "scratch",
    "time", "volumes", "workdir",
];
/// Tables of which keys can have a default.
const TABLES: [&str; 5] = ["constraints", "env", "labels", "options", "resources"];

/// The rules that hold for all, and those for single projects and groups, which come before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    all: Set,
    projects: BTreeMap<String, Set>,
    /// With the name that the site gave.
    groups: BTreeMap<u32, (String, Set)>,
}

/// Some rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Set {
    defaults: BTreeMap<String, String>,
    /// `None` for no bound.
    most: BTreeMap<Amount, Option<u64>>,
    required: Vec<String>,
}

/// Whose rules some are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose<'n> {
    Project(&'n str),
    Group(&'n str),
    All,
}

impl fmt::Display for Whose<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Project(project) => write!(f, "jobs of project {project}"),
            Self::Group(group) => write!(f, "jobs of group {group}"),
            Self::All => f.write_str("jobs"),
        }
    }
}

impl Admit for Rules {
    fn describe() -> Info {
        info!(
            "rules",
            "gives jobs what they do not say, bounds what they ask for, and refuses those that leave out what they \
             have to say",
            "default.FIELD" => "what a field is set to where nobody has set it, such as default.time = \"2h\" or \
                                default.labels.team = \"none\"",
            "most.FIELD" => "the most that may be asked for; of cpus, memory, gpus, time and scratch. A job without \
                             a time limit gets that of most.time",
            "require" => "fields that have to be set, with commas, such as labels.team",
            "projects.NAME.…" => "the same for jobs of a project, in the place of those for all; none takes a bound \
                                  away",
            "groups.NAME.…" => "the same for jobs of those who are in a group, by its name or number, unless \
                                their project has one; of several groups the largest bound holds",
        )
    }

    fn configure(settings: &mut Settings) -> Result<Self, Error> {
        Self::read(settings, &Host)
    }

    fn admit(&mut self, _: InstantMs, job: &mut Draft) -> Result<(), Refusal> {
        // A default may say which project it is, and with it which rules hold.
        for _ in 0..2 {
            fill_in(&self.sets_of(job), job);
        }
        let sets = self.sets_of(job);
        for amount in Amount::ALL {
            bound(amount, &sets, job)?;
        }
        let required = sets.iter().flat_map(|(_, set)| &set.required);
        match required.into_iter().find(|&field| !job.has(field) && job.can_change(field)) {
            Some(field) => Err(Refusal::Never(format!("{field} has to be set{}", how_to_set(field)))),
            None => Ok(()),
        }
    }
}

impl Rules {
    fn read(settings: &mut Settings, accounts: &impl Accounts) -> Result<Self, Error> {
        let mut rules = Self::default();
        for name in settings.list("require") {
            rules.all.required.push(known_field("require", name)?);
        }
        for part in ["default", "most"] {
            for (field, value) in settings.table(part) {
                rules.all.take(part, &field, value, "")?;
            }
        }
        for (key, value) in settings.table("projects") {
            let (name, part, field) = split(&key, "projects")?;
            rules.projects.entry(name.to_owned()).or_default().take(part, field, value, "projects.")?;
        }
        for (key, value) in settings.table("groups") {
            let (name, part, field) = split(&key, "groups")?;
            let (_, set) = rules
                .groups
                .entry(group(name, accounts)?)
                .or_insert_with(|| (name.to_owned(), Set::default()));
            set.take(part, field, value, "groups.")?;
        }
        Ok(rules)
    }

    /// The rules that hold for a job; those that come first count.
    fn sets_of(&self, job: &Draft) -> Vec<(Whose<'_>, &Set)> {
        let owner = job.owner();
        let of_project = self.projects.get_key_value(job.project());
        let of_project = of_project.map(|(project, set)| (Whose::Project(project), set));
        let is_in = |group: &u32| owner.gid == *group || owner.groups.contains(group);
        let of_groups = self.groups.iter().filter(|(group, _)| is_in(group));
        let of_groups = of_groups.map(|(_, (name, set))| (Whose::Group(name), set));
        of_project.into_iter().chain(of_groups).chain([(Whose::All, &self.all)]).collect()
    }
}

impl Set {
    fn take(&mut self, part: &str, field: &str, value: String, whose: &str) -> Result<(), Error> {
        let key = || format!("{whose}{part}.{field}");
        match part {
            "default" => {
                let field = known_field("default", field.to_owned())?;
                self.defaults.insert(field, value);
            }
            "most" => {
                let Some(amount) = Amount::ALL.into_iter().find(|amount| amount.field() == field) else {
                    let words = "only cpus, memory, gpus, time and scratch can be bounded";
                    return Err(bad_settings(format!("{}: {words}", key())));
                };
                let most = match value.trim() {
                    NONE => None,
                    text => Some(amount.parse(text).ok_or_else(|| {
                        bad_settings(format!("{} = {text:?} is not an amount of {field}", key()))
                    })?),
                };
                self.most.insert(amount, most);
            }
            // A list comes as one text, or as numbered elements.
            _ => {
                for name in value.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                    self.required.push(known_field("require", name.to_owned())?);
                }
            }
        }
        Ok(())
    }
}

/// A project's or group's key: `NAME.default.FIELD`, `NAME.most.FIELD` or `NAME.require`.
fn split<'k>(key: &'k str, table: &str) -> Result<(&'k str, &'k str, &'k str), Error> {
    for part in ["default", "most"] {
        if let Some((name, field)) = key.split_once(&format!(".{part}.")) {
            return Ok((name, if part == "most" { "most" } else { "default" }, field));
        }
    }
    let without_number = match key.rsplit_once('.') {
        Some((head, number)) if number.parse::<usize>().is_ok() => head,
        _ => key,
    };
    match without_number.strip_suffix(".require").filter(|name| !name.is_empty()) {
        Some(name) => Ok((name, "require", "")),
        None => Err(bad_settings(format!(
            "{table}.{key} is not {table}.NAME.default.FIELD, .most.FIELD or .require"
        ))),
    }
}

fn group(name: &str, accounts: &impl Accounts) -> Result<u32, Error> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    match accounts.group(name) {
        Ok(Some(group)) => Ok(group),
        Ok(None) => Err(bad_settings(format!("groups.{name}: there is no group of this name"))),
        Err(words) => Err(Error::Other(format!("groups.{name}: {words}"))),
    }
}

fn known_field(part: &str, field: String) -> Result<String, Error> {
    let in_table =
        field.split_once('.').is_some_and(|(table, key)| TABLES.contains(&table) && !key.is_empty());
    // What has to be there may be anything that a job has; a default of some would make no sense.
    if in_table || part == "require" || FIELDS.contains(&field.as_str()) {
        return Ok(field);
    }
    let words = format!("{part}.{field}: there can be none; fields with one are {}", FIELDS.join(", "));
    Err(bad_settings(format!("{words}, and keys of {}", TABLES.join(", "))))
}

fn fill_in(sets: &[(Whose<'_>, &Set)], job: &mut Draft) {
    for (whose, set) in sets {
        for (field, value) in &set.defaults {
            if !job.has(field) {
                job.set(field, value.as_str(), format!("{whose} that do not say get this here"));
            }
        }
    }
}

/// Holds a job to the bound of an amount.
fn bound(amount: Amount, sets: &[(Whose<'_>, &Set)], job: &mut Draft) -> Result<(), Refusal> {
    let Some((whose, most)) = most_of(amount, sets) else { return Ok(()) };
    let field = amount.field();
    match job.one(field).map(|text| amount.parse(text)) {
        Some(Some(asked)) if asked <= most => Ok(()),
        Some(asked) => {
            let asked =
                asked.map_or_else(String::new, |asked| format!("{} is too much: ", amount.show(asked)));
            let most = amount.show(most);
            Err(Refusal::Never(format!("{field}: {asked}{whose} may have {most} at most here")))
        }
        // Without a limit it may run for ever; of all else a job that does not say gets what the site gives.
        None if amount == Amount::Time => {
            let words = format!("{whose} may run no longer here");
            job.set(field, amount.show(most), words);
            Ok(())
        }
        None => Ok(()),
    }
}

/// The bound that holds, and whose it is. `None` for no bound.
fn most_of<'n>(amount: Amount, sets: &[(Whose<'n>, &Set)]) -> Option<(Whose<'n>, u64)> {
    let mut named = sets.iter().filter_map(|(whose, set)| Some((*whose, *set.most.get(&amount)?))).peekable();
    let first = *named.peek()?;
    let (whose, most) = match first {
        (Whose::Group(_), _) => {
            let groups = named.take_while(|(whose, _)| matches!(whose, Whose::Group(_)));
            // No bound is more than any.
            groups.max_by_key(|(_, most)| most.unwrap_or(u64::MAX))?
        }
        other => other,
    };
    most.map(|most| (whose, most))
}

fn how_to_set(field: &str) -> String {
    match field.split_once('.') {
        Some(("labels", key)) => format!("; give it with --label {key}=VALUE"),
        Some(("env", key)) => format!("; give it with --env {key}=VALUE"),
        Some(_) => String::new(),
        None => format!("; give it with --{field}"),
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
