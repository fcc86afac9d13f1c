//! Every `tests/golden/config/*.toml` says what the `.err` beside it has. `BLESS=1` writes those anew.
//! Comment lines `# env: NAME=value` in a file set variables for it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use berth_config::{Loader, Surroundings};

fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/config");
    folder.canonicalize().unwrap()
}

fn with_ending(ending: &str) -> BTreeSet<PathBuf> {
    let all = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.extension() == Some(OsStr::new(ending))).collect()
}

/// What a person would read, with paths from the folder of the file.
fn said(file: &Path) -> String {
    let text = fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let env = text.lines().filter_map(|line| line.strip_prefix("# env: ")?.split_once('='));
    let env: Vec<_> = env.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let known = support::known();
    let surroundings = Surroundings { root: true, state_home: None };
    let loader = Loader::new(&known).file(file).env(env.into_iter()).surroundings(surroundings);
    let said = match loader.load() {
        Ok(loaded) => loaded.warnings.render(false),
        Err(problems) => problems.render(false),
    };
    let here = std::env::current_dir().unwrap();
    let said = said.replace(&format!("{}/", folder().display()), "");
    said.replace(&format!("{}/", here.display()), "") + "\n"
}

#[test]
fn every_mistake_is_reported_with_its_place_and_the_way_out() {
    let bless = std::env::var_os("BLESS").is_some();
    let files = with_ending("toml");
    assert!(files.len() >= 20, "the golden files are gone");
    let mut wrong = Vec::new();
    for file in &files {
        let (golden, said) = (file.with_extension("err"), said(file));
        if bless {
            fs::write(&golden, &said).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        assert!(!expected.trim().is_empty(), "{} is missing or empty; BLESS=1 writes it", golden.display());
        if said != expected {
            wrong.push(format!("{}\n--- expected\n{expected}--- said\n{said}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "BLESS=1 takes what is said as right\n{}", wrong.join("\n"));
}

#[test]
fn every_expectation_has_its_file() {
    let orphans: Vec<_> =
        with_ending("err").into_iter().filter(|err| !err.with_extension("toml").exists()).collect();
    assert!(orphans.is_empty(), "{orphans:?}");
}
