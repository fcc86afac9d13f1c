//! The supervisor as a program of its own, for programs that embed the executor and are not `berth`.

use std::{env, ffi::OsStr, process::ExitCode};

use berth_executor_local::{SUPERVISOR_WORD, supervisor_main};

fn main() -> ExitCode {
    let mut args = env::args_os().skip(1).peekable();
    args.next_if(|word| word == OsStr::new(SUPERVISOR_WORD));
    supervisor_main(args)
}
