//! On what it was measured.

use std::{fs, path::Path, process::Command};

/// What the figures depend on, one line each.
pub fn settings(folder: &Path, berth: &Path, synchronous: &str, python: Option<&Path>) -> Vec<String> {
    let (system, device) = file_system(folder);
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let peers = [
        first_line(Command::new("xargs").arg("--version")),
        python.and_then(|python| first_line(Command::new(python).arg("-c").arg(HYPERQUEUE_VERSION))),
    ];
    let sqlite = rusqlite::version();
    vec![
        format!("machine: {cpus} CPUs ({}), {}, Linux {}", cpu_model(), memory(), kernel()),
        format!("state and jobs on: {system} on {device}"),
        format!(
            "store: SQLite {sqlite}, write-ahead log, synchronous={synchronous} for Berth and the bare commits"
        ),
        format!(
            "Berth: {}, {}",
            first_line(Command::new(berth).arg("--version")).unwrap_or_default(),
            size(berth)
        ),
        format!("beside it: {}", peers.into_iter().flatten().collect::<Vec<_>>().join(", ")),
        format!("load when it began (1, 5, 15 minutes): {}", load()),
    ]
}

const HYPERQUEUE_VERSION: &str =
    "import importlib.metadata as m; print('HyperQueue', m.version('hyperqueue'), '(LocalCluster)')";

fn first_line(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().next().map(str::to_owned).filter(|_| output.status.success())
}

fn size(program: &Path) -> String {
    let bytes = fs::metadata(program).map_or(0, |metadata| metadata.len());
    format!("release build, {} MiB", bytes >> 20)
}

fn line_of(path: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.trim_start_matches([' ', '\t', ':']).to_owned())
}

fn cpu_model() -> String {
    line_of("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

fn memory() -> String {
    let kib =
        line_of("/proc/meminfo", "MemTotal:").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    format!("{} GiB", kib.unwrap_or(0) >> 20)
}

fn kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// The kind of the file system that the folder is on, and its device.
pub fn file_system(folder: &Path) -> (String, String) {
    let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let on = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (device, place, kind) = (words.next()?, words.next()?, words.next()?);
        folder.starts_with(place).then(|| (place.len(), kind.to_owned(), device.to_owned()))
    });
    // Of those mounted at the same place the last one counts.
    let found = on.max_by_key(|(length, _, _)| *length);
    found.map_or_else(|| ("unknown".into(), "unknown".into()), |(_, kind, device)| (kind, device))
}
