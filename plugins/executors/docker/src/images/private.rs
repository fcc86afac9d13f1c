//! Whose images are whose: what came with a user's own login is given to nobody else.
//!
//! A registry decides who gets an image, and it is asked once only. So of each content that a user's own login has
//! brought it is noted which users the registry has given it to; anybody else's job has it asked again, which is
//! cheap, since the layers are there. It is noted by content and not by name: contents can be reached under many
//! names, and by parts of their digests.

use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

use berth_docker_engine::{Engine, ImageRef, bollard::query_parameters::ListImagesOptions};

use super::{Failure, Got, Images, State, away_or_never};

/// How much longer a pull that was given up may go on in the engine.
const LINGERS: Duration = Duration::from_secs(10);

/// Whether a user may have what is there without a registry being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// They may.
    Theirs,
    /// A registry has given it to others only.
    Others,
    /// It may have come with a pull of which nobody has heard yet.
    Unclear,
}

/// A pull with a user's own login of which it is not known what it brings.
pub(super) struct Begun {
    full: String,
    before: Before,
    /// When it was given up.
    left: Option<Instant>,
}

/// What the engine had before a pull.
enum Before {
    /// All contents.
    All(HashSet<String>),
    /// The content of the name alone: the pull is of an earlier process.
    Named(Option<String>),
}

impl Begun {
    fn had(&self, id: &str) -> bool {
        match &self.before {
            Before::All(ids) => ids.contains(id),
            Before::Named(named) => named.as_deref() == Some(id),
        }
    }

    /// It may carry the name, or none yet.
    fn may_have_brought(&self, got: &Got) -> bool {
        let own = last_part(&self.full);
        matches!(self.before, Before::All(_))
            && !self.had(&got.id)
            && (got.names.is_empty() || got.names.iter().any(|name| last_part(name) == own))
    }
}

/// Of an image's name; the engine writes what comes before it in more than one way.
fn last_part(name: &str) -> &str {
    let name = name.split('@').next().unwrap_or(name);
    let name = name.rsplit('/').next().unwrap_or(name);
    name.split(':').next().unwrap_or(name)
}

/// Those of an earlier process.
pub(super) fn left_over(begun: &BTreeMap<String, Option<String>>) -> Vec<Begun> {
    let left = Some(Instant::now());
    let one = |(full, id): (&String, &Option<String>)| Begun {
        full: full.clone(),
        before: Before::Named(id.clone()),
        left,
    };
    begun.iter().map(one).collect()
}

/// A user's own pull, under way. Dropped without a word, it was given up.
pub(super) struct OwnPull<'a> {
    images: &'a Images,
    number: u64,
    uid: u32,
}

impl Drop for OwnPull<'_> {
    fn drop(&mut self) {
        if let Some(begun) = self.images.lock().begun.get_mut(&self.number) {
            begun.left = Some(Instant::now());
        }
    }
}

impl OwnPull<'_> {
    /// The registry has given this to the user.
    pub fn brought(self, id: &str) {
        let mut state = self.images.lock();
        let had = state.begun.get(&self.number).is_some_and(|begun| begun.had(id));
        let known = state.record.private.contains_key(id);
        if !known && (had || state.for_all.contains(id)) {
            state.for_all.insert(id.to_owned());
        } else {
            state.record.private.entry(id.to_owned()).or_default().insert(self.uid);
        }
        state.over(self.number);
    }

    /// The engine has said that there was nothing to be had.
    pub fn brought_nothing(self) {
        self.images.lock().over(self.number);
    }
}

impl State {
    /// Of this pull everything is known.
    fn over(&mut self, number: u64) {
        let Some(begun) = self.begun.remove(&number) else { return };
        if self.begun.values().all(|other| other.full != begun.full) {
            self.record.begun.remove(&begun.full);
        }
        self.news = true;
    }
}

impl Images {
    /// Whose this is, as seen by a user.
    pub(super) fn whose(&self, got: &Got, uid: u32) -> Whose {
        let state = self.lock();
        match state.record.private.get(&got.id) {
            Some(users) if users.contains(&uid) => Whose::Theirs,
            Some(_) => Whose::Others,
            None if state.for_all.contains(&got.id) => Whose::Theirs,
            None if state.begun.values().any(|begun| begun.may_have_brought(got)) => Whose::Unclear,
            None => Whose::Theirs,
        }
    }

    /// Whether containers have to be made of contents instead of names: under a name there may be something else a
    /// moment later, and somebody else's.
    pub fn by_contents(&self) -> bool {
        self.settings.registries.user_logins || !self.lock().record.private.is_empty()
    }

    /// Notes that a pull with a user's own login begins, before it does: should nobody be there when it ends, what
    /// it has brought is for nobody until it is asked for again.
    pub(super) async fn begin_own(
        &self,
        engine: &Engine,
        name: &ImageRef,
        uid: u32,
    ) -> Result<OwnPull<'_>, Failure> {
        let full = name.full();
        let docker = engine.docker().await.map_err(|error| Failure::Away(error.to_string()))?;
        let there = self.look(engine, &full).await?.map(|got| got.id);
        let all = engine.answer(docker.list_images(None::<ListImagesOptions>)).await;
        let all = all.map_err(|error| away_or_never(&error))?;
        let before = Before::All(all.into_iter().map(|image| image.id).collect());
        let own = {
            let mut state = self.lock();
            state.record.begun.entry(full.clone()).or_insert(there);
            state.news = true;
            state.pulls_begun += 1;
            let number = state.pulls_begun;
            state.begun.insert(number, Begun { full, before, left: None });
            OwnPull { images: self, number, uid }
        };
        let unwritten = |error| format!("the record of images cannot be written: {error}");
        self.save().await.map_err(|error| Failure::NotNow(unwritten(error)))?;
        Ok(own)
    }

    /// A registry has given this to everybody.
    pub(super) fn opened(&self, id: &str) {
        let mut state = self.lock();
        if state.record.private.remove(id).is_some() {
            state.news = true;
        }
        if self.settings.registries.user_logins {
            state.for_all.insert(id.to_owned());
        }
    }

    /// Looks at what pulls have brought that nobody was there for when they ended: given up with their jobs, or
    /// before this process began.
    pub(super) async fn settle(&self, engine: &Engine) -> Result<(), Failure> {
        let left: Vec<(u64, String, bool)> = {
            let state = self.lock();
            let left = |(number, begun): (&u64, &Begun)| {
                Some((*number, begun.full.clone(), begun.left?.elapsed() > LINGERS))
            };
            state.begun.iter().filter_map(left).collect()
        };
        for (number, full, is_over) in left {
            let there = self.look(engine, &full).await?;
            let mut state = self.lock();
            let had = |id: &str| state.begun.get(&number).is_none_or(|begun| begun.had(id));
            if let Some(got) = there.filter(|got| !had(&got.id) && !state.for_all.contains(&got.id)) {
                state.record.private.entry(got.id).or_default();
                state.news = true;
            }
            if is_over {
                state.over(number);
            }
        }
        Ok(())
    }
}

/// Why an image that is there is not used.
pub(super) fn of_others(full: &str) -> String {
    format!("the engine has image {full}, but only by another user's login at its registry")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ImageSettings;

    const ALICE: u32 = 1;
    const BOB: u32 = 2;

    fn images(folder: &tempfile::TempDir) -> Images {
        let mut settings = ImageSettings::default();
        settings.registries.user_logins = true;
        Images::open(settings, folder.path().join("images.json")).unwrap()
    }

    fn got(id: &str) -> Got {
        Got { id: id.into(), digest: id.into(), names: vec!["hub.site/a:1".into()], note: None }
    }

    /// As `begin_own` does, with an engine that has these.
    fn begin<'a>(images: &'a Images, uid: u32, had: &[&str]) -> OwnPull<'a> {
        let full = "hub.site/a:1".to_owned();
        let mut state = images.lock();
        state.record.begun.entry(full.clone()).or_insert(None);
        state.pulls_begun += 1;
        let before = Before::All(had.iter().map(|&id| id.to_owned()).collect());
        let number = state.pulls_begun;
        state.begun.insert(number, Begun { full, before, left: None });
        OwnPull { images, number, uid }
    }

    #[test]
    fn what_a_user_brings_is_for_those_who_were_given_it_until_everybody_is() {
        let folder = tempfile::tempdir().unwrap();
        let images = images(&folder);
        begin(&images, ALICE, &["old"]).brought("new");
        assert_eq!([ALICE, BOB].map(|uid| images.whose(&got("new"), uid)), [Whose::Theirs, Whose::Others]);
        begin(&images, BOB, &["old", "new"]).brought("new");
        assert_eq!([BOB, 3].map(|uid| images.whose(&got("new"), uid)), [Whose::Theirs, Whose::Others]);
        images.opened("new");
        assert_eq!(images.whose(&got("new"), 3), Whose::Theirs);
        // It was everybody's, and does not become a user's by being pulled once more.
        begin(&images, ALICE, &["new"]).brought("new");
        assert_eq!(images.whose(&got("new"), 3), Whose::Theirs);
        assert!(images.lock().record.begun.is_empty());
    }

    #[test]
    fn what_was_there_already_or_came_for_everybody_meanwhile_does_not_become_a_users() {
        let folder = tempfile::tempdir().unwrap();
        let images = images(&folder);
        begin(&images, ALICE, &["old"]).brought("old");
        assert_eq!(images.whose(&got("old"), BOB), Whose::Theirs);
        let pull = begin(&images, ALICE, &[]);
        images.opened("new");
        pull.brought("new");
        assert_eq!(images.whose(&got("new"), BOB), Whose::Theirs);
    }

    #[test]
    fn what_may_have_come_with_a_pull_is_for_nobody_before_that_has_spoken() {
        let folder = tempfile::tempdir().unwrap();
        let images = images(&folder);
        let named =
            |names: &[&str]| Got { names: names.iter().map(|&name| name.into()).collect(), ..got("new") };
        let pull = begin(&images, ALICE, &["old"]);
        for (got, whose) in [
            (got("new"), Whose::Unclear),
            (got("old"), Whose::Theirs),
            (named(&[]), Whose::Unclear),
            (named(&["other:1", "hub.site/a@sha256:0"]), Whose::Unclear),
            (named(&["built-here:1"]), Whose::Theirs),
        ] {
            assert_eq!(images.whose(&got, BOB), whose, "{got:?}");
        }
        pull.brought_nothing();
        assert_eq!(images.whose(&got("new"), BOB), Whose::Theirs);
    }

    #[tokio::test]
    async fn a_pull_that_is_given_up_stays_on_record_also_over_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let before = images(&folder);
        let (first, second) = (begin(&before, ALICE, &[]), begin(&before, BOB, &[]));
        first.brought("new");
        drop(second);
        assert_eq!(before.whose(&got("newer"), ALICE), Whose::Unclear);
        before.save().await.unwrap();
        let after = images(&folder);
        assert_eq!([ALICE, BOB].map(|uid| after.whose(&got("new"), uid)), [Whose::Theirs, Whose::Others]);
        let state = after.lock();
        assert!(state.record.begun.contains_key("hub.site/a:1"));
        assert!(state.begun.values().all(|begun| begun.left.is_some() && !begun.had("newer")));
    }
}
