//! Several people on one Berth.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use tokio::process::Command;

use super::{Berth, Said, Setup, is_root, said_with};

/// An account that every system has.
pub const ANN: (&str, u32) = ("nobody", 65534);
/// Another one.
pub const BOB: (&str, u32) = ("daemon", 1);

/// A Berth with the program where others can run it, too.
pub struct People {
    /// The server.
    pub berth: Berth,
    program: PathBuf,
}

impl People {
    /// With what every test has.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// With something special in its configuration.
    pub async fn with(change: impl FnOnce(&mut Setup)) -> Self {
        assert!(is_root(), "only root can play several users");
        let berth = Berth::with(change).await;
        let program = berth.path("berth");
        fs::copy(env!("CARGO_BIN_EXE_berth"), &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self { berth, program }
    }

    /// Runs a command as one of them.
    pub async fn as_user(&self, user: (&str, u32), args: &[&str]) -> Said {
        self.as_user_with(user, args, b"").await
    }

    /// The same, with this on its standard input.
    pub async fn as_user_with(&self, user: (&str, u32), args: &[&str], input: &[u8]) -> Said {
        let mut command = Command::new(&self.program);
        command.args(args).uid(user.1).gid(user.1).current_dir("/").env_clear();
        command.env("BERTH_SERVER", format!("unix:{}", self.berth.path("s").display()));
        said_with(command, input).await
    }
}
