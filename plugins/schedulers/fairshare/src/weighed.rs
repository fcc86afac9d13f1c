//! Who stands where by GO-Docker's formula.

use berth_policy_sdk::{
    NameId,
    standing::{Whose, standings},
};

use crate::{
    accounts::{Account, Amount},
    contest::Combine,
    formula::{Bounds, Weights},
    pending::Pair,
    scene::{Scene, Seat, View, Wait, Words},
};

impl View<'_> {
    pub fn weighed(&self, weights: &Weights) -> Scene {
        let mut scene = Scene::new(Combine::Sum);
        scene.wait = self.pending.seconds().filter(|_| weights.wait > 0.0).map(|(first, last)| {
            let now_s = self.now_ms / 1000;
            let bounds = Bounds { low: Wait::waited(now_s, last), high: Wait::waited(now_s, first) };
            Wait { now_s, bounds, weight: weights.wait }
        });
        let mut pairs: Vec<Pair> = self.pending.pairs().collect();
        pairs.dedup();
        let mut users: Vec<NameId> = pairs.iter().map(|pair| pair.owner).collect();
        users.sort_unstable();
        users.dedup();
        let mut projects: Vec<NameId> = pairs.iter().map(|pair| pair.project).collect();
        projects.dedup();
        let asked = users.iter().map(|&user| Whose::User(user));
        let asked: Vec<Whose> =
            asked.chain(projects.iter().map(|&project| Whose::Project(project))).collect();
        let mut standings = standings(&asked).into_iter();
        let (mut of_users, mut of_projects) =
            (vec![Amount::default(); users.len()], vec![Amount::default(); projects.len()]);
        for (Pair { project, owner }, kept) in self.running.kept() {
            let kept = self.kept(kept);
            for (names, sums, name) in
                [(&users, &mut of_users, owner), (&projects, &mut of_projects, project)]
            {
                if let Some(sum) = names.binary_search(&name).ok().and_then(|at| sums.get_mut(at)) {
                    *sum = sum.plus(&kept);
                }
            }
        }
        let mut figures = |names: Vec<NameId>, kept: Vec<Amount>| -> Vec<Weighed> {
            let each = names.into_iter().zip(kept).zip(&mut standings).map(|((name, kept), standing)| {
                Weighed { name, priority: standing.priority, figures: self.figures(&standing, kept) }
            });
            each.collect()
        };
        let users = figures(users, of_users);
        let mut projects = figures(projects, of_projects);
        let is_default = |project: &Weighed| Some(project.name) == self.default_project;
        let user_bounds = bounds(users.iter().map(|user| user.figures));
        let others = projects.iter().filter(|project| !is_default(project));
        // `default` takes part as one that has used nothing, and is then taken for the one that has used most.
        let project_bounds = bounds(others.map(|project| project.figures).chain([[0.0; 3]]));
        for project in projects.iter_mut().filter(|project| is_default(project)) {
            project.figures = project_bounds.map(|bounds| bounds.high);
            project.priority = 50;
        }
        let Weights { user: of_use, user_priority: of_priority, .. } = *weights;
        let seat = |scene: &mut Scene, user| self.seat(scene, user, user_bounds, of_use, of_priority);
        let users: Vec<Place> = users.iter().map(|user| seat(&mut scene, user)).collect();
        let Weights { project: of_use, project_priority: of_priority, .. } = *weights;
        let seat = |scene: &mut Scene, project| {
            let place = self.seat(scene, project, project_bounds, of_use, of_priority);
            if let Some(account) = scene.accounts.get_mut(place.account).filter(|_| is_default(project)) {
                // It stays at the bound whatever starts.
                *account = Account::new(account.term(), [0.0; 3]);
            }
            place
        };
        let projects: Vec<Place> = projects.iter().map(|project| seat(&mut scene, project)).collect();
        for pair in pairs {
            let (Some(user), Some(project)) = (find(&users, pair.owner), find(&projects, pair.project))
            else {
                continue;
            };
            scene.seats.push(Seat { pair, group: None, project: project.account, own: user.account });
            if self.choices.is_compat {
                let ([a, b, c], [x, y, z]) = (user.used, project.used);
                scene.parts.push([a, b, c, x, y, z, user.of_priority, project.of_priority]);
            }
            if self.asked == Some(pair) {
                scene.words = Some(Words::Weighed {
                    user: user.cpu_seconds,
                    users: user_bounds[1],
                    project: project.cpu_seconds,
                    projects: project_bounds[1],
                    user_priority: user.priority,
                    is_default: Some(pair.project) == self.default_project,
                });
            }
        }
        scene
    }

    fn seat(
        &self,
        scene: &mut Scene,
        of: &Weighed,
        bounds: [Bounds; 3],
        weights: [f64; 3],
        of_priority: f64,
    ) -> Place {
        let advance = self.choices.advance_ms as f64 / 1e3;
        let [time, cpu, memory] = of.figures;
        let [times, cpus, memories] = bounds;
        let [of_time, of_cpu, of_memory] = weights;
        let used = [times.norm(time) * of_time, cpus.norm(cpu) * of_cpu, memories.norm(memory) * of_memory];
        let of_priority = (1.0 - f64::from(of.priority) / 100.0) * of_priority;
        // The bounds are those that hold as the plan begins. Where they are closer together than what a start
        // adds, a start goes all the way, as it will when the next plan has it in the bounds.
        let width = |bounds: Bounds| (bounds.high - bounds.low).max(advance).max(1.0);
        let slope = [of_time / width(times), of_cpu / width(cpus), of_memory / width(memories)];
        let base = used.iter().fold(of_priority, |sum, part| sum + part);
        let account = scene.account(Account::new(base, slope));
        Place { name: of.name, account, used, of_priority, priority: of.priority, cpu_seconds: cpu }
    }
}

/// A user or a project with its figures.
struct Weighed {
    name: NameId,
    priority: u32,
    figures: [f64; 3],
}

/// What became of them.
struct Place {
    name: NameId,
    account: usize,
    used: [f64; 3],
    of_priority: f64,
    priority: u32,
    cpu_seconds: f64,
}

fn find(places: &[Place], name: NameId) -> Option<&Place> {
    places.binary_search_by_key(&name, |place| place.name).ok().and_then(|at| places.get(at))
}

fn bounds(figures: impl Iterator<Item = [f64; 3]> + Clone) -> [Bounds; 3] {
    let of =
        |at: usize| Bounds::of(figures.clone().map(move |figures| figures.get(at).copied().unwrap_or(0.0)));
    [of(0), of(1), of(2)]
}
