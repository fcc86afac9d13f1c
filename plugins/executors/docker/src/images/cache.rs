//! Making room: images that Berth pulled go, least recently used first, while they take more than is set.

use std::collections::{HashMap, HashSet};

use berth_docker_engine::{
    Engine, EngineError,
    bollard::{
        models::ImageSummary,
        query_parameters::{ListContainersOptions, ListImagesOptions, RemoveImageOptions},
    },
};

use super::Images;

impl Images {
    /// Throws away what is over the budget. What cannot be removed stays, and is tried another time.
    pub async fn make_room(&self, engine: &Engine) -> Result<(), EngineError> {
        let Some(budget) = self.settings.cache_bytes else { return Ok(()) };
        let Some(docker) = engine.connected() else { return Ok(()) };
        if self.lock().record.pulled_oldest_first().is_empty() {
            return Ok(());
        }
        let there = engine.answer(docker.list_images(None::<ListImagesOptions>)).await?;
        let all = ListContainersOptions { all: true, ..ListContainersOptions::default() };
        let containers = engine.answer(docker.list_containers(Some(all))).await?;
        let in_use: HashSet<String> =
            containers.into_iter().filter_map(|container| container.image_id).collect();
        for name in self.too_much(budget, &there, &in_use) {
            match engine.answer(docker.remove_image(&name, None::<RemoveImageOptions>, None)).await {
                Ok(_) => tracing::info!(image = name, "image removed to make room"),
                Err(error) if error.is_missing() => {}
                Err(error) => {
                    tracing::warn!(image = name, error = %error, "an image cannot be removed to make room");
                    continue;
                }
            }
            let mut state = self.lock();
            state.record.gone(&name);
            state.seen.remove(&name);
            state.news = true;
        }
        Ok(())
    }

    /// The names of those that have to go.
    fn too_much(&self, budget: u64, there: &[ImageSummary], in_use: &HashSet<String>) -> Vec<String> {
        let by_name: HashMap<&str, &ImageSummary> = there
            .iter()
            .flat_map(|image| {
                image.repo_tags.iter().chain(&image.repo_digests).map(move |name| (name.as_str(), image))
            })
            .collect();
        let mut state = self.lock();
        let ours = state.record.pulled_oldest_first();
        // Removed by someone else.
        for name in ours.iter().filter(|name| !by_name.contains_key(name.as_str())) {
            state.record.gone(name);
            state.news = true;
        }
        let images: Vec<(&String, &ImageSummary)> =
            ours.iter().filter_map(|name| Some((name, *by_name.get(name.as_str())?))).collect();
        let ids: HashMap<&str, u64> = images
            .iter()
            .map(|(_, image)| (image.id.as_str(), u64::try_from(image.size).unwrap_or(0)))
            .collect();
        let mut total: u64 = ids.values().sum();
        let mut gone = Vec::new();
        for (name, image) in images {
            if total <= budget {
                break;
            }
            if in_use.contains(&image.id) || state.wanted.contains_key(name) {
                continue;
            }
            total = total.saturating_sub(u64::try_from(image.size).unwrap_or(0));
            gone.push(name.clone());
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::ImageSettings, images::record::Image};
    use berth_executor_api::UtcMs;

    fn image(name: &str, size: i64) -> ImageSummary {
        ImageSummary {
            id: format!("id-{name}"),
            repo_tags: vec![name.into()],
            size,
            ..ImageSummary::default()
        }
    }

    #[test]
    fn the_least_recently_used_go_until_the_rest_fits_and_none_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let images = Images::open(ImageSettings::default(), folder.path().join("images.json")).unwrap();
        for (used, name) in ["busy:1", "wanted:1", "old:1", "new:1", "gone:1"].into_iter().enumerate() {
            let image = Image { uses: 1, used: UtcMs(used as u64), pulled: Some(UtcMs(0)) };
            images.lock().record.images.insert(name.into(), image);
        }
        images.lock().record.used("foreign:1");
        let there = ["busy:1", "wanted:1", "old:1", "new:1", "foreign:1"].map(|name| image(name, 100));
        let in_use = HashSet::from(["id-busy:1".to_owned()]);
        let wanted = images.want(&"wanted:1".parse().unwrap());
        assert_eq!(images.too_much(400, &there, &in_use), Vec::<String>::new());
        assert_eq!(images.too_much(399, &there, &in_use), ["old:1"]);
        assert_eq!(images.too_much(0, &there, &in_use), ["old:1", "new:1"]);
        drop(wanted);
        assert_eq!(images.too_much(300, &there, &in_use), ["wanted:1"]);
    }
}
