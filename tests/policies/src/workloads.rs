//! Workloads of all sorts.

use proptest::prelude::*;

use crate::cluster::{Job, Machine};

const KINDS: [&str; 2] = ["fat", "thin"];

/// A workload on machines with CPUs, memory and GPUs: jobs of all shapes, arrays, wishes, jobs without a time
/// limit and jobs that run beyond theirs.
pub fn workload() -> impl Strategy<Value = (Vec<Machine>, Vec<Job>)> {
    let machine = (2_u64..9, 4_u64..17, 0_u32..3, 0_usize..2)
        .prop_map(|(cpus, memory_gib, gpus, kind)| Machine { cpus, memory_gib, gpus, kind: KINDS[kind] });
    let shape = (
        1_u64..9,
        0_u64..10,
        prop_oneof![4 => Just(0_u32), 1 => 1..3_u32],
        prop_oneof![3 => Just(None), 1 => (0_usize..2).prop_map(Some)],
    );
    let time = (0_u64..60, prop_oneof![5 => (1_u64..30).prop_map(Some), 1 => Just(None)], 0_u64..33);
    let rest = (-1_i32..2, prop_oneof![6 => Just(1_u32), 1 => 2..7_u32]);
    let job = (shape, time, rest).prop_map(
        |((cpus, memory_gib, gpus, kind), (submitted, limit, runs), (priority, tasks))| {
            // A back end that ends jobs at their limit is a little late at times.
            let runs = limit.map_or(runs, |limit| runs.min(limit + 2));
            Job {
                submitted,
                cpus,
                memory_gib,
                gpus,
                kind: kind.map(|kind| KINDS[kind]),
                limit,
                runs,
                priority,
                tasks,
            }
        },
    );
    (prop::collection::vec(machine, 1..4), prop::collection::vec(job, 1..40)).prop_map(
        |(mut machines, jobs)| {
            // One of each kind is as large as any job.
            machines.extend(KINDS.map(|kind| Machine { cpus: 8, memory_gib: 10, gpus: 2, kind }));
            (machines, jobs)
        },
    )
}
