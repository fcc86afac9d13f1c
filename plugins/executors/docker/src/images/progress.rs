//! How far a pull is, in words.

use std::collections::BTreeMap;

use berth_docker_engine::bollard::models::CreateImageInfo;
use berth_model::format_bytes;

#[derive(Clone, Copy, Debug, Default)]
struct Layer {
    done: bool,
    current: u64,
    total: u64,
}

/// The layers of one image.
#[derive(Debug)]
pub(super) struct Progress {
    name: String,
    layers: BTreeMap<String, Layer>,
    /// By which the registry knows what it gave.
    pub digest: Option<String>,
}

impl Progress {
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), layers: BTreeMap::new(), digest: None }
    }

    /// Takes note of a line of the engine's.
    pub fn note(&mut self, line: &CreateImageInfo) {
        if let Some(digest) = line.status.as_deref().and_then(|status| status.strip_prefix("Digest: ")) {
            self.digest = Some(digest.to_owned());
        }
        let (Some(id), Some(status)) = (&line.id, &line.status) else { return };
        // "Pulling from", with the tag as its id, is about no layer.
        if status.starts_with("Pulling from") {
            return;
        }
        let layer = self.layers.entry(id.clone()).or_default();
        layer.done |= matches!(status.as_str(), "Pull complete" | "Already exists");
        if let (Some(detail), true) = (&line.progress_detail, status == "Downloading") {
            let bytes = |amount: Option<i64>| amount.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0);
            (layer.current, layer.total) = (bytes(detail.current), bytes(detail.total));
        }
        if status == "Download complete" || layer.done {
            layer.current = layer.total;
        }
    }

    /// For people.
    pub fn words(&self) -> String {
        let Self { name, layers, .. } = self;
        if layers.is_empty() {
            return format!("pulling image {name}");
        }
        let done = layers.values().filter(|layer| layer.done).count();
        let sum = |of: fn(&Layer) -> u64| layers.values().map(of).sum::<u64>();
        let (current, total) = (sum(|layer| layer.current), sum(|layer| layer.total));
        let bytes = match total {
            0 => String::new(),
            total => format!(", {} of {}", format_bytes(current), format_bytes(total)),
        };
        format!("pulling image {name}: {done} of {} layers{bytes}", layers.len())
    }
}

#[cfg(test)]
mod tests {
    use berth_docker_engine::bollard::models::ProgressDetail;

    use super::*;

    fn line(id: &str, status: &str, detail: Option<(i64, i64)>) -> CreateImageInfo {
        CreateImageInfo {
            id: Some(id.into()),
            status: Some(status.into()),
            progress_detail: detail
                .map(|(current, total)| ProgressDetail { current: Some(current), total: Some(total) }),
            ..CreateImageInfo::default()
        }
    }

    #[test]
    fn a_pull_is_told_by_layers_and_bytes() {
        let mut progress = Progress::new("a:1");
        assert_eq!(progress.words(), "pulling image a:1");
        for line in [
            line("1", "Pulling from a", None),
            line("aaa", "Already exists", None),
            line("bbb", "Pulling fs layer", None),
            line("bbb", "Downloading", Some((1 << 20, 4 << 20))),
        ] {
            progress.note(&line);
        }
        assert_eq!(progress.words(), "pulling image a:1: 1 of 2 layers, 1M of 4M");
        progress.note(&line("bbb", "Download complete", None));
        progress.note(&line("bbb", "Pull complete", None));
        assert_eq!(progress.words(), "pulling image a:1: 2 of 2 layers, 4M of 4M");
    }
}
