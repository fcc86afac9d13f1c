//! Doing something with files as a user, in a process that may be root.

use std::{io, thread};

use nix::unistd::{setfsgid, setfsuid};
use rustix::{
    process::{Gid, Uid, geteuid},
    thread::set_thread_groups,
};
use tokio::sync::oneshot;

/// Whose rights to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The user's number.
    pub uid: u32,
    /// The primary group's.
    pub gid: u32,
    /// Those of the other groups.
    pub groups: Vec<u32>,
}

/// Does something, on a thread of its own, for which the kernel looks at files as if it was this user:
/// what the user may not do fails, and what is made belongs to the user.
///
/// # Errors
/// When this process is neither root nor the user, and what `act` gives.
pub async fn as_user<T: Send + 'static>(
    person: &Person,
    act: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let own = geteuid();
    if !own.is_root() && own.as_raw() != person.uid {
        let words = format!("user {} cannot do this for user {}", own.as_raw(), person.uid);
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, words));
    }
    let (tell, told) = oneshot::channel();
    let person = person.clone();
    // The thread ends afterwards, and its rights with it: nobody else can come to have them.
    thread::Builder::new().name("as-user".into()).spawn(move || {
        let done = if own.is_root() { become_user(&person).and_then(|()| act()) } else { act() };
        // Whoever asked may have given up.
        let _ = tell.send(done);
    })?;
    told.await.map_err(|_| io::Error::other("the thread that was to do it broke down"))?
}

/// For files only, and for this thread only. Rights that root has over files go with it.
fn become_user(person: &Person) -> io::Result<()> {
    let groups: Vec<Gid> = person.groups.iter().map(|group| Gid::from_raw(*group)).collect();
    set_thread_groups(&groups)?;
    let (uid, gid) = (nix::unistd::Uid::from_raw(person.uid), nix::unistd::Gid::from_raw(person.gid));
    setfsgid(gid);
    setfsuid(uid);
    // These calls cannot fail in words; asked again, they say what is in force.
    let is_so = setfsgid(gid) == gid && setfsuid(uid) == uid;
    match is_so {
        true => Ok(()),
        false => Err(io::Error::other(format!("cannot become user {}", Uid::from_raw(person.uid).as_raw()))),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt, PermissionsExt},
    };

    use super::*;

    fn me() -> Person {
        let uid = geteuid().as_raw();
        Person { uid, gid: rustix::process::getegid().as_raw(), groups: Vec::new() }
    }

    #[tokio::test]
    async fn what_is_made_belongs_to_the_user_and_what_is_forbidden_stays_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let made = path.clone();
        as_user(&me(), move || fs::write(made, "mine")).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().uid(), me().uid);
        if !geteuid().is_root() {
            return;
        }
        let user = Person { uid: 65534, gid: 65534, groups: vec![4711] };
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let (read, write) = (path.clone(), folder.path().join("other"));
        let error = as_user(&user, move || fs::read(read)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        let error = as_user(&user, move || fs::write(write, "")).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);

        let shared = folder.path().join("shared");
        fs::create_dir(&shared).unwrap();
        std::os::unix::fs::chown(&shared, Some(0), Some(4711)).unwrap();
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o770)).unwrap();
        let (of_group, there) = (shared.join("theirs"), shared.join("theirs"));
        as_user(&user, move || fs::write(of_group, "")).await.unwrap();
        assert_eq!(
            (fs::metadata(&there).unwrap().uid(), fs::metadata(&there).unwrap().gid()),
            (65534, 65534)
        );
        // This thread is who it was.
        assert_eq!(fs::read(&path).unwrap(), b"mine");
    }

    #[tokio::test]
    async fn nobody_but_root_becomes_someone_else() {
        if geteuid().is_root() {
            return;
        }
        let other = Person { uid: me().uid + 1, ..me() };
        let error = as_user(&other, || Ok(())).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }
}
