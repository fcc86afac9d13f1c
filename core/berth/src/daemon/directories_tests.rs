use std::{fs, os::unix::fs::symlink};

use super::*;

const KIB: u64 = 1024;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn filled(path: &Path, kib: usize) {
    fs::write(path, vec![7; kib * 1024]).unwrap();
    // Space is given out when it is written at the latest.
    fs::File::open(path).unwrap().sync_all().unwrap();
}

fn size(path: &Path) -> DirectorySize {
    measure(path, BOUNDS).unwrap()
}

#[test]
fn files_count_with_the_space_that_they_take_and_once_whatever_names_they_have() {
    let top = folder();
    let empty = size(top.path()).bytes;
    fs::create_dir_all(top.path().join("a/b")).unwrap();
    filled(&top.path().join("a/b/file"), 256);
    let one = size(top.path());
    assert!(one.whole && (empty + 256 * KIB..empty + 300 * KIB).contains(&one.bytes), "{one:?}");
    fs::hard_link(top.path().join("a/b/file"), top.path().join("again")).unwrap();
    assert_eq!(size(top.path()).bytes, one.bytes);
    let hole = fs::File::create(top.path().join("hole")).unwrap();
    hole.set_len(1 << 30).unwrap();
    assert!(size(top.path()).bytes < one.bytes + 64 * KIB);
}

#[test]
fn links_lead_nowhere() {
    let (top, elsewhere) = (folder(), folder());
    filled(&elsewhere.path().join("file"), 512);
    symlink(elsewhere.path(), top.path().join("folder")).unwrap();
    symlink(elsewhere.path().join("file"), top.path().join("file")).unwrap();
    symlink(top.path(), top.path().join("myself")).unwrap();
    let found = size(top.path());
    assert!(found.whole && found.bytes < 64 * KIB, "{found:?}");
    assert!(measure(&top.path().join("folder"), BOUNDS).is_err(), "the directory itself is no link");
}

#[test]
fn what_cannot_be_looked_through_to_its_end_is_at_least_what_was_found() {
    let top = folder();
    let mut deep = top.path().to_owned();
    for number in 0..20 {
        filled(&top.path().join(number.to_string()), 16);
        deep = deep.join("d");
    }
    fs::create_dir_all(&deep).unwrap();
    let all = size(top.path());
    assert!(all.whole);
    for bounds in [
        Bounds { entries: 10, ..BOUNDS },
        Bounds { depth: 5, ..BOUNDS },
        Bounds { time: Duration::ZERO, ..BOUNDS },
    ] {
        let part = measure(top.path(), bounds).unwrap();
        assert!(!part.whole && part.bytes < all.bytes, "{bounds:?}: {part:?}");
    }
}

#[test]
fn a_directory_that_is_not_there_has_no_size() {
    assert!(measure(&folder().path().join("none"), BOUNDS).is_err());
}

#[test]
#[ignore = "needs root"]
fn what_is_mounted_in_it_is_left_out_even_if_it_is_of_the_same_file_system() {
    let (top, elsewhere) = (folder(), folder());
    filled(&elsewhere.path().join("file"), 512);
    let place = top.path().join("mount");
    fs::create_dir(&place).unwrap();
    let mount = |args: &[&std::ffi::OsStr]| {
        assert!(std::process::Command::new(args[0]).args(&args[1..]).status().unwrap().success());
    };
    mount(&["mount".as_ref(), "--bind".as_ref(), elsewhere.path().as_ref(), place.as_ref()]);
    let found = size(top.path());
    mount(&["umount".as_ref(), place.as_ref()]);
    assert!(found.whole && found.bytes < 64 * KIB, "{found:?}");
}
