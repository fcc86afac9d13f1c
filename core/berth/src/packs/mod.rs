//! Directories of archived jobs, each packed into one file.
//!
//! A pack is a tar file, compressed with zstd, and belongs to the job's owner. It comes to be in steps, so that a
//! crash leaves either the directory or the whole pack: it is written beside its place, made durable, and renamed; the
//! directory is then renamed away, removed, and the end of all this noted by whoever has it done. A mark stands from
//! before the pack is there until after that, so that what a crash interrupts is taken up at the next start.

mod read;
mod write;

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};

use berth_executor_api::files::Person;
use berth_model::JobId;

pub use self::{
    read::Packed,
    write::{Bounds, Contents},
};

/// Why a directory is not packed. It is still there then.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// More than the site lets be packed.
    #[error("{what}; the site packs no more (jobs.archive-limit)")]
    TooMuch {
        /// What there is too much of.
        what: String,
    },
    /// Removing the directory would reach into another file system.
    #[error("something is mounted at {}", path.display())]
    Mounted {
        /// Where.
        path: PathBuf,
    },
    /// The system said no.
    #[error("{} cannot be {verb}", path.display())]
    System {
        /// What it was about.
        path: PathBuf,
        /// What was to be done with it.
        verb: &'static str,
        /// In its words.
        #[source]
        source: io::Error,
    },
}

impl PackError {
    fn system(path: &Path, verb: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::System { path, verb, source }
    }
}

/// Where one job's pack is, and what stands there while it comes to be.
#[derive(Clone, Debug)]
pub struct Place {
    folder: PathBuf,
    pack: PathBuf,
    /// Until it is whole.
    part: PathBuf,
    marks: PathBuf,
    mark: PathBuf,
}

impl Place {
    /// Of this job, in the site's folder for packs.
    pub fn new(archive: &Path, job: JobId) -> Self {
        let folder = archive.join((job.0 / 1000).to_string());
        let marks = marks(archive);
        Self {
            pack: folder.join(format!("{job}.tar.zst")),
            part: folder.join(format!(".{job}.part")),
            folder,
            mark: marks.join(job.to_string()),
            marks,
        }
    }

    /// The pack itself.
    pub fn pack(&self) -> &Path {
        &self.pack
    }

    /// Whether there is a pack. Blocks.
    pub fn exists(&self) -> bool {
        fs::symlink_metadata(&self.pack).is_ok_and(|found| found.is_file())
    }

    /// Takes a pack away that is not to be used. Blocks.
    pub fn discard(&self) -> Result<(), PackError> {
        gone(fs::remove_file(&self.pack)).map_err(PackError::system(&self.pack, "removed"))
    }

    /// What was begun has been noted. Blocks.
    pub fn settled(&self) {
        if let Err(error) = gone(fs::remove_file(&self.mark)) {
            tracing::warn!(mark = %self.mark.display(), %error, "a mark of the archive cannot be removed");
        }
    }

    /// Begins a pack for its owner, in place of any that was begun before.
    fn begin(&self, owner: &Person) -> Result<File, PackError> {
        for folder in [&self.folder, &self.marks] {
            let made = DirBuilder::new().recursive(true).mode(0o755).create(folder);
            made.map_err(PackError::system(folder, "made"))?;
        }
        gone(fs::remove_file(&self.part)).map_err(PackError::system(&self.part, "removed"))?;
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.part);
        let part = made.map_err(PackError::system(&self.part, "made"))?;
        if rustix::process::geteuid().is_root() {
            fchown(&part, Some(owner.uid), Some(owner.gid))
                .map_err(PackError::system(&self.part, "given to its owner"))?;
        }
        Ok(part)
    }

    /// Puts a whole pack in its place. Whatever happens from here on, it is not lost.
    fn finish(&self, part: &File) -> Result<(), PackError> {
        part.set_permissions(fs::Permissions::from_mode(0o400))
            .and_then(|()| part.sync_all())
            .map_err(PackError::system(&self.part, "made durable"))?;
        File::create(&self.mark)
            .and_then(|_| durable(&self.marks))
            .map_err(PackError::system(&self.mark, "made"))?;
        fs::rename(&self.part, &self.pack).map_err(PackError::system(&self.pack, "put in place"))?;
        let around = self.folder.parent().map_or(Ok(()), durable);
        around.and(durable(&self.folder)).map_err(PackError::system(&self.folder, "made durable"))
    }

    fn give_up(&self) {
        // It is overwritten the next time, if it cannot be removed now.
        let _ = fs::remove_file(&self.part);
    }
}

/// Packs a directory with what its owner may read of it, and removes it. One that is gone already was removed when its
/// pack was there.
pub async fn pack(
    directory: PathBuf,
    place: Place,
    owner: Person,
    bounds: Bounds,
) -> Result<Option<Contents>, PackError> {
    let stopping = || PackError::system(place.pack(), "made")(io::Error::other("berth is stopping"));
    let (into, whose) = (place.clone(), owner.clone());
    let from = directory.clone();
    let begun = tokio::task::spawn_blocking(move || match fs::symlink_metadata(&from) {
        // It was on its way out, and something of it may be left.
        Err(error) if error.kind() == io::ErrorKind::NotFound => remove(&from).map(|()| None),
        _ => into.begin(&whose).map(Some),
    });
    let Some(part) = begun.await.map_err(|_| stopping())?? else { return Ok(None) };
    let (from, into) = (directory.clone(), place.pack().to_owned());
    // With the owner's rights: a second name for a file of somebody else brings nobody to its contents.
    let written = berth_executor_api::files::as_user(&owner, move || {
        Ok(write::write(&from, &part, &into, bounds).map(|contents| (part, contents)))
    });
    let written = written.await.map_err(PackError::system(&directory, "read")).and_then(|written| written);
    let rest = tokio::task::spawn_blocking(move || {
        let finished = written.and_then(|(part, contents)| place.finish(&part).map(|()| contents));
        match finished {
            Ok(contents) => remove(&directory).map(|()| Some(contents)),
            Err(error) => {
                place.give_up();
                Err(error)
            }
        }
    });
    rest.await.map_err(|error| PackError::system(Path::new("the pack"), "made")(io::Error::other(error)))?
}

/// Removes a directory with all that is in it, following no link. One that is gone is fine. It loses its name first,
/// so that nobody ever takes a rest of it for the whole. Blocks.
pub fn remove(directory: &Path) -> Result<(), PackError> {
    let (Some(around), Some(name)) = (directory.parent(), directory.file_name()) else { return Ok(()) };
    let away = around.join(format!(".{}.archived", name.to_string_lossy()));
    gone(fs::remove_dir_all(&away)).map_err(PackError::system(&away, "removed"))?;
    match fs::rename(directory, &away) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        renamed => renamed.map_err(PackError::system(directory, "removed"))?,
    }
    durable(around).map_err(PackError::system(around, "made durable"))?;
    gone(fs::remove_dir_all(&away)).map_err(PackError::system(&away, "removed"))
}

/// The jobs of which a crash may have interrupted the archiving. Blocks.
pub fn interrupted(archive: &Path) -> Vec<JobId> {
    let Ok(entries) = fs::read_dir(marks(archive)) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter_map(|name| name.parse().ok().map(JobId)).collect()
}

fn marks(archive: &Path) -> PathBuf {
    archive.join("under-way")
}

fn gone(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Has the names in a folder outlive a power cut.
fn durable(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
