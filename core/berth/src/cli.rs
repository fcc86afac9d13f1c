//! The command line, as clap reads it. What a command does stands in `commands/`.

use clap::{Args, Parser, Subcommand};

use crate::commands::{
    account, attach, audit, closure, completions, config, control, exit_codes, files, guest, job, jobs,
    login, logs, nodes, notify, password, plugin, run, serve, status, submit, token, top, usage, wait, why,
};

/// Runs batch jobs for people a site knows
#[derive(Parser, Debug)]
#[command(
    name = "berth",
    version,
    propagate_version = true,
    max_term_width = 110,
    arg_required_else_help = true
)]
#[command(after_help = "`berth help COMMAND` says more; `berth help exit-codes` lists the exit codes.")]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// What is to be done.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Args, Clone, Debug, Default)]
pub struct Global {
    /// Server: unix:/path/to/berth.sock or http://HOST:PORT (with the token of BERTH_TOKEN or ~/.config/berth/token)
    #[arg(long, global = true, env = "BERTH_SERVER", hide_env_values = true, value_name = "WHERE")]
    #[arg(help_heading = "Global options", display_order = 900)]
    pub server: Option<String>,
    /// Output for programs: one JSON document, or one JSON object a line for what comes bit by bit
    #[arg(long, global = true, help_heading = "Global options", display_order = 901)]
    pub json: bool,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run a job and follow it: its output comes here, and its exit code is this command's
    Run(run::RunArgs),
    /// Submit a job and print its number
    Submit(submit::SubmitArgs),
    /// List jobs
    #[command(visible_alias = "ls")]
    Jobs(jobs::JobsArgs),
    /// Show everything about jobs
    Job(job::JobShowArgs),
    /// Say why jobs have not started
    Why(why::WhyArgs),
    /// Print what a job has written
    Logs(logs::LogsArgs),
    /// Wait until jobs have ended; the exit code is the highest of theirs
    Wait(wait::WaitArgs),
    /// Watch jobs and nodes, full screen
    Top(top::TopArgs),
    /// End jobs
    Kill(control::ManyArgs),
    /// Stop running jobs for a while
    Suspend(control::ManyArgs),
    /// Let suspended jobs go on
    Resume(control::ManyArgs),
    /// Keep waiting jobs from starting
    Hold(control::ManyArgs),
    /// Let held jobs start
    Release(control::ManyArgs),
    /// Run jobs again, under the same numbers; ended ones with something changed, if that is wanted
    Rerun(control::AlterArgs),
    /// Change what jobs ask for: priority, project, resources, time limit; of running ones, priority and time limit
    Alter(control::AlterArgs),
    /// Remove or pack the directories of ended jobs; what is known of them stays
    Archive(control::ArchiveArgs),
    /// Send a signal to running jobs
    Signal(control::SignalArgs),
    /// Run a program beside a running job, with this input and output
    Exec(attach::ExecArgs),
    /// Carry standard input to a port of a running job, and what comes back to standard output
    Netcat(attach::NetcatArgs),
    /// Show what running jobs use now
    Stats(attach::StatsArgs),
    /// List the files in a job's directory
    Files(files::FilesArgs),
    /// Fetch a file from a job's directory
    Download(files::DownloadArgs),
    /// List the nodes
    Nodes(nodes::NodesArgs),
    /// Have nothing new start on nodes, and open them again
    #[command(subcommand)]
    Node(closure::NodeCommand),
    /// Have nothing new start anywhere; what runs goes on, and jobs are still taken
    #[command(subcommand)]
    Maintenance(closure::MaintenanceCommand),
    /// Keep nodes for people or projects, or free for planned work on them
    #[command(subcommand)]
    Reservation(closure::ReservationCommand),
    /// Show what users or projects have used
    Usage(usage::UsageArgs),
    /// Make and change projects
    #[command(subcommand)]
    Project(account::ProjectCommand),
    /// See and change what users may
    #[command(subcommand)]
    User(account::PlainCommand),
    /// See and change what groups of projects may
    #[command(subcommand)]
    Group(account::PlainCommand),
    /// See and set what users, projects and groups may use
    #[command(subcommand)]
    Quota(account::QuotaCommand),
    /// Show what administrators did
    Audit(audit::AuditArgs),
    /// Begin a session with a server over the network
    Login(login::LoginArgs),
    /// End the session
    Logout(login::LogoutArgs),
    /// Set, take away and list passwords
    #[command(subcommand)]
    Password(password::PasswordCommand),
    /// See who comes by the word of an outside issuer, and let them in
    #[command(subcommand)]
    Guest(guest::GuestCommand),
    /// Make, list and revoke tokens, and revoke sessions
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Choose what you are told of your jobs
    #[command(subcommand)]
    Notify(notify::NotifyCommand),
    /// Look at plugins, check and reload policies
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    /// Show the server, and who one is to it
    Status(status::StatusArgs),
    /// Run the server
    Serve(serve::ServeArgs),
    /// Check, show and describe berth.toml
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
    /// List the exit codes
    ExitCodes(exit_codes::ExitCodesArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    fn help(path: &[&str]) -> String {
        let mut command = Cli::command().term_width(100);
        command.build();
        let found = path.iter().fold(&mut command, |at, name| at.find_subcommand_mut(name).unwrap());
        found.clone().term_width(100).render_help().to_string()
    }

    #[test]
    fn the_help_of_berth() {
        insta::assert_snapshot!(help(&[]));
    }

    #[test]
    fn the_help_of_each_command() {
        let command = Cli::command();
        for name in command.get_subcommands().map(clap::Command::get_name) {
            insta::assert_snapshot!(format!("help-{name}"), help(&[name]));
        }
        for path in [
            ["node", "drain"],
            ["maintenance", "on"],
            ["reservation", "create"],
            ["project", "change"],
            ["user", "change"],
            ["quota", "set"],
            ["password", "set"],
            ["token", "create"],
            ["notify", "set"],
            ["notify", "send"],
            ["plugin", "check"],
            ["config", "schema"],
        ] {
            insta::assert_snapshot!(format!("help-{}-{}", path[0], path[1]), help(&path));
        }
    }

    #[test]
    fn global_options_may_stand_anywhere() {
        for words in [["berth", "--json", "nodes"], ["berth", "nodes", "--json"]] {
            assert!(Cli::try_parse_from(words).unwrap().global.json);
        }
    }
}
