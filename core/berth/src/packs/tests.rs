use std::os::unix::{
    fs::{MetadataExt, symlink},
    net::UnixListener,
};

use berth_executor_api::files::FileError;
use futures::TryStreamExt;
use rustix::process::{getegid, geteuid};

use super::*;

struct Site {
    folder: tempfile::TempDir,
    owner: Person,
    bounds: Bounds,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("job")).unwrap();
        let owner = Person { uid: geteuid().as_raw(), gid: getegid().as_raw(), groups: Vec::new() };
        Self { folder, owner, bounds: Bounds::new(1 << 20) }
    }

    /// A site on which the job is somebody else's than the tests'.
    fn of_another() -> Option<Self> {
        let mut site = geteuid().is_root().then(Self::new)?;
        site.owner = Person { uid: 65534, gid: 65534, groups: Vec::new() };
        fs::set_permissions(site.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::chown(site.job(""), Some(65534), Some(65534)).unwrap();
        Some(site)
    }

    fn job(&self, name: &str) -> PathBuf {
        self.folder.path().join("job").join(name)
    }

    fn place(&self) -> Place {
        Place::new(&self.folder.path().join("archive"), JobId(1234))
    }

    async fn pack(&self) -> Result<Option<Contents>, PackError> {
        pack(self.folder.path().join("job"), self.place(), self.owner.clone(), self.bounds).await
    }

    fn packed(&self) -> Packed {
        Packed { pack: self.place().pack().to_owned(), within: PathBuf::new(), owner: self.owner.uid }
    }

    fn names(&self, folder: &str) -> Vec<String> {
        self.packed().list(Path::new(folder), 100).unwrap().into_iter().map(|entry| entry.name).collect()
    }

    async fn text(&self, file: &str) -> String {
        let part = self.packed().read(Path::new(file), None).await.unwrap();
        let bytes: Vec<Vec<u8>> = part.bytes.try_collect().await.unwrap();
        let bytes = bytes.concat();
        assert_eq!(bytes.len() as u64, part.size);
        String::from_utf8(bytes).unwrap()
    }

    fn directory_stays(&self) -> bool {
        self.job("").exists() && !self.place().exists() && !self.place().part.exists()
    }
}

#[tokio::test]
async fn a_directory_becomes_one_file_of_its_owner_and_reads_as_it_did() {
    let site = Site::new();
    fs::write(site.job("stdout"), "words\n").unwrap();
    fs::create_dir_all(site.job("deep/er")).unwrap();
    fs::write(site.job("deep/er/file"), "x".repeat(200_000)).unwrap();
    let long = "n".repeat(200);
    fs::create_dir_all(site.job(&long)).unwrap();
    fs::write(site.job(&format!("{long}/{long}")), "far").unwrap();
    let contents = site.pack().await.unwrap().unwrap();
    assert_eq!((contents.files, contents.bytes, contents.left_out), (3, 200_009, 0));
    assert!(!site.job("").exists());
    let pack = fs::metadata(site.place().pack()).unwrap();
    assert_eq!((pack.uid(), pack.mode() & 0o777), (site.owner.uid, 0o400));
    assert_eq!(site.names(""), ["deep".to_owned(), long.clone(), "stdout".to_owned()]);
    assert_eq!(site.names("deep"), ["er"]);
    assert_eq!(site.names("deep/er"), ["file"]);
    assert_eq!(site.text("stdout").await, "words\n");
    assert_eq!(site.text("deep/er/file").await.len(), 200_000);
    assert_eq!(site.text(&format!("{long}/{long}")).await, "far");
    let tail = site.packed().read(Path::new("stdout"), Some(3)).await.unwrap();
    let tail: Vec<Vec<u8>> = tail.bytes.try_collect().await.unwrap();
    assert_eq!(tail.concat(), b"ds\n");
    for none in ["none", "deep", "stdout/x", ""] {
        let error = site.packed().read(Path::new(none), None).await.unwrap_err();
        assert!(matches!(error, FileError::Missing { .. }), "{none}: {error}");
    }
    assert!(matches!(site.packed().list(Path::new("stdout"), 9), Err(FileError::Missing { .. })));
    let stranger = Packed { owner: site.owner.uid + 1, ..site.packed() };
    assert!(matches!(stranger.list(Path::new(""), 9), Err(FileError::Forbidden { .. })));
}

#[tokio::test]
async fn links_are_kept_as_links_and_what_holds_nothing_is_left_out() {
    let site = Site::new();
    let outside = site.folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    symlink(outside.join("secret"), site.job("to-a-file")).unwrap();
    symlink(&outside, site.job("to-a-folder")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, site.job("pipe"), rustix::fs::Mode::RWXU).unwrap();
    let _socket = UnixListener::bind(site.job("socket")).unwrap();
    let contents = site.pack().await.unwrap().unwrap();
    assert_eq!((contents.files, contents.bytes, contents.left_out), (2, 0, 2));
    assert_eq!(fs::read(outside.join("secret")).unwrap(), b"secret", "nothing is removed over a link");
    assert_eq!(site.names(""), [""; 0], "links are not shown, as those of a directory are not");
    assert!(site.packed().read(Path::new("to-a-file"), None).await.is_err());
    assert!(site.packed().read(Path::new("to-a-folder/secret"), None).await.is_err());
}

#[tokio::test]
async fn what_its_owner_may_not_read_is_in_no_pack() {
    let Some(site) = Site::of_another() else { return };
    fs::write(site.folder.path().join("roots"), "secret").unwrap();
    fs::set_permissions(site.folder.path().join("roots"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::hard_link(site.folder.path().join("roots"), site.job("linked")).unwrap();
    fs::create_dir(site.job("closed")).unwrap();
    fs::set_permissions(site.job("closed"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(site.job("closed/inside"), "secret").unwrap();
    fs::write(site.job("own"), "own").unwrap();
    std::os::unix::fs::chown(site.job("own"), Some(65534), Some(65534)).unwrap();
    let contents = site.pack().await.unwrap().unwrap();
    assert_eq!((contents.files, contents.bytes, contents.left_out), (1, 3, 2));
    assert_eq!(site.names(""), ["own"]);
    assert_eq!(fs::metadata(site.place().pack()).unwrap().uid(), 65534);
    assert!(site.folder.path().join("roots").exists());
}

#[tokio::test]
async fn what_is_too_much_stays_a_directory() {
    let mut site = Site::new();
    let holes = File::create(site.job("holes")).unwrap();
    holes.set_len(1 << 40).unwrap();
    let error = site.pack().await.unwrap_err();
    assert!(matches!(&error, PackError::TooMuch { what } if what == "it holds more than 1M"), "{error}");
    assert!(site.directory_stays());
    fs::remove_file(site.job("holes")).unwrap();
    site.bounds.entries = 5;
    (0..6).for_each(|file| fs::write(site.job(&file.to_string()), "").unwrap());
    assert!(matches!(site.pack().await, Err(PackError::TooMuch { .. })));
    site.bounds = Bounds { depth: 2, ..Bounds::new(1 << 20) };
    fs::create_dir_all(site.job("a/b/c")).unwrap();
    assert!(matches!(site.pack().await, Err(PackError::TooMuch { .. })));
    assert!(site.directory_stays());
    site.bounds.depth = 3;
    assert!(site.pack().await.unwrap().is_some());
}

#[tokio::test]
async fn a_mount_in_a_directory_keeps_it_from_being_packed_and_removed() {
    if !geteuid().is_root() {
        return;
    }
    let site = Site::new();
    fs::create_dir(site.job("mnt")).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "none"])
        .arg(site.job("mnt"))
        .status()
        .is_ok_and(|status| status.success());
    if !mounted {
        return;
    }
    fs::write(site.job("mnt/theirs"), "theirs").unwrap();
    let refused = site.pack().await;
    let stays = site.job("mnt/theirs").exists();
    std::process::Command::new("umount").arg("-l").arg(site.job("mnt")).status().unwrap();
    assert!(matches!(refused, Err(PackError::Mounted { .. })), "{refused:?}");
    assert!(stays && site.directory_stays());
}

#[tokio::test]
async fn what_a_crash_interrupted_is_known_until_it_is_settled() {
    let site = Site::new();
    fs::write(site.job("file"), "first").unwrap();
    assert!(site.pack().await.unwrap().is_some());
    let archive = site.folder.path().join("archive");
    assert_eq!(interrupted(&archive), [JobId(1234)]);
    let rest = site.folder.path().join(".job.archived");
    fs::create_dir(&rest).unwrap();
    assert_eq!(site.pack().await.unwrap(), None, "the directory is gone and the pack is whole");
    assert!(!rest.exists(), "what was left of it goes");
    assert_eq!(site.text("file").await, "first");
    // A pack that is there although the directory still is was not yet all there was to it.
    fs::create_dir(site.job("")).unwrap();
    fs::write(site.job("file"), "second").unwrap();
    fs::write(&site.place().part, "half of a pack").unwrap();
    assert!(site.pack().await.unwrap().is_some());
    assert_eq!(site.text("file").await, "second");
    site.place().settled();
    site.place().settled();
    assert_eq!(interrupted(&archive), []);
}

#[tokio::test]
async fn a_pack_that_its_owner_has_tampered_with_is_no_more_than_a_bad_file() {
    let site = Site::new();
    fs::write(site.job("file"), "x".repeat(10_000)).unwrap();
    site.pack().await.unwrap();
    let whole = fs::read(site.place().pack()).unwrap();
    let forge = |bytes: &[u8]| {
        fs::remove_file(site.place().pack()).unwrap();
        fs::write(site.place().pack(), bytes).unwrap();
    };
    for bytes in [&b"no pack at all"[..], &whole[..whole.len() / 2], &[]] {
        forge(bytes);
        assert!(matches!(site.packed().list(Path::new(""), 10), Err(FileError::Unreadable { .. }) | Ok(_)));
    }
    let forged = || tar::Builder::new(zstd::Encoder::new(Vec::new(), 3).unwrap());
    let packed =
        |forged: tar::Builder<zstd::Encoder<'_, Vec<u8>>>| forged.into_inner().unwrap().finish().unwrap();
    let mut leads_out = forged();
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..9].copy_from_slice(b"../../etc");
    header.set_uid(u64::from(site.owner.uid));
    header.set_size(3);
    header.set_cksum();
    leads_out.append(&header, &b"out"[..]).unwrap();
    forge(&packed(leads_out));
    assert_eq!(site.names(""), [""; 0]);
    let mut long = forged();
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_size(1 << 28);
    header.set_cksum();
    long.append(&header, io::Read::take(io::repeat(b'a'), 1 << 28)).unwrap();
    forge(&packed(long));
    let error = site.packed().list(Path::new(""), 10).unwrap_err();
    assert!(matches!(error, FileError::Unreadable { .. }), "{error}");
    symlink("/etc/passwd", site.folder.path().join("link")).unwrap();
    fs::rename(site.folder.path().join("link"), site.place().pack()).unwrap();
    assert!(matches!(site.packed().list(Path::new(""), 10), Err(FileError::Forbidden { .. })));
}
