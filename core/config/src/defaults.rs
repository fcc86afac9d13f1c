//! What holds where nobody said anything.

use std::path::{Path, PathBuf};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    known::{KeyDoc, KeyKind},
    source::Span,
    tree::{self, Node},
};

/// Stands for `cluster.state` at the start of a default.
const STATE: &str = "<state>";

/// Whose Berth it is: what defaults depend on beside the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Whether it runs as root.
    pub root: bool,
    /// The folder for the state of users' programs, where known.
    pub state_home: Option<PathBuf>,
}

impl Surroundings {
    /// Those of this process, with this environment.
    #[must_use]
    pub fn of(env: &[(String, String)]) -> Self {
        let get = |name: &str| env.iter().find(|(key, _)| key == name).map(|(_, value)| Path::new(value));
        // What is not absolute is to be ignored, by the rules for such folders.
        let absolute = |path: &&Path| path.is_absolute();
        let named = get("XDG_STATE_HOME").filter(absolute).map(Path::to_owned);
        let home = get("HOME").filter(absolute).map(|home| home.join(".local/state"));
        Self { root: rustix::process::geteuid().is_root(), state_home: named.or(home) }
    }

    fn state(&self) -> Option<PathBuf> {
        if self.root { Some("/var/lib/berth".into()) } else { Some(self.state_home.as_ref()?.join("berth")) }
    }
}

/// Fills a checked tree.
pub(crate) struct Defaults<'a> {
    pub(crate) surroundings: &'a Surroundings,
    /// Where Berth keeps its state when the file does not say: for an embedded server.
    pub(crate) state: Option<&'a Path>,
    /// The place of everything that nobody set.
    pub(crate) span: Span,
}

impl Defaults<'_> {
    /// Fills in what is left out. False if there is nowhere to keep the state.
    pub(crate) fn fill<'s>(&self, root: &mut DeTable<'s>, keys: &'s [KeyDoc]) -> bool {
        let said = root.get("cluster").and_then(|cluster| cluster.get_ref().get("state"));
        let said = said.and_then(|state| state.get_ref().as_str()).map(PathBuf::from);
        let own_state = said.is_some() || self.state.is_some();
        let Some(state) =
            said.or_else(|| self.state.map(Path::to_owned)).or_else(|| self.surroundings.state())
        else {
            return false;
        };
        let socket = if self.surroundings.root && !own_state {
            PathBuf::from("/run/berth/berth.sock")
        } else {
            state.join("berth.sock")
        };
        let mode = if self.surroundings.root { "0666" } else { "0600" };
        let special = |path: &str| match path {
            "cluster.state" => Some(state.to_string_lossy().into_owned()),
            "server.socket" => Some(socket.to_string_lossy().into_owned()),
            "server.socket-mode" => Some(mode.to_owned()),
            _ => None,
        };
        self.table(root, "", keys, &|path, key| match (special(path), &key.default) {
            (Some(text), _) => Some(tree::text(text, self.span.clone())),
            (None, Some(default)) => self.read(default, &state),
            (None, None) => None,
        });
        true
    }

    fn read<'s>(&self, default: &'s str, state: &Path) -> Option<Node<'s>> {
        let mut node = tree::read_default(default, &self.span)?;
        if let DeValue::String(text) = node.get_mut()
            && let Some(rest) = text.strip_prefix(STATE)
        {
            *text = state.join(rest.trim_start_matches('/')).to_string_lossy().into_owned().into();
        }
        Some(node)
    }

    fn table<'s>(
        &self,
        table: &mut DeTable<'s>,
        path: &str,
        keys: &'s [KeyDoc],
        default: &dyn Fn(&str, &'s KeyDoc) -> Option<Node<'s>>,
    ) {
        for key in keys {
            let whole = if path.is_empty() { key.name.clone() } else { format!("{path}.{}", key.name) };
            if !table.contains_key(key.name.as_str()) {
                let value = match &key.kind {
                    KeyKind::Table(_) | KeyKind::Kinds { .. } => Some(self.empty_table()),
                    _ => default(&whole, key),
                };
                let Some(value) = value else { continue };
                table.insert(tree::name(&key.name, self.span.clone()), value);
            }
            match (table.get_mut(key.name.as_str()).map(Spanned::get_mut), &key.kind) {
                (Some(DeValue::Table(inner)), KeyKind::Table(keys)) => {
                    self.table(inner, &whole, keys, default)
                }
                (Some(DeValue::Table(inner)), KeyKind::Kinds { common, .. }) => {
                    self.executors(inner, &whole, common, default);
                }
                (Some(DeValue::Array(array)), KeyKind::List(item)) => {
                    let KeyKind::Table(keys) = &**item else { continue };
                    for one in array.iter_mut() {
                        let DeValue::Table(inner) = one.get_mut() else { continue };
                        self.table(inner, &whole, keys, default);
                    }
                }
                _ => {}
            }
        }
    }

    fn executors<'s>(
        &self,
        executors: &mut DeTable<'s>,
        path: &str,
        common: &'s [KeyDoc],
        default: &dyn Fn(&str, &'s KeyDoc) -> Option<Node<'s>>,
    ) {
        if executors.is_empty() {
            executors.insert(tree::name("local", self.span.clone()), self.empty_table());
        }
        for (name, executor) in executors.iter_mut() {
            let DeValue::Table(table) = executor.get_mut() else { continue };
            if !table.contains_key("kind") {
                let kind = tree::text(name.get_ref().to_string(), self.span.clone());
                table.insert(tree::name("kind", self.span.clone()), kind);
            }
            self.table(table, path, common, default);
        }
    }

    fn empty_table<'s>(&self) -> Node<'s> {
        Spanned::new(self.span.clone(), DeValue::Table(DeTable::default()))
    }
}
