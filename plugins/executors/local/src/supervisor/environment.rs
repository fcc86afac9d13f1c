//! A job's variables, and where its program may be.

use std::{collections::BTreeMap, ffi::CString};

use berth_executor_api::{Launch, Places};

/// Where programs are looked for unless the job says otherwise.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// The same for root.
const ROOT_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";

/// The home directory of whom the job runs as; the job's own where there is none.
pub(super) fn home(launch: &Launch, uid: u32) -> String {
    let spec = &launch.spec;
    match (&spec.identity.home, uid == spec.identity.uid) {
        (Some(home), true) => home.clone(),
        (_, false) => "/root".to_owned(),
        (None, true) => launch.directory.clone(),
    }
}

/// All variables: those of a login first, the user's own and Berth's over them.
pub(super) fn variables(
    launch: &Launch,
    home: &str,
    uid: u32,
    data: Option<&str>,
) -> BTreeMap<String, String> {
    let identity = &launch.spec.identity;
    let (user, path) = match (uid, uid == identity.uid) {
        (0, true) => (identity.user.as_str(), ROOT_PATH),
        (0, false) => ("root", ROOT_PATH),
        _ => (identity.user.as_str(), PATH),
    };
    let login = [
        ("PATH", path),
        ("HOME", home),
        ("USER", user),
        ("LOGNAME", user),
        ("SHELL", "/bin/sh"),
        ("TMPDIR", "/tmp"),
    ];
    let own = launch.environment(Places { directory: &launch.directory, home, data });
    login.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).chain(own).collect()
}

/// The files that a program's name may stand for, in the order in which they are tried.
pub(super) fn candidates(program: &CString, path: &str) -> Vec<CString> {
    if program.to_bytes().contains(&b'/') {
        return vec![program.clone()];
    }
    path.split(':')
        .map(|folder| if folder.is_empty() { "." } else { folder })
        .filter_map(|folder| CString::new([folder.as_bytes(), b"/", program.to_bytes()].concat()).ok())
        .collect()
}
