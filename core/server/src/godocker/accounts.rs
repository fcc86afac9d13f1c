//! Users and projects: GO-Docker's documents from Berth's accounts, and back.

use std::collections::BTreeMap;

use berth_api::{AccountDay, AccountRow, AccountSettings, ErrorBody, ErrorCode, Problem, VolumeRow};
use berth_model::Identity;
use serde_json::{Value, json};

use super::documents::{Project, ProjectVolume, Quotas};

/// What everybody belongs to who belongs to nothing else.
pub(super) const DEFAULT_PROJECT: &str = "default";
/// The bounds that GO-Docker has words for, as accounts name them.
const TIME: &str = "wall-time";
const CPUS: &str = "cpus";
const MEMORY: &str = "memory";
const GIB: u64 = 1 << 30;

/// A user's document. Of others than the one who asks only the name and the quotas are known here; an API key is
/// never told, because it is kept as a hash.
pub(super) fn user(row: &AccountRow, who: &Identity) -> Value {
    let own = (row.name == who.user).then_some(who);
    let mut usage = json!(quotas(&row.settings));
    if let (Some(guest), Value::Object(usage)) = (&row.guest, &mut usage) {
        usage.insert("guest_home".to_owned(), guest.home_bytes.unwrap_or(0).into());
    }
    json!({
        "id": row.name,
        "uid": own.map(|who| who.uid),
        "gid": own.map(|who| who.gid),
        "sgids": own.map(|who| who.groups.clone()).unwrap_or_default(),
        "homeDirectory": own.and_then(|who| who.home.as_deref()).unwrap_or_default(),
        "email": own.and_then(|who| who.email.as_deref()).unwrap_or_default(),
        "admin": own.map(Identity::is_administrator),
        "credentials": { "apikey": "", "public": "" },
        "guest": row.guest.is_some(),
        "usage": usage,
    })
}

/// A project's document.
pub(super) fn project(row: &AccountRow) -> Value {
    let Quotas { prio, quota_time, quota_cpu, quota_ram } = quotas(&row.settings);
    json!({
        "id": row.name,
        "description": row.settings.about,
        "prio": prio,
        "members": row.settings.members,
        "quota_time": quota_time,
        "quota_cpu": quota_cpu,
        "quota_ram": quota_ram,
        "volumes": row.settings.volumes.iter().map(volume).collect::<Vec<_>>(),
    })
}

fn volume((name, volume): (&String, &VolumeRow)) -> Value {
    json!({
        "name": name,
        "path": volume.path,
        "mount": volume.target.clone().unwrap_or_else(|| format!("/mnt/{name}")),
        "acl": if volume.read_only { "ro" } else { "rw" },
    })
}

/// What was used on a day: CPUs and gibibytes as they were asked for, whatever the time, and seconds of running. Months
/// and days have no leading zeros.
pub(super) fn day(day: &AccountDay) -> Value {
    let parts: Vec<&str> = day.day.split('-').map(|part| part.trim_start_matches('0')).collect();
    json!({
        "date": parts.join("_"),
        "cpu": day.cpu_millis as f64 / 1000.0,
        "ram": day.memory_mib as f64 / 1024.0,
        "time": day.wall_ms as f64 / 1000.0,
    })
}

fn quotas(settings: &AccountSettings) -> Quotas {
    let limit = |key: &str| settings.limits.get(key).map(String::as_str).unwrap_or_default();
    let time = berth_model::parse_duration(limit(TIME)).unwrap_or_default();
    let cpus = berth_model::parse_cpus(limit(CPUS)).unwrap_or(0);
    let memory = berth_model::parse_bytes(limit(MEMORY)).unwrap_or(0);
    Quotas {
        prio: Some(settings.priority),
        quota_time: Some(time.as_secs_f64()),
        quota_cpu: Some(cpus.div_ceil(1000)),
        quota_ram: Some(memory.div_ceil(GIB)),
    }
}

/// These settings with what a document says of quotas in them. What it repeats stays as it is: GO-Docker's whole
/// cores and gigabytes may be coarser than what is set.
///
/// # Errors
/// When a quota is none.
pub(super) fn with_quotas(
    mut settings: AccountSettings,
    wanted: Quotas,
) -> Result<AccountSettings, ErrorBody> {
    let now = quotas(&settings);
    let mut set = |key: &str, text: Option<String>| match text {
        Some(text) => drop(settings.limits.insert(key.to_owned(), text)),
        None => drop(settings.limits.remove(key)),
    };
    if let Some(time) = wanted.quota_time.filter(|_| wanted.quota_time != now.quota_time) {
        // JSON knows no infinities; what is too long for a duration is refused with the others.
        if !(time == 0.0 || time >= 1.0) {
            let message = format!("{time} is no number of seconds; give 1 or more, or 0 for no bound");
            return Err(wrong("quota_time", message));
        }
        set(TIME, (time > 0.0).then(|| format!("{}s", time.ceil())));
    }
    if let Some(cpus) = wanted.quota_cpu.filter(|_| wanted.quota_cpu != now.quota_cpu) {
        set(CPUS, (cpus > 0).then(|| cpus.to_string()));
    }
    if let Some(ram) = wanted.quota_ram.filter(|_| wanted.quota_ram != now.quota_ram) {
        set(MEMORY, (ram > 0).then(|| format!("{ram}G")));
    }
    settings.priority = wanted.prio.unwrap_or(settings.priority);
    Ok(settings)
}

/// A project's settings with what its document says in them.
///
/// # Errors
/// When a quota is none, or a volume cannot be read.
pub(super) fn with_project(settings: AccountSettings, wanted: Project) -> Result<AccountSettings, ErrorBody> {
    let mut settings = with_quotas(settings, wanted.quotas)?;
    if let Some(volumes) = wanted.volumes {
        settings.volumes = volumes.into_iter().map(row_of).collect::<Result<_, _>>()?;
    }
    settings.about = wanted.description.unwrap_or(settings.about);
    settings.members = wanted.members.unwrap_or(settings.members);
    Ok(settings)
}

/// What is usual where it is mounted is not repeated; GO-Docker's command line sends it empty.
fn row_of(wanted: ProjectVolume) -> Result<(String, VolumeRow), ErrorBody> {
    let ProjectVolume { name, path, mount, acl } = wanted;
    let read_only = match acl.as_deref() {
        None | Some("" | "ro") => true,
        Some("rw") => false,
        Some(acl) => return Err(wrong("volumes", format!("{acl:?} is neither ro nor rw"))),
    };
    let usual = format!("/mnt/{name}");
    let target = mount.filter(|mount| !mount.is_empty() && *mount != usual);
    Ok((name, VolumeRow { path, target, read_only }))
}

fn wrong(field: &str, message: String) -> ErrorBody {
    let problems = vec![Problem { field: field.to_owned(), message: message.clone() }];
    ErrorBody { code: ErrorCode::Invalid, message: format!("{field}: {message}"), problems }
}

/// The projects of a user among these, the one that everybody has among them.
pub(super) fn projects_of(user: &str, rows: Vec<AccountRow>) -> Vec<Value> {
    let mut found: BTreeMap<String, Value> = rows
        .iter()
        .filter(|row| row.settings.members.iter().any(|member| member == user) || row.name == DEFAULT_PROJECT)
        .map(|row| (row.name.clone(), project(row)))
        .collect();
    found.entry(DEFAULT_PROJECT.to_owned()).or_insert_with(|| {
        project(&AccountRow { name: DEFAULT_PROJECT.to_owned(), ..AccountRow::default() })
    });
    found.into_values().collect()
}

#[cfg(test)]
#[path = "accounts_tests.rs"]
mod tests;
