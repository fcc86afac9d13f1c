//! What the file may say: keys with their kinds and words, and the plugins that there are.

/// One key of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyDoc {
    /// As it is written in the file.
    pub name: String,
    /// One or more sentences for people.
    pub about: String,
    /// What it takes.
    pub kind: KeyKind,
    /// What holds when it is left out, as TOML; `None` when nothing does.
    pub default: Option<String>,
    /// What it was called before. Still understood, with a warning.
    pub formerly: Vec<String>,
    /// Whether its table makes no sense without it.
    pub required: bool,
}

impl KeyDoc {
    /// An optional key without a default.
    #[must_use]
    pub fn new(name: &str, kind: KeyKind, about: &str) -> Self {
        Self {
            name: name.to_owned(),
            about: about.to_owned(),
            kind,
            default: None,
            formerly: Vec::new(),
            required: false,
        }
    }

    /// With what holds when it is left out, as TOML. For a plugin's key this is documentation: what is
    /// left out does not reach the plugin.
    #[must_use]
    pub fn or(mut self, default: &str) -> Self {
        self.default = Some(default.to_owned());
        self
    }

    /// With a name that it had in an earlier version.
    #[must_use]
    pub fn formerly(mut self, name: &str) -> Self {
        self.formerly.push(name.to_owned());
        self
    }

    /// Refuses its table without it.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }
}

/// What a key takes.
#[derive(Clone, Debug, PartialEq)]
pub enum KeyKind {
    /// Any text.
    Text,
    /// One of these texts.
    Choice(Vec<String>),
    /// True or false.
    Flag,
    /// A whole number between two others, both included.
    Whole(i64, i64),
    /// A number, with or without a fraction.
    Number,
    /// Bytes: `"512M"`, `"2G"` or a bare number, within these bounds.
    Size(Bounds),
    /// Bytes on a disk, where letters are powers of 1000: `"500m"`, `"2g"`, or a bare number.
    DiskSize,
    /// A time span in milliseconds: `"90s"`, `"1h30m"` or a bare number of seconds, within these bounds.
    Duration(Bounds),
    /// CPUs: `2`, `0.5`, `"500m"`.
    Cpus,
    /// Permission bits: `"0660"` or `0o660`.
    Mode,
    /// A path. A relative one starts at the folder of the file that says it.
    Path,
    /// A path whose folder must exist.
    File,
    /// A directory that must exist.
    Directory,
    /// Several of the same.
    List(Box<KeyKind>),
    /// A table with these keys.
    Table(Vec<KeyDoc>),
    /// A table of tables under names that the site chooses; what such a table may hold depends on its
    /// `kind`, or on its name where it has none.
    Kinds {
        /// The keys of every one.
        common: Vec<KeyDoc>,
        /// The kinds, each with keys of its own.
        kinds: Vec<ExecutorKind>,
    },
    /// A table that is nobody's business here, such as a policy's settings.
    Open,
}

impl KeyKind {
    /// Any size.
    #[must_use]
    pub fn size() -> Self {
        Self::Size(Bounds::default())
    }

    /// Any duration.
    #[must_use]
    pub fn duration() -> Self {
        Self::Duration(Bounds::default())
    }

    /// Any number from zero on.
    #[must_use]
    pub fn count() -> Self {
        Self::Whole(0, i64::MAX)
    }

    /// One of these texts.
    #[must_use]
    pub fn one_of(choices: &[&str]) -> Self {
        Self::Choice(choices.iter().map(|&choice| choice.to_owned()).collect())
    }

    /// Whether it is written as a text, even if it looks like something else.
    pub(crate) fn is_textual(&self) -> bool {
        use KeyKind as K;
        matches!(
            self,
            K::Text
                | K::Choice(_)
                | K::Size(_)
                | K::DiskSize
                | K::Duration(_)
                | K::Cpus
                | K::Mode
                | K::Path
                | K::File
                | K::Directory
        )
    }
}

/// The least and the most that a quantity may be, as people write them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// `None` for no bound, which is zero.
    pub least: Option<String>,
    /// `None` for no bound.
    pub most: Option<String>,
}

/// A kind of executor that the binary has.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecutorKind {
    /// What `kind = ` says.
    pub name: String,
    /// One line for people.
    pub about: String,
    /// The keys of its table beside those that every executor has.
    pub keys: Vec<KeyDoc>,
}

/// One of the kinds of policies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyKind {
    /// The policies that ship with Berth.
    pub shipped: Vec<String>,
    /// What policies of this kind may be granted.
    pub capabilities: Vec<String>,
}

impl PolicyKind {
    /// From literals.
    #[must_use]
    pub fn new(shipped: &[&str], capabilities: &[&str]) -> Self {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Self { shipped: owned(shipped), capabilities: owned(capabilities) }
    }
}

/// The plugins that the binary has. This crate names none itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KnownPlugins {
    /// Kinds of executors.
    pub executors: Vec<ExecutorKind>,
    /// Scheduler policies.
    pub scheduler: PolicyKind,
    /// Auth policies.
    pub auth: PolicyKind,
    /// Watcher policies.
    pub watcher: PolicyKind,
    /// Network policies.
    pub network: PolicyKind,
    /// Filters of what is submitted.
    pub admit: PolicyKind,
}
