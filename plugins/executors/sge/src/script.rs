//! What SGE is given to run, and what that runs.
//!
//! SGE keeps the first script, which is the same for all tasks of an array: it makes sure that an attempt runs
//! once, and turns SGE's notices into what Berth promises. The second one lies in the job's directory: its
//! variables and its command.

use std::{collections::BTreeMap, path::Path};

use berth_executor_api::{Command, Launch, Places};

/// The job's directory is not to be seen from the node.
pub(crate) const NO_DIRECTORY: i32 = 97;
/// The attempt was begun before, by another submission of the same name.
pub(crate) const BEGUN_BEFORE: i32 = 96;
/// It exited with a code that has a meaning of its own for SGE, and that stands in a file.
pub(crate) const CODE_IN_FILE: i32 = 98;

/// The script's name in the job's directory.
pub(crate) const SCRIPT: &str = "cmd.sh";
/// Where programs are looked for unless the job says otherwise.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The mark that an attempt has begun, a directory in the job's own. `tag` tells the job's attempts apart.
pub(crate) fn mark(directory: &Path, tag: &str) -> std::path::PathBuf {
    directory.join(format!(".sge-{tag}"))
}

/// What in the name of an attempt is not the job's: its number, and how often it was given back.
pub(crate) fn tag(attempt: &str) -> &str {
    attempt.rsplit_once('-').map_or(attempt, |(_, tag)| tag)
}

/// What SGE keeps and runs. `base` is the job's directory, or the array's.
pub(crate) fn submitted(base: &str, tag: &str, array: bool, grace_secs: u64) -> String {
    let directory = if array { "$base/$SGE_TASK_ID" } else { "$base" };
    format!(
        r#"#!/bin/sh
base={base}
run="{directory}/.sge-{tag}"
[ -r "$run.sh" ] || exit {NO_DIRECTORY}
# Whatever SGE does, it begins once.
mkdir "$run" 2>/dev/null || exit {BEGUN_BEFORE}
echo "$JOB_ID" >"$run/job"
told= killer=
# Notice of its end: asked kindly, and killed after the grace.
on_end() {{
    told=1
    trap '' TERM
    grace=$(cat "$run/grace" 2>/dev/null) || grace={grace_secs}
    [ "$grace" != 0 ] || kill -KILL 0
    kill -TERM 0
    # SGE may give notice twice; that is not to end who waits.
    [ -n "$killer" ] || {{ (trap '' USR1 USR2; sleep "$grace"; kill -KILL 0) & killer=$!; }}
}}
# Notice of a suspension: SGE stops it by itself.
trap 'told=1' USR1
trap on_end USR2
(trap '' USR1 USR2; exec /bin/sh "$run.sh") &
job=$!
code=
while :; do
    told=
    wait "$job"
    now=$?
    [ -n "$code" ] && [ "$now" = 127 ] || code=$now
    [ -n "$told" ] || break
done
[ -z "$killer" ] || kill -KILL "$killer" 2>/dev/null
# These two would make SGE run it again, or keep it.
case $code in
99 | 100)
    echo "$code" >"$run/code"
    exit {CODE_IN_FILE}
    ;;
esac
exit "$code"
"#,
        base = quoted(base),
    )
}

/// What the job's own directory holds: outputs, variables, and the command in the shell's place.
pub(crate) fn own(launch: &Launch, data: Option<&str>) -> Result<String, String> {
    let spec = &launch.spec;
    let home = spec.identity.home.as_deref().unwrap_or(&launch.directory);
    let user = spec.identity.user.as_str();
    let login = [("PATH", PATH), ("HOME", home), ("USER", user), ("LOGNAME", user), ("SHELL", "/bin/sh")];
    let own = launch.environment(Places { directory: &launch.directory, home, data });
    let variables: BTreeMap<String, String> =
        login.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).chain(own).collect();

    let mut text = String::from("#!/bin/sh\n");
    text.push_str(&format!("exec >>{}", shell(&launch.stdout)?));
    match launch.stderr == launch.stdout {
        true => text.push_str(" 2>&1\n"),
        false => text.push_str(&format!(" 2>>{}\n", shell(&launch.stderr)?)),
    }
    text.push_str("exec </dev/null\n");
    let workdir = spec.workdir.as_deref().unwrap_or(&launch.directory);
    text.push_str(&format!("cd {} || exit 126\n", shell(workdir)?));
    // Names that are none to a shell cannot be set there; `env` takes any.
    text.push_str("exec env");
    for (name, value) in &variables {
        if name.is_empty() || name.contains('=') || name.starts_with('-') {
            return Err(format!("{name:?} cannot be the name of a variable"));
        }
        text.push_str(&format!(" {}", shell(&format!("{name}={value}"))?));
    }
    for word in command(launch) {
        text.push_str(&format!(" {}", shell(&word)?));
    }
    text.push('\n');
    Ok(text)
}

fn command(launch: &Launch) -> Vec<String> {
    match &launch.spec.command {
        // `env` would take a word with `=` for a variable; as an argument of a shell it is a program.
        Command::Argv(argv) => {
            let mut words: Vec<String> = ["/bin/sh", "-c", "exec \"$@\"", "sh"].map(str::to_owned).into();
            words.extend(argv.iter().cloned());
            words
        }
        Command::Script { text, args } => {
            let script = format!("{}/{SCRIPT}", launch.directory);
            // The kernel runs only what says with what.
            let mut words = match text.starts_with("#!") {
                true => vec![script],
                false => vec!["/bin/sh".to_owned(), script],
            };
            words.extend(args.iter().cloned());
            words
        }
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A word as the shell reads it; no shell has words with a zero byte.
fn shell(text: &str) -> Result<String, String> {
    match text.contains('\0') {
        true => Err(format!("{text:?} holds a zero byte")),
        false => Ok(quoted(text)),
    }
}
