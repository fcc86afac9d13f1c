//! Where somebody stands, in people's words.

use berth_policy_sdk::{
    InstantMs, JobId,
    round::{COUNTED, NO_ROOM},
};

use crate::{
    contest::Score,
    formula::{Level, exponent, factor},
    pending::{Pair, Place},
    policy::Fairshare,
    scene::{Scene, Words},
    settings::Method,
};

const SECONDS_IN_HOUR: f64 = 3600.0;

impl Fairshare {
    /// Why a job waits: how its user stands, and who comes before it.
    pub(crate) fn why(&mut self, now_ms: InstantMs, job: JobId) -> Option<String> {
        let asked = self.pending.get(job)?.key.pair;
        let scene = self.look(now_ms, Some(asked));
        let waiting = self.pending.get(job)?;
        let (pair, placement) = (waiting.key.pair, waiting.placement);
        let lane = self.pending.lane(pair, placement)?;
        let own = lane.before(waiting.key.place, job, COUNTED);
        let first = (self.bid(&scene, pair, waiting.key.place)?, waiting.key.place, job);
        let others = self.pending.lanes().filter(|(other, at, lane)| {
            let (place, job) = lane.head();
            let head = self.bid(&scene, *other, place).map(|score| (score, place, job));
            (*other, *at) != (pair, placement) && *at == placement && head.is_some_and(|head| head < first)
        });
        let others = others.count();
        let before = before(own, others, self.blocked.get(&placement) == Some(&job));
        let blocked = self.blocked.get(&placement).filter(|&&first| first != job);
        let blocked = blocked.map(|first| format!(", and {first}, which comes first, waits for room"));
        let standing = scene.words.as_ref().and_then(|words| self.standing(words));
        let mut words: Vec<String> = standing.into_iter().collect();
        words.push(before + &blocked.unwrap_or_default());
        Some(words.join("; "))
    }

    /// The whole score of a job, as things stand.
    fn bid(&self, scene: &Scene, pair: Pair, place: Place) -> Option<Score> {
        let number = scene.seat_of(pair)?;
        let seat = scene.seats.get(number)?;
        let own = self.score(scene, number, place);
        if self.choices.is_compat {
            return Some(own);
        }
        let project = scene.combine.raise(scene.term(seat.project), own);
        Some(seat.group.map_or(project, |group| scene.combine.raise(scene.term(group), project)))
    }

    fn standing(&self, words: &Words) -> Option<String> {
        match words {
            Words::Weighed { user, users, project, projects, user_priority, is_default } => {
                let hours = |seconds: f64| format!("{:.2}", seconds / SECONDS_IN_HOUR);
                let counted = if self.choices.is_compat { "CPUs" } else { "core-hours" };
                let amount = |figure: f64| {
                    if self.choices.is_compat { format!("{figure:.0}") } else { hours(figure) }
                };
                let mut words = format!(
                    "you have used {} {counted}, where those who wait have used from {} to {}",
                    amount(*user),
                    amount(users.low),
                    amount(users.high)
                );
                if *is_default {
                    words.push_str("; jobs without a project stand as those of the one that has used most");
                } else {
                    let of = [amount(*project), amount(projects.high)];
                    words.push_str(&format!("; your project {}, where the most is {}", of[0], of[1]));
                }
                if *user_priority != 50 {
                    words.push_str(&format!("; your priority is {user_priority} of 100"));
                }
                Some(words)
            }
            Words::Levels { group, project: (project_name, project), user } => {
                let group = group.map(|(name, level)| (self.name(name), level));
                self.levels_in_words(group, (self.name(*project_name), *project), *user)
            }
        }
    }

    /// Nothing where nobody else has a part in anything.
    fn levels_in_words(
        &self,
        group: Option<(&str, Level)>,
        (project_name, project): (&str, Level),
        user: Level,
    ) -> Option<String> {
        let mut parts: Vec<String> = Vec::new();
        let levels = [
            group.map(|(name, level)| (format!("your group {name}"), "its", level)),
            Some((format!("your project {project_name}"), "its", project)),
            Some(("you".to_owned(), "your", user)),
        ];
        for (who, whose, level) in levels.into_iter().flatten().filter(|(_, _, level)| level.share() < 1.0) {
            let has = match (parts.is_empty(), whose) {
                (false, _) => "",
                (true, "your") => " have used",
                (true, _) => " has used",
            };
            let of = if parts.is_empty() { "" } else { " of that" };
            let used = percent(level.used / level.used_by_all);
            parts.push(format!("{who}{has} {used}{of} where {whose} share is {}", percent(level.share())));
        }
        let (last, rest) = parts.split_last()?;
        let mut words =
            if rest.is_empty() { last.clone() } else { format!("{}, and {last}", rest.join(", ")) };
        if let Method::Shares { dampening, .. } = self.choices.method {
            let path: Vec<Level> = group.map(|(_, level)| level).into_iter().chain([project, user]).collect();
            let total = path.first().map_or(0.0, |level| level.used_by_all);
            let factor = factor(exponent(&path, total), dampening);
            words.push_str(&format!("; your fair-share factor is {factor:.3}"));
        }
        Some(words)
    }
}

fn percent(part: f64) -> String {
    format!("{:.0}%", part * 100.0)
}

/// Who comes before a job: so many of its own user in its project, and so many others.
fn before(own: usize, others: usize, is_blocked: bool) -> String {
    let jobs = match own {
        0 => None,
        1 => Some("1 job of your own".to_owned()),
        COUNTED => Some(format!("{COUNTED} or more jobs of your own")),
        own => Some(format!("{own} jobs of your own")),
    };
    let others = match others {
        0 => None,
        1 => Some("1 other who waits for the same nodes".to_owned()),
        others => Some(format!("{others} others who wait for the same nodes")),
    };
    match (jobs, others) {
        (None, None) if is_blocked => format!("it is the next to start on its nodes: {NO_ROOM}"),
        (None, None) => "it is the next to start on its nodes".to_owned(),
        (Some(jobs), Some(others)) => format!("{jobs} and {others} come before it"),
        (Some(one), None) | (None, Some(one)) if one.starts_with("1 ") => format!("{one} comes before it"),
        (Some(some), None) | (None, Some(some)) => format!("{some} come before it"),
    }
}
