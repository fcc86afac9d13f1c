//! What the command line changes of an account.

use berth_api::{AccountSettings, VolumeRow};
use clap::Args;

/// What every account has.
#[derive(Args, Clone, Debug, Default)]
pub struct Edit {
    /// What it is, for people
    #[arg(long, value_name = "TEXT")]
    about: Option<String>,
    /// From 0 to 100; 50 is usual
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(0..=100))]
    priority: Option<u8>,
    /// Its part of the site beside its siblings; 1 is usual
    #[arg(long, value_name = "NUMBER")]
    shares: Option<u32>,
    /// A bound, such as cpu-time=100h or jobs=1000; KEY=none takes it away (can be given again)
    #[arg(long = "limit", value_name = "KEY=VALUE", value_parser = pair)]
    limits: Vec<(String, String)>,
    /// Take no new jobs
    #[arg(long, conflicts_with = "unbar")]
    bar: bool,
    /// Take new jobs again
    #[arg(long)]
    unbar: bool,
    /// Only if it is still at this version
    #[arg(long, value_name = "VERSION")]
    pub if_version: Option<u64>,
}

/// What a project has beside that.
#[derive(Args, Clone, Debug, Default)]
pub struct ProjectEdit {
    /// The group that it belongs to, or none
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Users who may submit to it (can be given again)
    #[arg(long = "add", value_name = "USER")]
    add: Vec<String>,
    /// Users who no longer may (can be given again)
    #[arg(long = "remove", value_name = "USER")]
    remove: Vec<String>,
    /// Let members see and control each other's jobs in it
    #[arg(long, conflicts_with = "unshare")]
    share: bool,
    /// Let members see their own jobs only
    #[arg(long)]
    unshare: bool,
    /// A folder on the nodes that its jobs may ask for by this name, for reading and writing unless it ends in :ro;
    /// NAME=none takes it away (can be given again)
    #[arg(long = "volume", value_name = "NAME=PATH[:ro]", value_parser = volume)]
    volumes: Vec<(String, Option<VolumeRow>)>,
}

/// `NAME=PATH`, `NAME=PATH:ro` or `NAME=none`.
fn volume(text: &str) -> Result<(String, Option<VolumeRow>), String> {
    let (name, place) = pair(text)?;
    let (path, read_only) = match place.rsplit_once(':') {
        Some((path, "ro")) => (path, true),
        Some((path, "rw")) => (path, false),
        _ => (place.as_str(), false),
    };
    if name.is_empty() || (path != "none" && !path.starts_with('/')) {
        return Err(format!("{text:?} is not NAME=PATH, with an absolute path, or NAME=none"));
    }
    let row = VolumeRow { path: path.to_owned(), target: None, read_only };
    Ok((name, (path != "none").then_some(row)))
}

/// `KEY=VALUE`.
pub fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not KEY=VALUE"))?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

/// Sets bounds, or takes them away; the server reads them.
pub fn set_limits(settings: &mut AccountSettings, limits: &[(String, String)]) {
    for (key, value) in limits {
        match value.as_str() {
            // One that is not set needs no taking away; the server is told of what it does not know.
            "none" if settings.limits.remove(key).is_some() => {}
            _ => {
                settings.limits.insert(key.clone(), value.clone());
            }
        }
    }
}

impl Edit {
    /// Changes what was named.
    pub fn apply(&self, settings: &mut AccountSettings) {
        if let Some(about) = &self.about {
            settings.about.clone_from(about);
        }
        settings.priority = self.priority.unwrap_or(settings.priority);
        settings.shares = self.shares.unwrap_or(settings.shares);
        set_limits(settings, &self.limits);
        settings.barred = (settings.barred || self.bar) && !self.unbar;
    }
}

impl ProjectEdit {
    /// Changes what was named.
    pub fn apply(&self, settings: &mut AccountSettings) {
        match self.group.as_deref() {
            Some("none") => settings.group = None,
            Some(group) => settings.group = Some(group.to_owned()),
            None => {}
        }
        settings.members.extend(self.add.iter().cloned());
        settings.members.retain(|member| !self.remove.contains(member));
        settings.shared = (settings.shared || self.share) && !self.unshare;
        for (name, volume) in &self.volumes {
            match volume {
                // Where jobs see it stays as it was.
                Some(volume) => {
                    let target = settings.volumes.get(name).and_then(|before| before.target.clone());
                    settings.volumes.insert(name.clone(), VolumeRow { target, ..volume.clone() });
                }
                None => drop(settings.volumes.remove(name)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_changes() {
        let before = AccountSettings {
            about: "sequencing".into(),
            limits: [("jobs".into(), "7".into()), ("cpus".into(), "4".into())].into(),
            members: vec!["ann".into(), "bob".into()],
            volumes: [("old".into(), row("/data/old", false))].into(),
            ..AccountSettings::default()
        };
        let mut settings = before.clone();
        Edit::default().apply(&mut settings);
        ProjectEdit::default().apply(&mut settings);
        assert_eq!(settings, before);

        let limits = vec![pair("jobs=none").unwrap(), pair("cpu-time=2h").unwrap()];
        let edit = Edit { priority: Some(80), limits, bar: true, ..Edit::default() };
        edit.apply(&mut settings);
        let (add, remove) = (vec!["cy".into()], vec!["ann".into()]);
        let volumes = ["data=/data/rna:ro", "old=none"].map(|text| volume(text).unwrap()).into();
        ProjectEdit { group: Some("bio".into()), add, remove, share: true, unshare: false, volumes }
            .apply(&mut settings);
        let after = AccountSettings {
            priority: 80,
            limits: [("cpus".into(), "4".into()), ("cpu-time".into(), "2h".into())].into(),
            barred: true,
            group: Some("bio".into()),
            members: vec!["bob".into(), "cy".into()],
            shared: true,
            volumes: [("data".into(), row("/data/rna", true))].into(),
            ..before
        };
        assert_eq!(settings, after);
    }

    fn row(path: &str, read_only: bool) -> VolumeRow {
        VolumeRow { path: path.into(), target: None, read_only }
    }

    #[test]
    fn a_volume_is_a_name_and_an_absolute_path() {
        assert_eq!(volume("d=/a:b:rw"), Ok(("d".into(), Some(row("/a:b", false)))));
        assert_eq!(volume("d=none"), Ok(("d".into(), None)));
        for text in ["d", "d=", "d=a/b", "=/a", "d=~/x"] {
            assert!(volume(text).is_err(), "{text}");
        }
    }
}
