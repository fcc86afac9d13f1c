//! What is remembered of images: which ones Berth pulled, when they were last used, and whose they are.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use berth_executor_api::UtcMs;
use serde::{Deserialize, Serialize};

/// The form of the file.
const VERSION: u32 = 1;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Image {
    /// Jobs that used it.
    pub uses: u64,
    /// The last time.
    pub used: UtcMs,
    /// When Berth pulled it; `None` where it was there already: such are never thrown away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulled: Option<UtcMs>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    pub images: BTreeMap<String, Image>,
    /// Contents, by the engine's own name for them, that came by users' own logins only, with the users who
    /// were given them; see [`super::private`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub private: BTreeMap<String, BTreeSet<u32>>,
    /// Names that are being pulled with a user's own login, with the content that each had before.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub begun: BTreeMap<String, Option<String>>,
}

impl Default for Record {
    fn default() -> Self {
        Self { version: VERSION, images: BTreeMap::new(), private: BTreeMap::new(), begun: BTreeMap::new() }
    }
}

impl Record {
    /// From its file; empty where there is none. One that makes no sense is set aside: then no image counts
    /// as pulled, and none is thrown away.
    ///
    /// # Errors
    /// When it cannot be read; also when it makes no sense and could say `whose` images are.
    pub fn read(file: &Path, whose: bool) -> io::Result<Self> {
        let json = match fs::read(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            json => json?,
        };
        serde_json::from_slice(&json).or_else(|error| {
            if whose {
                let words = format!(
                    "{} makes no sense, and nobody knows whose images are whose; remove the images that were \
                     pulled with users' own logins, and then that file: {error}",
                    file.display()
                );
                return Err(io::Error::new(io::ErrorKind::InvalidData, words));
            }
            let aside = file.with_extension("broken");
            tracing::warn!(path = %file.display(), error = %error, "the record of images cannot be read");
            fs::rename(file, aside).map(|()| Self::default())
        })
    }

    pub fn to_json(&self) -> io::Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(io::Error::other)
    }

    pub fn used(&mut self, name: &str) {
        let image = self.images.entry(name.to_owned()).or_default();
        image.uses += 1;
        image.used = now();
    }

    pub fn pulled(&mut self, name: &str) {
        let image = self.images.entry(name.to_owned()).or_default();
        image.pulled = Some(now());
        image.used = now();
    }

    /// It is gone from the engine.
    pub fn gone(&mut self, name: &str) {
        if let Some(image) = self.images.get_mut(name) {
            image.pulled = None;
        }
    }

    /// Those that Berth pulled, the least recently used one first.
    pub fn pulled_oldest_first(&self) -> Vec<String> {
        let mut all: Vec<_> = self.images.iter().filter(|(_, image)| image.pulled.is_some()).collect();
        all.sort_by_key(|(name, image)| (image.used, *name));
        all.into_iter().map(|(name, _)| name.clone()).collect()
    }
}

fn now() -> UtcMs {
    UtcMs(0).after(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Whole or not at all.
pub(super) fn replace(file: &Path, json: &[u8]) -> io::Result<()> {
    let draft = file.with_extension("new");
    let mut written = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    written.write_all(json)?;
    written.sync_data()?;
    fs::rename(&draft, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_survives_and_a_broken_one_makes_no_image_ours() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("images.json");
        assert_eq!(Record::read(&file, false).unwrap(), Record::default());
        let mut record = Record::default();
        record.pulled("a:1");
        record.used("foreign:1");
        record.private.insert("sha256:0".into(), [1234].into());
        record.begun.insert("a:2".into(), None);
        replace(&file, &record.to_json().unwrap()).unwrap();
        assert_eq!(Record::read(&file, false).unwrap(), record);
        fs::write(&file, "{\"version\":").unwrap();
        assert!(Record::read(&file, true).unwrap_err().to_string().contains("whose"));
        assert_eq!(Record::read(&file, false).unwrap(), Record::default());
        assert!(folder.path().join("images.broken").exists());
    }

    #[test]
    fn only_what_berth_pulled_can_go_and_the_longest_unused_first() {
        let mut record = Record::default();
        for (name, used, pulled) in
            [("new", 9, true), ("foreign", 1, false), ("old", 3, true), ("older", 2, true)]
        {
            let pulled = pulled.then_some(UtcMs(1));
            record.images.insert(name.into(), Image { uses: 1, used: UtcMs(used), pulled });
        }
        assert_eq!(record.pulled_oldest_first(), ["older", "old", "new"]);
        record.gone("older");
        assert_eq!(record.pulled_oldest_first(), ["old", "new"]);
    }
}
