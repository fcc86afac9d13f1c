//! From a file and the environment to a checked configuration, or to everything that is wrong with them.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeTable, DeValue, Deserializer},
};

use crate::{
    check::Check,
    checked::Config,
    defaults::{Defaults, Surroundings},
    diagnostics::{Problem, Problems, Severity},
    effective::{Effective, settings_of},
    environment::{self, Variable},
    keys::Checker,
    known::{KeyDoc, KeyKind, KnownPlugins},
    raw::RawConfig,
    renamed,
    shape::file_keys,
    source::{SourceKind, Sources, Span},
    tree,
};

/// Nobody writes a longer one; a device or a log by mistake is.
const MOST_FILE_BYTES: u64 = 4 << 20;

/// What came of loading.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// To be used.
    pub config: Config,
    /// To be shown.
    pub warnings: Problems,
    /// Every key with its value and where that comes from.
    pub effective: Effective,
}

/// Loads the configuration of this process: the file at `path`, if any, under the `BERTH__` variables
/// of `env`.
///
/// # Errors
/// Everything that is wrong, not only the first thing.
pub fn load(
    path: Option<&Path>,
    env: impl Iterator<Item = (String, String)>,
    known: &KnownPlugins,
) -> Result<Loaded, Problems> {
    let loader = Loader::new(known).env(env);
    match path {
        Some(path) => loader.file(path).load(),
        None => loader.load(),
    }
}

/// Where a file is looked for when none is named: `/etc/berth/berth.toml` as root, else `berth/berth.toml`
/// in `XDG_CONFIG_HOME` or `~/.config`. `None` when there is none.
#[must_use]
pub fn usual_file(env: impl Iterator<Item = (String, String)>) -> Option<PathBuf> {
    let env: Vec<_> = env.collect();
    let get = |name: &str| env.iter().find(|(key, _)| key == name).map(|(_, value)| PathBuf::from(value));
    let folder = if Surroundings::of(&env).root {
        PathBuf::from("/etc")
    } else {
        let named = get("XDG_CONFIG_HOME").filter(|folder| folder.is_absolute());
        named.or_else(|| Some(get("HOME").filter(|home| home.is_absolute())?.join(".config")))?
    };
    Some(folder.join("berth/berth.toml")).filter(|path| path.exists())
}

/// Loads with more say in the matter than [`load`] gives.
#[derive(Clone, Debug)]
pub struct Loader<'k> {
    known: &'k KnownPlugins,
    file: Option<PathBuf>,
    env: Vec<(String, String)>,
    state: Option<PathBuf>,
    surroundings: Option<Surroundings>,
}

impl<'k> Loader<'k> {
    /// No file and no variables.
    #[must_use]
    pub fn new(known: &'k KnownPlugins) -> Self {
        Self { known, file: None, env: Vec::new(), state: None, surroundings: None }
    }

    /// Reads this file.
    #[must_use]
    pub fn file(mut self, path: &Path) -> Self {
        self.file = Some(path.to_owned());
        self
    }

    /// Reads the `BERTH__` ones of these variables.
    #[must_use]
    pub fn env(mut self, env: impl Iterator<Item = (String, String)>) -> Self {
        self.env = env.collect();
        self.env.sort();
        self
    }

    /// Keeps the state here unless the file or a variable says otherwise: for an embedded server.
    #[must_use]
    pub fn state(mut self, state: &Path) -> Self {
        self.state = Some(state.to_owned());
        self
    }

    /// Takes defaults for these surroundings instead of those of this process.
    #[must_use]
    pub fn surroundings(mut self, surroundings: Surroundings) -> Self {
        self.surroundings = Some(surroundings);
        self
    }

    /// Loads.
    ///
    /// # Errors
    /// Everything that is wrong, not only the first thing.
    pub fn load(self) -> Result<Loaded, Problems> {
        let mut sources = Sources::default();
        let mut problems = Vec::new();
        let file_end = self.add_file(&mut sources, &mut problems);
        let mut variables = Vec::new();
        for (name, value) in self.env.iter().filter(|(name, _)| name.starts_with(environment::PREFIX)) {
            let at = sources.add(SourceKind::Variable(name.clone()), format!("{name}={value}"));
            variables.push(Variable { name, value, at });
        }
        let nowhere = sources.add(SourceKind::Default, String::new());
        if !problems.is_empty() {
            return Err(Problems::new(problems, sources));
        }
        let text = sources.text(&(0..file_end)).to_owned();
        let keys = file_keys(self.known);
        let read = self.read(&text, &keys, &variables, nowhere..nowhere, &sources, &mut problems);
        match read {
            Some((config, effective)) if problems.iter().all(|one| one.severity == Severity::Warning) => {
                Ok(Loaded { config, warnings: Problems::new(problems, sources), effective })
            }
            _ => Err(Problems::new(problems, sources)),
        }
    }

    fn add_file(&self, sources: &mut Sources, problems: &mut Vec<Problem>) -> usize {
        let Some(path) = &self.file else { return 0 };
        match read_file(path) {
            Ok(bytes) => {
                let (text, problem) = match String::from_utf8(bytes) {
                    Ok(text) => (text, None),
                    Err(error) => {
                        let at = error.utf8_error().valid_up_to();
                        let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                        let message = "the file is not in UTF-8";
                        let label = "save it in UTF-8, or take this character out";
                        // The replacement character has three bytes.
                        (text, Some(Problem::error(message).at(&(at..at + 3)).label(label)))
                    }
                };
                problems.extend(problem);
                let end = text.len();
                sources.add(SourceKind::File(path.clone()), text);
                end
            }
            Err(problem) => {
                problems.push(problem);
                0
            }
        }
    }

    fn read(
        &self,
        text: &str,
        keys: &[KeyDoc],
        variables: &[Variable<'_>],
        nowhere: Span,
        sources: &Sources,
        problems: &mut Vec<Problem>,
    ) -> Option<(Config, Effective)> {
        let (root, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let problem = Problem::error("this is not TOML").label(error.message());
            problems.push(match error.span() {
                Some(span) => problem.at(&span),
                None => problem,
            });
        }
        if !problems.is_empty() {
            return None;
        }
        let mut root = root.into_inner();
        environment::apply(&mut root, keys, variables, problems);
        renamed::rename(&mut root, keys, problems);
        Checker { sources, problems: &mut *problems }.table("", &(0..0), &mut root, keys);
        let surroundings = self.surroundings.clone().unwrap_or_else(|| Surroundings::of(&self.env));
        let defaults =
            Defaults { surroundings: &surroundings, state: self.state.as_deref(), span: nowhere.clone() };
        if !defaults.fill(&mut root, keys) {
            let message = "there is no place to keep the state: neither XDG_STATE_HOME nor HOME is set";
            problems.push(Problem::error(message).help("set one of them, or `state` in [cluster]"));
            return None;
        }
        let effective = settings_of(&root, keys, sources);
        part_own(&mut root, keys, &nowhere);
        match RawConfig::deserialize(Deserializer::from(Spanned::new(nowhere.clone(), root))) {
            Ok(raw) => Some((Check { known: self.known, sources, problems }.config(raw), effective)),
            Err(error) => {
                // Only what the comparison with the keys let through by mistake gets here.
                let span = error.span().unwrap_or(nowhere);
                problems.push(Problem::error(error.message()).at(&span));
                None
            }
        }
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, Problem> {
    let shown = path.display();
    let wrong = |what: String, help: &str| Err(Problem::error(what).help(help));
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => {
            wrong(format!("{shown} is a directory"), "name the file in it, such as berth.toml")
        }
        Ok(found) if !found.is_file() => wrong(format!("{shown} is not a file"), "name a berth.toml"),
        Ok(found) if found.len() > MOST_FILE_BYTES => {
            wrong(format!("{shown} is too long for a configuration"), "4 MiB are the most; name a berth.toml")
        }
        Ok(_) => std::fs::read(path)
            .or_else(|error| wrong(format!("{shown} cannot be read: {error}"), "see to its permissions")),
        Err(error) if error.kind() == ErrorKind::NotFound => wrong(
            format!("{shown} does not exist"),
            "name another file, or create one: berth config schema --toml prints one to start from",
        ),
        Err(error) => wrong(format!("{shown} cannot be read: {error}"), "see to its permissions"),
    }
}

/// Parts each executor's own keys from the common ones.
fn part_own(root: &mut DeTable<'_>, keys: &[KeyDoc], nowhere: &Span) {
    let Some(KeyKind::Kinds { common, .. }) =
        keys.iter().find(|key| key.name == "executors").map(|key| &key.kind)
    else {
        return;
    };
    let executors = root.get_mut("executors").map(Spanned::get_mut);
    let Some(DeValue::Table(executors)) = executors else { return };
    for (_, executor) in executors.iter_mut() {
        let DeValue::Table(table) = executor.get_mut() else { continue };
        let is_common = |name: &str| common.iter().any(|key| key.name == name);
        let (common, own): (Vec<_>, Vec<_>) =
            std::mem::take(table).into_iter().partition(|(name, _)| is_common(name.get_ref()));
        *table = common.into_iter().collect();
        let own = own.into_iter().collect();
        table.insert(tree::name("own", nowhere.clone()), Spanned::new(nowhere.clone(), DeValue::Table(own)));
    }
}
