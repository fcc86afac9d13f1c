//! What a container runs.

use berth_executor_api::{Command, Launch};

use crate::extensions::Extensions;

/// The script's name in the job's directory.
pub(crate) const SCRIPT: &str = "cmd.sh";

/// As the engine has it: both together are what is executed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// `None` leaves the image's.
    pub entrypoint: Option<Vec<String>>,
    pub arguments: Option<Vec<String>>,
}

/// Chooses the shell inside the container, so that the image need not be opened for that.
const ANY_SHELL: &str =
    "if command -v bash >/dev/null 2>&1; then exec bash \"$0\" \"$@\"; else exec sh \"$0\" \"$@\"; fi";

/// The command. A program's arguments come after the image's entry point, as with the engine's own client; a
/// script replaces it.
pub(super) fn command(launch: &Launch, options: &Extensions) -> Line {
    let own = options.entrypoint.clone();
    match &launch.spec.command {
        Command::Argv(argv) => Line {
            // An empty one is how the engine is told that there is to be none.
            entrypoint: own.map(|words| if words.is_empty() { vec![String::new()] } else { words }),
            arguments: (!argv.is_empty()).then(|| argv.clone()),
        },
        Command::Script { text, args } => {
            let script = format!("{}/{SCRIPT}", launch.directory);
            let interpreter = match (own, text.starts_with("#!")) {
                (Some(words), _) if !words.is_empty() => words,
                (_, true) => Vec::new(),
                (_, false) => ["/bin/sh", "-c", ANY_SHELL].map(str::to_owned).into(),
            };
            let mut line = interpreter.into_iter().chain([script]);
            let first = line.next().into_iter().collect();
            Line { entrypoint: Some(first), arguments: Some(line.chain(args.iter().cloned()).collect()) }
        }
    }
}
