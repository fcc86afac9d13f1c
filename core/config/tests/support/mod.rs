//! Plugins as the binary might have them.

use berth_config::{ExecutorKind, KeyDoc, KeyKind, KnownPlugins, PolicyKind};

pub fn known() -> KnownPlugins {
    KnownPlugins {
        executors: vec![local(), fake()],
        scheduler: PolicyKind::new(&["fifo", "priority"], &["log", "usage"]),
        auth: PolicyKind::new(&["local", "ldap"], &["log", "key-value", "accounts", "ldap", "passwords"]),
        watcher: PolicyKind::new(&["max-lifespan", "idle", "disk-quota"], &["log", "key-value"]),
        network: PolicyKind::new(&["bridge", "isolated"], &["log", "key-value"]),
        admit: PolicyKind::new(&["rules"], &["log", "key-value", "accounts"]),
    }
}

fn local() -> ExecutorKind {
    let enforce = KeyKind::one_of(&["asked", "always", "never"]);
    ExecutorKind {
        name: "local".into(),
        about: "Processes of this machine.".into(),
        keys: vec![
            KeyDoc::new("spool", KeyKind::Directory, "Where attempts keep their output.")
                .formerly("spool-dir"),
            KeyDoc::new("cpus", KeyKind::Cpus, "How many CPUs jobs may have."),
            KeyDoc::new("memory", KeyKind::size(), "How much memory jobs may have."),
            KeyDoc::new("enforce", enforce, "Which limits jobs are held to.").or("\"asked\""),
            KeyDoc::new("labels", KeyKind::Open, "Labels of the node."),
        ],
    }
}

fn fake() -> ExecutorKind {
    let chance = |name| KeyDoc::new(name, KeyKind::Whole(0, 1000), "A chance in thousandths.").or("0");
    let node = vec![
        KeyDoc::new("name", KeyKind::Text, "Its name.").required(),
        KeyDoc::new("count", KeyKind::Whole(1, 1_000_000), "How many there are.").or("1"),
    ];
    ExecutorKind {
        name: "fake".into(),
        about: "Nothing runs: run times and faults are made up.".into(),
        keys: vec![
            KeyDoc::new("nodes", KeyKind::List(Box::new(KeyKind::Table(node))), "The nodes."),
            KeyDoc::new("run_ms", KeyKind::count(), "How long a job runs that does not say.").or("0"),
            KeyDoc::new("run-time", KeyKind::duration(), "The same as a duration."),
            KeyDoc::new("seed", KeyKind::count(), "What draws are derived from.").or("0"),
            KeyDoc::new("faults", KeyKind::Table(vec![chance("no-room"), chance("fail")]), "Faults."),
        ],
    }
}
