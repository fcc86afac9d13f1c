//! `berth files` and `berth download`.

use std::{
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use berth_model::format_bytes;
use clap::Args;
use futures::TryStreamExt;

use super::{Failure, Session, job_id};
use crate::{
    exit_code::Status,
    output::{
        progress::Progress,
        table::{Column, Table},
    },
};

/// A folder of a job's directory.
#[derive(Args, Clone, Debug)]
pub struct FilesArgs {
    /// Job: 12, or 12.7 for one task of an array
    #[arg(value_name = "ID", value_parser = job_id)]
    job: String,
    /// Folder in its directory
    #[arg(value_name = "PATH", default_value = "", hide_default_value = true)]
    path: String,
}

/// A file of a job's directory.
#[derive(Args, Clone, Debug)]
pub struct DownloadArgs {
    /// Job: 12, or 12.7 for one task of an array
    #[arg(value_name = "ID", value_parser = job_id)]
    job: String,
    /// File in its directory
    #[arg(value_name = "PATH")]
    path: String,
    /// Where to put it: a file, a folder, or - for standard output
    #[arg(short, long, value_name = "FILE", default_value = ".", hide_default_value = true)]
    output: PathBuf,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
}

impl FilesArgs {
    /// Lists it.
    ///
    /// # Errors
    /// When the server cannot be asked, or there is no such folder.
    pub async fn run(self, session: &Session) -> anyhow::Result<Status> {
        let files = session.client().await?.files(&self.job, &self.path).await?;
        if session.output.json {
            session.output.document(&files)?;
            return Ok(Status::OK);
        }
        let mut table =
            Table::new(&[Column::number("SIZE"), Column::fixed("KIND"), Column::text("NAME", 20)]);
        for file in files {
            table.row([format_bytes(file.size_bytes), file.kind, file.name]);
        }
        session.output.table(table)?;
        Ok(Status::OK)
    }
}

impl DownloadArgs {
    /// Fetches it, beside the target first, so that nothing half stays under its name.
    ///
    /// # Errors
    /// When the server cannot be asked, there is no such file, or it cannot be written.
    pub async fn run(self, session: &Session) -> anyhow::Result<Status> {
        let to_stdout = self.output == Path::new("-");
        let target = self.target()?;
        if !to_stdout && !self.force && target.exists() {
            let help = "choose another with -o FILE, or replace it with --force";
            return Err(Failure::new(Status::FAILED, format!("{} is already there", target.display()))
                .help(help)
                .into());
        }
        let (size, mut bytes) = session.client().await?.file(&self.job, &self.path).await?;
        let progress =
            Progress::bytes(session.output.progress() && !(to_stdout && io::stdout().is_terminal()), size);
        let mut part = match to_stdout {
            true => None,
            false => Some(Part::create(&target)?),
        };
        let mut done = 0;
        while let Some(piece) = bytes.try_next().await? {
            match &mut part {
                Some(part) => {
                    part.file.write_all(&piece).with_context(|| target.display().to_string())?;
                }
                None => io::stdout().lock().write_all(&piece)?,
            }
            done += piece.len() as u64;
            progress.done(done);
        }
        if let Some(part) = part {
            part.keep(&target)?;
        }
        if session.output.json && !to_stdout {
            session.output.document(&serde_json::json!({ "file": target, "size_bytes": done }))?;
        }
        Ok(Status::OK)
    }

    fn target(&self) -> Result<PathBuf, Failure> {
        if !self.output.is_dir() {
            return Ok(self.output.clone());
        }
        let name = Path::new(&self.path).file_name();
        let name = name.ok_or_else(|| Failure::usage(format!("{:?} names no file", self.path)))?;
        Ok(self.output.join(name))
    }
}

/// A file under way. It goes when it is not kept.
struct Part {
    file: std::fs::File,
    path: PathBuf,
    kept: bool,
}

impl Part {
    fn create(target: &Path) -> anyhow::Result<Self> {
        let mut name = target.as_os_str().to_owned();
        name.push(format!(".part-{}", std::process::id()));
        let path = PathBuf::from(name);
        let file =
            std::fs::File::create_new(&path).with_context(|| format!("{} cannot be made", path.display()))?;
        Ok(Self { file, path, kept: false })
    }

    fn keep(mut self, target: &Path) -> anyhow::Result<()> {
        std::fs::rename(&self.path, target)
            .with_context(|| format!("{} cannot be put in place", target.display()))?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.kept {
            // Whoever removed it first has done the same.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
