//! The Grid Engine executor, as berth.toml describes it.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context;
use berth_config::{Config, Executor as ExecutorConfig, ExecutorKind, KeyDoc, KeyKind, Own};
use berth_executor_api::SharedExecutor;
use berth_executor_sge::{SgeConfig, SgeExecutor};

use super::{docker::whole, images::list};

fn texts() -> KeyKind {
    KeyKind::List(Box::new(KeyKind::Text))
}

/// What may stand in its table.
pub fn keys() -> ExecutorKind {
    ExecutorKind {
        name: "sge".into(),
        about: "Runs jobs in a Grid Engine cell, through its own commands.".into(),
        keys: [cell_keys(), queue_keys(), job_keys()].concat(),
    }
}

fn cell_keys() -> Vec<KeyDoc> {
    vec![
        KeyDoc::new("binaries", KeyKind::Path, "Where qsub, qstat, qacct, qdel and qhost are.")
            .or("\"/usr/lib/gridengine\""),
        KeyDoc::new(
            "environment",
            KeyKind::Open,
            "Variables for those commands, such as SGE_ROOT, SGE_CELL and SGE_QMASTER_PORT; Berth's own ones of these names where they are left out.",
        ),
        KeyDoc::new(
            "state",
            KeyKind::Path,
            "Where it is noted what SGE was given; on a disk that all Berths share that share work. In the state directory where it is left out.",
        ),
        KeyDoc::new(
            "answer-within",
            KeyKind::duration(),
            "A command that takes longer is ended, and the cell counts as away.",
        )
        .or("\"20s\""),
        KeyDoc::new(
            "look-every",
            KeyKind::duration(),
            "The time between two looks at the cell, by one qstat for all jobs, while there are any.",
        )
        .or("\"5s\""),
        KeyDoc::new(
            "explain-every",
            KeyKind::duration(),
            "How often SGE's reasons for waiting are asked for, in the stead of a look.",
        )
        .or("\"1m\""),
        KeyDoc::new("settle", KeyKind::duration(), "How long a submission may be under way after its sender is gone.")
            .or("\"5s\""),
        KeyDoc::new(
            "record-within",
            KeyKind::duration(),
            "How long the accounting record of an ended job is waited for, before its end counts as not known.",
        )
        .or("\"5m\""),
        KeyDoc::new("commands-at-once", KeyKind::Whole(1, 64), "How many commands run at the same time.").or("4"),
    ]
}

fn queue_keys() -> Vec<KeyDoc> {
    vec![
        KeyDoc::new(
            "queues",
            texts(),
            "The queues that jobs go to, each a node; all of the cell's where it is left out.",
        ),
        KeyDoc::new(
            "backlog",
            KeyKind::Whole(0, 1_000_000),
            "How much more than a queue has may be sent to it and wait in SGE, in percent.",
        )
        .or("0"),
        KeyDoc::new("gpus", KeyKind::Whole(0, 100_000), "How many GPUs each queue has.").or("0"),
    ]
}

fn job_keys() -> Vec<KeyDoc> {
    vec![
        KeyDoc::new(
            "parallel-environment",
            KeyKind::Text,
            "The parallel environment of jobs with more than one CPU; they are refused where it is left out.",
        ),
        KeyDoc::new(
            "memory-resource",
            KeyKind::Text,
            "The resource that memory is asked for by, for each slot; \"\" asks for none.",
        )
        .or("\"h_vmem\""),
        KeyDoc::new("gpu-resource", KeyKind::Text, "The resource that stands for a GPU."),
        KeyDoc::new(
            "projects",
            KeyKind::Flag,
            "Whether SGE is told a job's project, which it has to know then.",
        )
        .or("false"),
        KeyDoc::new(
            "wall-time",
            KeyKind::Flag,
            "Whether SGE is told the time limit as h_rt, a minute later than Berth's own.",
        )
        .or("false"),
        KeyDoc::new("submit-options", texts(), "Further arguments of every qsub, as they are.").or("[]"),
        KeyDoc::new("data", KeyKind::Path, "The site's data area, told to jobs as GODOCKER_DATA."),
    ]
}

/// Makes it.
///
/// # Errors
/// When it cannot be used as it is configured.
pub fn executor(config: &Config, executor: &ExecutorConfig) -> anyhow::Result<SharedExecutor> {
    let state =
        executor.own.path("state").unwrap_or_else(|| config.cluster.state.join("sge").join(&executor.name));
    let sge = SgeExecutor::start(settings(&config.cluster.name, state, &executor.own));
    Ok(Arc::new(sge.with_context(|| format!("executor {:?} cannot be used", executor.name))?))
}

fn settings(cluster: &str, state: PathBuf, own: &Own) -> SgeConfig {
    let all = own.to_json();
    let mut sge = SgeConfig::new(cluster, state);
    sge.binaries = own.path("binaries").unwrap_or(sge.binaries);
    sge.environment = own.texts("environment");
    sge.answer_within = own.duration("answer-within").unwrap_or(sge.answer_within);
    sge.look_every = own.duration("look-every").unwrap_or(sge.look_every);
    sge.explain_every = own.duration("explain-every").unwrap_or(sge.explain_every);
    sge.settle = own.duration("settle").unwrap_or(sge.settle);
    sge.record_within = own.duration("record-within").unwrap_or(sge.record_within);
    sge.commands_at_once = whole(own, "commands-at-once").unwrap_or(sge.commands_at_once);
    sge.queues = list(&all, "queues").unwrap_or_default();
    sge.backlog_percent = whole(own, "backlog").unwrap_or(0);
    sge.gpus = whole(own, "gpus").unwrap_or(0);
    sge.parallel_environment = own.text("parallel-environment").map(str::to_owned);
    if let Some(resource) = own.text("memory-resource") {
        sge.memory_complex = (!resource.is_empty()).then(|| resource.to_owned());
    }
    sge.gpu_complex = own.text("gpu-resource").map(str::to_owned);
    sge.projects = own.flag("projects").unwrap_or(false);
    sge.wall_time = own.flag("wall-time").unwrap_or(false);
    sge.submit_options = list(&all, "submit-options").unwrap_or_default();
    sge.data = own.text("data").map(str::to_owned);
    sge
}

#[cfg(test)]
mod tests {
    use berth_config::Loader;

    use super::*;

    #[test]
    fn every_key_reaches_the_executor() {
        let text = r#"
            [executors.cell]
            kind = "sge"
            binaries = "/opt/sge/bin"
            environment = { SGE_CELL = "test" }
            answer-within = "3s"
            look-every = "2s"
            explain-every = "4s"
            settle = "1s"
            record-within = "1h"
            commands-at-once = 2
            queues = ["all.q"]
            backlog = 900
            gpus = 2
            parallel-environment = "smp"
            memory-resource = ""
            gpu-resource = "gpu"
            projects = true
            wall-time = true
            submit-options = ["-w", "e"]
            data = "/data"
        "#;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("berth.toml");
        std::fs::write(&file, text).unwrap();
        let config = Loader::new(&super::super::known()).file(&file).load().unwrap().config;
        let sge = settings("c", "/state".into(), &config.executors.first().unwrap().own);
        assert_eq!(
            (sge.binaries.to_str(), sge.environment["SGE_CELL"].as_str()),
            (Some("/opt/sge/bin"), "test")
        );
        let times = [sge.answer_within, sge.look_every, sge.explain_every, sge.settle, sge.record_within];
        assert_eq!(times.map(|time| time.as_secs()), [3, 2, 4, 1, 3600]);
        assert_eq!((sge.commands_at_once, sge.queues.len(), sge.backlog_percent, sge.gpus), (2, 1, 900, 2));
        assert_eq!((sge.parallel_environment.as_deref(), sge.memory_complex), (Some("smp"), None));
        assert_eq!((sge.gpu_complex.as_deref(), sge.projects, sge.wall_time), (Some("gpu"), true, true));
        assert_eq!(
            (sge.submit_options, sge.data.as_deref()),
            (vec!["-w".to_owned(), "e".to_owned()], Some("/data"))
        );
    }
}
