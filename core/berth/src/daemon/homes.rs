//! Directories of guests: made by Berth, handed over to the account that guests' jobs run as, and reached over no link.

use std::{
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, FileType, Gid, Mode, OFlags, Uid, fchown, fstat, mkdirat, openat},
    io::Errno,
    process::geteuid,
};

/// Why a guest's directory cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum HomeFault {
    /// The system says no.
    #[error("{} cannot be {what}", path.display())]
    System {
        /// Which.
        path: PathBuf,
        /// What was to be done.
        what: &'static str,
        /// In its words.
        #[source]
        source: io::Error,
    },
    /// It is somebody's who could lead Berth astray with it.
    #[error("{} {wrong}", path.display())]
    Unsafe {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        wrong: String,
    },
}

const OPEN: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Makes a directory for one guest in that of all, unless it is there. What a crash has left half-made is finished.
///
/// `name` is a plain name. Blocks.
///
/// # Errors
/// When it cannot be made, or what is there in its place is somebody else's.
pub fn make(top: &Path, name: &str, (uid, gid): (u32, u32)) -> Result<(), HomeFault> {
    let system = |path: &Path, what| {
        let path = path.to_owned();
        move |error: Errno| HomeFault::System { path, what, source: error.into() }
    };
    let home = top.join(name);
    let folder = openat(CWD, top, OPEN, Mode::empty()).map_err(system(top, "opened"))?;
    only_ours(&folder, top)?;
    match mkdirat(&folder, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(system(&home, "made")(error)),
    }
    let made = openat(&folder, name, OPEN, Mode::empty()).map_err(system(&home, "opened"))?;
    let of_home = fstat(&made).map_err(system(&home, "looked at"))?;
    if of_home.st_uid == uid {
        return Ok(());
    }
    if of_home.st_uid != geteuid().as_raw() {
        let wrong = format!("belongs to user {}, and not to the guests' account {uid}", of_home.st_uid);
        return Err(HomeFault::Unsafe { path: home, wrong });
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    fchown(&made, Some(uid), Some(gid)).map_err(system(&home, "handed over"))
}

/// Whoever else may change the directory of all could put anything in place of one of them.
fn only_ours(folder: impl AsFd, path: &Path) -> Result<(), HomeFault> {
    let path = path.to_owned();
    let stat = match fstat(folder) {
        Ok(stat) => stat,
        Err(error) => {
            return Err(HomeFault::System { path, what: "looked at", source: error.into() });
        }
    };
    let own = geteuid().as_raw();
    let wrong = if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        "is no directory".to_owned()
    } else if stat.st_uid != 0 && stat.st_uid != own {
        format!("belongs to user {}; it has to be root's, or Berth's own", stat.st_uid)
    } else if stat.st_mode & 0o022 != 0 {
        "can be written by others; take their rights away (chmod go-w)".to_owned()
    } else {
        return Ok(());
    };
    Err(HomeFault::Unsafe { path, wrong })
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    };

    use super::*;

    fn ours() -> (u32, u32) {
        (geteuid().as_raw(), rustix::process::getegid().as_raw())
    }

    #[test]
    fn a_home_is_made_once_for_its_owner_alone() {
        let top = tempfile::tempdir().unwrap();
        make(top.path(), "abc", ours()).unwrap();
        let home = top.path().join("abc");
        assert_eq!(fs::metadata(&home).unwrap().permissions().mode() & 0o777, 0o700);
        fs::write(home.join("kept"), "x").unwrap();
        make(top.path(), "abc", ours()).unwrap();
        assert_eq!(fs::read_to_string(home.join("kept")).unwrap(), "x");
    }

    #[test]
    fn a_link_in_the_place_of_a_home_leads_nowhere() {
        let (top, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        symlink(other.path(), top.path().join("abc")).unwrap();
        assert!(matches!(make(top.path(), "abc", ours()), Err(HomeFault::System { what: "opened", .. })));
        fs::write(top.path().join("file"), "").unwrap();
        assert!(make(top.path(), "file", ours()).is_err());
        let linked = other.path().join("top");
        symlink(top.path(), &linked).unwrap();
        assert!(make(&linked, "def", ours()).is_err());
        assert!(!top.path().join("def").exists());
        assert!(make(&top.path().join("missing"), "abc", ours()).is_err());
    }

    #[test]
    fn no_home_is_made_where_others_could_change_it() {
        let top = tempfile::tempdir().unwrap();
        for mode in [0o777, 0o1777, 0o775, 0o757] {
            fs::set_permissions(top.path(), fs::Permissions::from_mode(mode)).unwrap();
            let refused = make(top.path(), "abc", ours()).unwrap_err().to_string();
            assert!(refused.contains("chmod go-w"), "{mode:o}: {refused}");
        }
        assert!(!top.path().join("abc").exists());
    }

    #[test]
    #[ignore = "needs root"]
    fn a_home_that_a_crash_left_half_made_is_handed_over_and_anothers_is_not() {
        let top = tempfile::tempdir().unwrap();
        fs::create_dir(top.path().join("abc")).unwrap();
        make(top.path(), "abc", (65534, 65534)).unwrap();
        let home = fs::metadata(top.path().join("abc")).unwrap();
        assert_eq!((home.uid(), home.gid()), (65534, 65534));
        let refused = make(top.path(), "abc", (1, 1)).unwrap_err().to_string();
        assert!(refused.contains("belongs to user 65534"), "{refused}");
    }
}
