//! Which images a site lets jobs run in.

use crate::{ImageError, ImageRef, Prefix};

/// What a site says of images.
#[derive(Clone, Debug)]
pub struct ImageRules {
    /// What a job runs in that names no image; without it such a job is refused.
    pub default: Option<ImageRef>,
    /// Images that are offered to everybody.
    pub offered: Vec<ImageRef>,
    /// Whether users may name others than those that are offered.
    pub others: bool,
    /// Patterns with `*` of those others; everything where there are none.
    pub allow: Vec<String>,
    /// A private registry that stands before every name.
    pub prefix: Option<Prefix>,
}

impl Default for ImageRules {
    /// Any image, as long as the job names one.
    fn default() -> Self {
        Self { default: None, offered: Vec::new(), others: true, allow: Vec::new(), prefix: None }
    }
}

/// Why a job has no image to run in. None of it goes away by itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageRefused {
    /// Neither the job nor the site names one.
    #[error("it names no image, and a container needs one")]
    None,
    /// What it names is none.
    #[error(transparent)]
    Form(#[from] ImageError),
    /// The site does not want it.
    #[error("image {image} is not one that the site allows")]
    NotAllowed {
        /// Its full name.
        image: String,
    },
}

impl ImageRules {
    /// The image that a job runs in: the one that it names, or the site's. By the name that people use for
    /// it, without the private registry.
    ///
    /// # Errors
    /// When there is none, or the site does not allow it.
    pub fn choose(&self, named: Option<&str>) -> Result<ImageRef, ImageRefused> {
        let image: ImageRef = match named.map(str::trim).filter(|name| !name.is_empty()) {
            Some(name) => name.parse()?,
            None => return self.default.clone().ok_or(ImageRefused::None),
        };
        let full = image.full();
        match self.is_offered(&full) || self.others && self.is_allowed(&full) {
            true => Ok(image),
            false => Err(ImageRefused::NotAllowed { image: full }),
        }
    }

    /// The name that an engine is asked for: with the private registry, where there is one.
    ///
    /// # Errors
    /// When both together are no name.
    pub fn in_registry(&self, image: &ImageRef) -> Result<ImageRef, ImageError> {
        match &self.prefix {
            Some(prefix) => prefix.apply(image),
            None => Ok(image.clone()),
        }
    }

    /// What people should know of them.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        let names: Vec<String> = self.offered.iter().map(ImageRef::full).collect();
        let alone = if self.others { "" } else { ", and no others" };
        (!names.is_empty()).then(|| format!("images that are offered: {}{alone}", names.join(", ")))
    }

    fn is_offered(&self, full: &str) -> bool {
        self.offered.iter().chain(&self.default).any(|offered| offered.full() == full)
    }

    fn is_allowed(&self, full: &str) -> bool {
        self.allow.is_empty() || self.allow.iter().any(|pattern| matches(pattern, full))
    }
}

/// Whether a pattern with `*` for any text covers this one.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(first) else { return false };
    rest.is_empty() || (0..=text.len()).any(|at| text.get(at..).is_some_and(|tail| matches(rest, tail)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(others: bool, allow: &[&str]) -> ImageRules {
        ImageRules {
            offered: vec!["site/good:1".parse().unwrap(), "site/newest".parse().unwrap()],
            others,
            allow: allow.iter().map(|pattern| (*pattern).to_owned()).collect(),
            ..ImageRules::default()
        }
    }

    #[test]
    fn images_are_what_the_site_allows() {
        for (others, allow, name, allowed) in [
            (true, &[][..], "any/thing", true),
            (false, &[][..], "any/thing", false),
            (false, &[][..], "site/good:1", true),
            (false, &[][..], "site/good:2", false),
            (false, &[][..], "site/newest:latest", true),
            (false, &["*"][..], "any/thing", false),
            (true, &["hub.site/*", "ubuntu:2?.04"][..], "hub.site/a/b:3", true),
            (true, &["*/tools:*"][..], "quay.io/me/tools:7", true),
            (true, &["hub.site/*"][..], "ubuntu", false),
            (true, &["hub.site/*"][..], "site/good:1", true),
        ] {
            let image = rules(others, allow).choose(Some(name));
            assert_eq!(image.is_ok(), allowed, "{name} with {others} and {allow:?}: {image:?}");
        }
    }

    #[test]
    fn what_is_offered_is_told() {
        let told = |others| rules(others, &[]).note().unwrap();
        assert_eq!(told(true), "images that are offered: site/good:1, site/newest:latest");
        assert_eq!(told(false), "images that are offered: site/good:1, site/newest:latest, and no others");
        assert_eq!(ImageRules::default().note(), None);
    }

    #[test]
    fn a_job_without_an_image_gets_the_sites_whatever_else_is_allowed() {
        let mut rules = rules(false, &[]);
        for unnamed in [None, Some(" ")] {
            assert_eq!(rules.choose(unnamed), Err(ImageRefused::None));
        }
        rules.default = Some("site/usual".parse().unwrap());
        for named in [None, Some(""), Some("site/usual:latest")] {
            assert_eq!(rules.choose(named).unwrap().full(), "site/usual:latest");
        }
    }

    #[test]
    fn the_private_registry_stands_only_before_the_name_that_the_engine_hears() {
        let mut rules = rules(true, &["ubuntu*"]);
        let image = rules.choose(Some("ubuntu")).unwrap();
        assert_eq!(rules.in_registry(&image).unwrap(), image);
        rules.prefix = Some("hub.site:5000".parse().unwrap());
        let image = rules.choose(Some("ubuntu")).unwrap();
        assert_eq!(image.full(), "ubuntu:latest");
        assert_eq!(rules.in_registry(&image).unwrap().full(), "hub.site:5000/ubuntu:latest");
    }
}
