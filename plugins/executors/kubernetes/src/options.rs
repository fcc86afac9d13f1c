//! Options of this executor in a job's extension keys.

use std::collections::BTreeMap;

/// The keys that are understood. Where auth does not grant one, it never comes here.
pub const KEYS: [&str; 8] = [
    "kubernetes.secrets",
    "kubernetes.config-maps",
    "kubernetes.claims",
    "kubernetes.node-selector",
    "kubernetes.tolerations",
    "kubernetes.resources",
    "kubernetes.priority-class",
    "kubernetes.runtime-class",
];

/// A taint that is tolerated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toleration {
    /// The taint's key.
    pub key: String,
    /// Its value; any where `None`.
    pub value: Option<String>,
    /// What it does, such as `NoSchedule`; anything where `None`.
    pub effect: Option<String>,
}

/// Something in the namespace that is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mounted {
    pub name: String,
    pub path: String,
    pub read_only: bool,
}

/// The options of one job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub secrets: Vec<Mounted>,
    pub config_maps: Vec<Mounted>,
    pub claims: Vec<Mounted>,
    pub node_selector: BTreeMap<String, String>,
    pub tolerations: Vec<Toleration>,
    /// Further resources: how many of each.
    pub resources: BTreeMap<String, u64>,
    pub priority_class: Option<String>,
    pub runtime_class: Option<String>,
}

/// What a job asks for that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// Nobody knows the key.
    #[error("the kubernetes executor knows no option {key:?}; it knows {}", KEYS.join(", "))]
    Unknown {
        /// As it was written.
        key: String,
    },
    /// The value does not have the form.
    #[error("{key}: {part:?} is no {what}")]
    Form {
        /// Of which key.
        key: String,
        /// As it was written.
        part: String,
        /// What it should be.
        what: &'static str,
    },
}

/// Reads the extension keys of a job.
pub(crate) fn parse(extensions: &BTreeMap<String, String>) -> Result<Options, OptionsError> {
    let mut options = Options::default();
    for (key, value) in extensions {
        let reader = Reader { key, value };
        match key.as_str() {
            "kubernetes.secrets" => options.secrets = reader.mounted()?,
            "kubernetes.config-maps" => options.config_maps = reader.mounted()?,
            "kubernetes.claims" => options.claims = reader.mounted()?,
            "kubernetes.node-selector" => options.node_selector = reader.pairs()?.into_iter().collect(),
            "kubernetes.tolerations" => options.tolerations = reader.tolerations()?,
            "kubernetes.resources" => options.resources = reader.counts()?,
            "kubernetes.priority-class" => options.priority_class = reader.one_name()?,
            "kubernetes.runtime-class" => options.runtime_class = reader.one_name()?,
            _ => return Err(OptionsError::Unknown { key: key.clone() }),
        }
    }
    Ok(options)
}

impl Toleration {
    /// Reads `key=value:Effect`, of which value and effect may be left out.
    ///
    /// # Errors
    /// When it has not that form.
    pub fn parse(text: &str) -> Result<Self, OptionsError> {
        Reader { key: "toleration", value: text }.toleration(text.trim())
    }
}

struct Reader<'a> {
    key: &'a str,
    value: &'a str,
}

impl<'a> Reader<'a> {
    fn parts(&self) -> impl Iterator<Item = &'a str> {
        self.value.split(',').map(str::trim).filter(|part| !part.is_empty())
    }

    fn wrong(&self, part: &str, what: &'static str) -> OptionsError {
        OptionsError::Form { key: self.key.to_owned(), part: part.to_owned(), what }
    }

    fn mounted(&self) -> Result<Vec<Mounted>, OptionsError> {
        self.parts().map(|part| self.one_mounted(part)).collect()
    }

    fn one_mounted(&self, part: &str) -> Result<Mounted, OptionsError> {
        let wrong = || self.wrong(part, "name and path (name:/path or name:/path:ro)");
        let mut fields = part.split(':');
        let (name, path) = (fields.next().unwrap_or_default(), fields.next().ok_or_else(wrong)?);
        let read_only = match (fields.next(), fields.next()) {
            (None, _) => false,
            (Some("ro"), None) => true,
            _ => return Err(wrong()),
        };
        let inside = path.starts_with('/') && path.len() > 1 && !path.split('/').any(|part| part == "..");
        match is_name(name) && inside {
            true => Ok(Mounted { name: name.to_owned(), path: path.to_owned(), read_only }),
            false => Err(wrong()),
        }
    }

    fn pairs(&self) -> Result<Vec<(String, String)>, OptionsError> {
        let one = |part: &str| match part.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                Ok((key.trim().to_owned(), value.trim().to_owned()))
            }
            _ => Err(self.wrong(part, "label and value (label=value)")),
        };
        self.parts().map(one).collect()
    }

    fn counts(&self) -> Result<BTreeMap<String, u64>, OptionsError> {
        let one = |(name, count): (String, String)| {
            // Those without a domain are Kubernetes' own, and Berth keeps books about them.
            match (name.contains('/'), count.parse()) {
                (true, Ok(count)) => Ok((name, count)),
                _ => Err(self.wrong(&format!("{name}={count}"), "resource (example.org/name=number)")),
            }
        };
        self.pairs()?.into_iter().map(one).collect()
    }

    fn tolerations(&self) -> Result<Vec<Toleration>, OptionsError> {
        self.parts().map(|part| self.toleration(part)).collect()
    }

    fn toleration(&self, part: &str) -> Result<Toleration, OptionsError> {
        let (taint, effect) = match part.split_once(':') {
            Some((taint, effect)) => (taint, Some(effect)),
            None => (part, None),
        };
        let known =
            effect.is_none_or(|effect| matches!(effect, "NoSchedule" | "PreferNoSchedule" | "NoExecute"));
        let (key, value) = match taint.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (taint, None),
        };
        match known && !key.is_empty() {
            true => Ok(Toleration { key: key.to_owned(), value, effect: effect.map(str::to_owned) }),
            false => Err(self.wrong(part, "toleration (key=value:NoSchedule)")),
        }
    }

    fn one_name(&self) -> Result<Option<String>, OptionsError> {
        let name = self.value.trim();
        match (name.is_empty(), is_name(name)) {
            (true, _) => Ok(None),
            (false, true) => Ok(Some(name.to_owned())),
            (false, false) => Err(self.wrong(name, "name")),
        }
    }
}

fn is_name(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
    !text.is_empty() && text.len() <= 253 && text.bytes().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(key: &str, value: &str) -> Result<Options, OptionsError> {
        parse(&BTreeMap::from([(format!("kubernetes.{key}"), value.to_owned())]))
    }

    #[test]
    fn lists_are_read() {
        let mounted =
            |name: &str, path: &str, read_only| Mounted { name: name.into(), path: path.into(), read_only };
        assert_eq!(
            of("secrets", "a:/run/a, b:/b").unwrap().secrets,
            [mounted("a", "/run/a", false), mounted("b", "/b", false)]
        );
        assert_eq!(of("claims", "data:/data:ro").unwrap().claims, [mounted("data", "/data", true)]);
        assert_eq!(of("node-selector", "disk=ssd,x.org/y=").unwrap().node_selector["x.org/y"], "");
        assert_eq!(of("resources", "x.org/fpga=2").unwrap().resources["x.org/fpga"], 2);
        assert_eq!(of("priority-class", " low ").unwrap().priority_class.as_deref(), Some("low"));
        let tolerations = of("tolerations", "a=b:NoSchedule,c").unwrap().tolerations;
        let wanted = [
            Toleration { key: "a".into(), value: Some("b".into()), effect: Some("NoSchedule".into()) },
            Toleration { key: "c".into(), value: None, effect: None },
        ];
        assert_eq!(tolerations, wanted);
    }

    #[test]
    fn what_is_not_understood_is_refused_with_the_word() {
        for (key, value, word) in [
            ("sekrets", "a:/a", "kubernetes.sekrets"),
            ("secrets", "a", "a"),
            ("secrets", "a:b", "a:b"),
            ("secrets", "../x:/b", "../x:/b"),
            ("claims", "a:/b/../c", "a:/b/../c"),
            ("claims", "a:/b:rw", "a:/b:rw"),
            ("node-selector", "disk", "disk"),
            ("tolerations", "a:Sometimes", "a:Sometimes"),
            ("resources", "cpu=2", "cpu=2"),
            ("resources", "x.org/y=-1", "x.org/y=-1"),
            ("priority-class", "a b", "a b"),
        ] {
            let error = of(key, value).unwrap_err().to_string();
            assert!(error.contains(word), "{key}={value}: {error}");
        }
    }
}
