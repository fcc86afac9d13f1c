//! The formulas, as they stand where they come from.

/// GO-Docker's weights, with its defaults. Figures are time, CPUs and memory, in this order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights {
    /// Of how long a job has waited.
    pub wait: f64,
    /// Of what its user has used.
    pub user: [f64; 3],
    /// Of what its project has used.
    pub project: [f64; 3],
    /// Of its user's priority.
    pub user_priority: f64,
    /// Of its project's.
    pub project_priority: f64,
}

impl Default for Weights {
    fn default() -> Self {
        let (user, project) = ([1.0, 0.2, 0.2], [0.1, 0.01, 0.01]);
        Self { wait: 0.1, user, project, user_priority: 1.0, project_priority: 1.0 }
    }
}

/// The least and the most of a figure among those who compete.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// The least.
    pub low: f64,
    /// The most.
    pub high: f64,
}

impl Bounds {
    /// Of these figures; zero where there are none.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let bounds = figures.into_iter().fold(None, |bounds: Option<Self>, figure| match bounds {
            None => Some(Self { low: figure, high: figure }),
            Some(Self { low, high }) => Some(Self { low: low.min(figure), high: high.max(figure) }),
        });
        bounds.unwrap_or(Self { low: 0.0, high: 0.0 })
    }

    /// Where a figure stands between them, from 0 to 1; 0.5 where they are less than one apart.
    #[must_use]
    pub fn norm(&self, figure: f64) -> f64 {
        let width = self.high - self.low;
        if width < 1.0 { 0.5 } else { (figure - self.low) / width }
    }
}

/// A level of the tree: one account among its siblings. Usage in any unit, the same for all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// What the account has used.
    pub used: f64,
    /// What it and its siblings have used.
    pub used_by_all: f64,
    /// Its shares.
    pub shares: f64,
    /// Those of it and its siblings.
    pub shares_of_all: f64,
}

impl Level {
    /// The part of the shares that is its own.
    #[must_use]
    pub fn share(&self) -> f64 {
        if self.shares_of_all > 0.0 { self.shares / self.shares_of_all } else { 0.0 }
    }

    /// What was used of the part that is its own: the inverse of Fair Tree's level fair-share, S/U. 0 where
    /// nothing was used, infinite where there is no share to use.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        let share = self.share();
        if share == 0.0 {
            return f64::INFINITY;
        }
        // Of nothing, nobody has used anything.
        let used = if self.used_by_all > 0.0 { self.used / self.used_by_all } else { 0.0 };
        used / share
    }
}

/// The exponent U/S of Slurm's classic factor for an account at the end of `path`, which leads from the root to
/// it: U its effective usage, S the product of the shares on the way (`slurm.conf`, PriorityType =
/// priority/multifactor; "Classic Fairshare Algorithm" in Slurm's documentation).
///
/// An account's effective usage is UE = UA + (UE of its parent - UA) x its share, and UE = UA at the first level, where
/// UA is its part of all that was used. `total` is that all. Infinite where there is no share.
#[must_use]
pub fn exponent(path: &[Level], total: f64) -> f64 {
    let (mut parent, mut product) = (None, 1.0);
    for level in path {
        let actual = if total > 0.0 { level.used / total } else { 0.0 };
        let effective = parent.map_or(actual, |parent| actual + (parent - actual) * level.share());
        (parent, product) = (Some(effective), product * level.share());
    }
    if product == 0.0 { f64::INFINITY } else { parent.unwrap_or(0.0) / product }
}

/// Slurm's classic factor 2^(-U/S/d), from 0 to 1; 0.5 is who has used just their share.
#[must_use]
pub fn factor(exponent: f64, dampening: f64) -> f64 {
    (-exponent / dampening).exp2()
}

/// What one level adds to [`exponent`]: with the product S' of the shares above it and its own share s, it is
/// UA (1 - s) / (S' s), and UA / s at the first level. The sum over the path is the exponent, since
/// UE/S = (UA (1 - s) + UE' s) / (S' s) = UA (1 - s) / (S' s) + UE'/S'. So who uses something changes nothing but the
/// parts of those on their own path.
#[must_use]
pub fn part_of_exponent(level: &Level, above: Option<f64>, total: f64) -> f64 {
    let share = level.share();
    let product = above.unwrap_or(1.0) * share;
    if product == 0.0 {
        return f64::INFINITY;
    }
    let actual = if total > 0.0 { level.used / total } else { 0.0 };
    match above {
        None => actual / share,
        Some(_) => actual * (1.0 - share) / product,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(used: f64, used_by_all: f64, shares: f64, shares_of_all: f64) -> Level {
        Level { used, used_by_all, shares, shares_of_all }
    }

    /// The example of Slurm's documentation: accounts A and D with 40 and 60 shares; in A, B with 30 and user 1, C
    /// with 10 and users 2 and 3; in D, E with 25 and user 4, F with 35 and user 5. Users 1, 2 and 4 have used
    /// 0.20, 0.25 and 0.25.
    fn example() -> [[Level; 3]; 5] {
        let (a, d) = (level(0.45, 0.7, 40.0, 100.0), level(0.25, 0.7, 60.0, 100.0));
        let (b, c) = (level(0.20, 0.45, 30.0, 40.0), level(0.25, 0.45, 10.0, 40.0));
        let (e, f) = (level(0.25, 0.25, 25.0, 60.0), level(0.0, 0.25, 35.0, 60.0));
        [
            [a, b, level(0.20, 0.20, 1.0, 1.0)],
            [a, c, level(0.25, 0.25, 1.0, 2.0)],
            [a, c, level(0.0, 0.25, 1.0, 2.0)],
            [d, e, level(0.25, 0.25, 1.0, 1.0)],
            [d, f, level(0.0, 0.0, 1.0, 1.0)],
        ]
    }

    #[test]
    fn the_classic_factors_are_those_of_slurms_example() {
        let expected = [0.408479, 0.022097, 0.125000, 0.500000, 0.749154];
        for (path, expected) in example().iter().zip(expected) {
            let factor = factor(exponent(path, 1.0), 1.0);
            assert!((factor - expected).abs() < 5e-7, "{factor} instead of {expected}");
        }
    }

    #[test]
    fn the_parts_of_an_exponent_are_all_of_it() {
        for path in example() {
            let mut above = None;
            let mut sum = 0.0;
            for level in &path {
                sum += part_of_exponent(level, above, 1.0);
                above = Some(above.unwrap_or(1.0) * level.share());
            }
            assert!((sum - exponent(&path, 1.0)).abs() < 1e-12);
        }
    }

    #[test]
    fn dampening_brings_factors_closer_together() {
        assert!((factor(2.0, 1.0) - 0.25).abs() < 1e-12);
        assert!((factor(2.0, 2.0) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn fair_tree_ranks_slurms_example_by_group_then_project_then_user() {
        // D has used less of its share than A; in A, B less than C; in C, user 3 has used nothing.
        let [user1, user2, user3, user4, user5] = example().map(|path| path.map(|level| level.ratio()));
        let mut ranks = [(user1, 1), (user2, 2), (user3, 3), (user4, 4), (user5, 5)];
        ranks.sort_by(|(one, _), (other, _)| one.partial_cmp(other).unwrap());
        assert_eq!(ranks.map(|(_, user)| user), [5, 4, 1, 3, 2]);
        // S/U of A is 0.4 / (0.45/0.7), of B 0.75 / (0.2/0.45).
        assert!((1.0 / user1[0] - 0.622222).abs() < 5e-7, "{}", 1.0 / user1[0]);
        assert!((1.0 / user1[1] - 1.687500).abs() < 5e-7, "{}", 1.0 / user1[1]);
        assert!((1.0 / user4[0] - 1.680000).abs() < 5e-7, "{}", 1.0 / user4[0]);
        assert!((1.0 / user2[2] - 0.500000).abs() < 5e-7, "{}", 1.0 / user2[2]);
    }

    #[test]
    fn who_has_no_share_comes_after_all_who_have_one() {
        let none = level(0.0, 1.0, 0.0, 4.0);
        assert_eq!(none.ratio(), f64::INFINITY);
        assert_eq!(exponent(&[none], 1.0), f64::INFINITY);
        assert_eq!(part_of_exponent(&none, None, 1.0), f64::INFINITY);
        assert!(factor(f64::INFINITY, 1.0) == 0.0);
    }

    #[test]
    fn figures_stand_between_their_bounds_and_in_the_middle_where_those_are_close() {
        let bounds = Bounds::of([30.0, 10.0, 50.0]);
        assert_eq!([10.0, 30.0, 50.0].map(|figure| bounds.norm(figure)), [0.0, 0.5, 1.0]);
        assert_eq!(Bounds::of([7.0, 7.9]).norm(7.9), 0.5);
        assert_eq!(Bounds::of([7.0, 8.0]).norm(8.0), 1.0);
        assert_eq!(Bounds::of([]).norm(3.0), 0.5);
    }
}
