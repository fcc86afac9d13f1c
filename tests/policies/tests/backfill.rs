//! `backfill` against models straight from the definitions, natively and as the component that ships.

use std::path::Path;

use berth_policy_host::PolicyHost;
use berth_policy_tests::{
    checked::{Checked, Model},
    cluster::{self, Begun, Job, Machine},
    naive::{Conservative, Easy, Rules},
    planners::{self, Guest, Native, Planner},
    textbook,
    workloads::workload,
};
use berth_scheduler_backfill::policy::Backfill;
use proptest::prelude::*;

fn host() -> PolicyHost {
    planners::host(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled-policies"))
}

/// Jobs for one machine with eight processors, by expected ends alone.
fn processors_only() -> impl Strategy<Value = Vec<Job>> {
    let job = (0_u64..80, 1_u64..9, 1_u64..30, 1_u64..30)
        .prop_map(|(submitted, cpus, limit, runs)| Job::new(submitted, cpus, limit, runs.min(limit)));
    prop::collection::vec(job, 1..60)
}

#[derive(Clone, Copy, Debug)]
struct Chosen {
    by_priority: bool,
    usual_limit: Option<u64>,
    depth: u32,
}

fn chosen() -> impl Strategy<Value = Chosen> {
    let usual_limit = prop_oneof![Just(None), (1_u64..20).prop_map(Some)];
    let depth = prop_oneof![2 => Just(1000_u32), 1 => 1..6_u32];
    (any::<bool>(), usual_limit, depth).prop_map(|(by_priority, usual_limit, depth)| Chosen {
        by_priority,
        usual_limit,
        depth,
    })
}

impl Chosen {
    fn rules(self) -> Rules {
        let Self { by_priority, usual_limit, depth } = self;
        Rules { by_priority, usual_limit_ms: usual_limit.map(|limit| limit * 1000), depth }
    }

    fn settings(self, mode: &str) -> Vec<(&'static str, String)> {
        let mut settings = vec![("mode", mode.to_owned()), ("depth", self.depth.to_string())];
        settings.push(("order", if self.by_priority { "priority" } else { "fcfs" }.to_owned()));
        settings.extend(self.usual_limit.map(|limit| ("default-time-limit", format!("{limit}s"))));
        settings
    }
}

fn played_natively(
    (machines, jobs): &(Vec<Machine>, Vec<Job>),
    settings: &[(&'static str, String)],
    model: impl Model,
) -> Vec<Begun> {
    let settings: Vec<(&str, &str)> = settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let mut policy = Checked::new(Native::<Backfill>::new(&settings), model);
    cluster::play(machines, jobs, &mut policy)
}

fn played_as_a_guest(
    host: &PolicyHost,
    (machines, jobs): &(Vec<Machine>, Vec<Job>),
    settings: &[(&'static str, String)],
    model: impl Model,
) -> Vec<Begun> {
    let settings: Vec<(&str, &str)> = settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let mut policy = Checked::new(Guest::new(host, "backfill", &settings), model);
    cluster::play(machines, jobs, &mut policy)
}

/// When each job starts on one machine with eight processors.
fn starts_of(jobs: &[Job], mode: &str) -> Vec<u64> {
    let machine = Machine { cpus: 8, memory_gib: 0, gpus: 0, kind: "only" };
    let mut policy = Native::<Backfill>::new(&[("mode", mode)]);
    let mut begun = cluster::play(&[machine], jobs, &mut policy as &mut dyn Planner);
    begun.sort();
    begun.into_iter().map(|begun| begun.at_ms).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn easy_starts_and_promises_what_the_model_does(workload in workload(), chosen in chosen()) {
        played_natively(&workload, &chosen.settings("easy"), Easy(chosen.rules()));
    }

    #[test]
    fn conservative_starts_and_promises_what_the_model_does(workload in workload(), chosen in chosen()) {
        played_natively(&workload, &chosen.settings("conservative"), Conservative::new(chosen.rules()));
    }

    #[test]
    fn on_one_machine_easy_is_that_of_the_textbook(jobs in processors_only()) {
        prop_assert_eq!(starts_of(&jobs, "easy"), textbook::easy(8, &jobs));
    }

    #[test]
    fn on_one_machine_conservative_is_that_of_the_textbook(jobs in processors_only()) {
        prop_assert_eq!(starts_of(&jobs, "conservative"), textbook::conservative(8, &jobs));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]

    #[test]
    fn the_component_plays_whole_workloads_as_the_models_do(workload in workload(), chosen in chosen()) {
        let host = host();
        for mode in ["easy", "conservative"] {
            let settings = chosen.settings(mode);
            let model = || -> Box<dyn Model> {
                match mode {
                    "easy" => Box::new(Easy(chosen.rules())),
                    _ => Box::new(Conservative::new(chosen.rules())),
                }
            };
            let guest = played_as_a_guest(&host, &workload, &settings, model());
            prop_assert_eq!(guest, played_natively(&workload, &settings, model()));
        }
    }
}
