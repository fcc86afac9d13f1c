//! The two small programs around a job: one that outlives Berth and notes how the job ends, and one that becomes the
//! job. Everything variable is an argument; nothing is pasted into their text.

/// Notes how the job ends. Arguments: the attempt's folder, then the job's command.
///
/// Only one for each attempt gets past `started`, however often it is begun. It holds `lock` as long as it lives, so
/// that whoever finds it free knows that nobody is going to write `exit` any more.
pub(crate) const WATCH: &str = r#"
folder=$1; shift
exec 9>"$folder/lock" || exit 1
flock -n 9 || exit 0
(set -C; : > "$folder/started") 2> /dev/null || exit 0
setsid "$@" 9>&- < /dev/null &
echo $! > "$folder/pid.new" && mv "$folder/pid.new" "$folder/pid"
wait $!
code=$?
stopped=0; [ ! -e "$folder/stop" ] || stopped=1
echo "$code $stopped" > "$folder/exit.new" && mv "$folder/exit.new" "$folder/exit"
"#;

/// Becomes the job, with the user's rights already. Arguments: directory, standard output, standard error, command.
pub(crate) const BECOME: &str = r#"
cd "$1" && exec > "$2" 2> "$3" || exit 126
shift 3
exec "$@"
"#;
