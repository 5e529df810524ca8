//! Images and containers in the eyes of the programs everybody has: e2fsprogs, cryptsetup, tcplay, ntfs-3g.
//!
//! These tests need those programs, so they are ignored unless asked for: `tests/device-tools/run` fetches the programs and asks.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use ferry_device::ErrorKind;
use ferry_device::container::{
    Container, Format, Luks2Kdf, Password, SystemEntropy, TrueCryptPrf, VeraCryptPrf,
};
use ferry_device::decrypted_view::DecryptedView;
use ferry_device::documents::{Arrangement, BagInfo};
use ferry_device::ext4::{FileFacts, Identity, Layout, Size, Writer};
use ferry_device::journal::Attributes;
use ferry_device::medium::MountedMedium;
use ferry_device::naming::{FileSystem, NamingRules};
use ferry_device::ntfs::{Access, Programs};
use ferry_device::plan::{Object, Plan, Planner};
use ferry_device::session::Session;
use ferry_device::sink::DirectorySink;
use ferry_device::target::disk::Disk;
use ferry_device::target::signature_of_disk;
use ferry_device::verify::{Scope, verify};
use ferry_device::volume::{RawVolume, Volume};

/// The bytes of the object of this number.
fn bytes_of(number: u64, size: u64) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..size)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

fn object(key: &str, size_bytes: u64) -> Object {
    Object {
        operation: 0,
        bucket: "bucket".into(),
        key: key.into(),
        version_id: None,
        etag: None,
        size_bytes,
        modified_unix_secs: 1_500_000_000,
        storage_class: None,
    }
}

fn plan_of(directory: &Path, objects: &[(String, u64)]) -> Plan {
    let mut planner = Planner::new(directory, NamingRules::new(FileSystem::Ext4)).unwrap();
    for (key, size_bytes) in objects {
        planner.add("bucket", object(key, *size_bytes)).unwrap();
    }
    planner.seal().unwrap()
}

fn facts(plan: &Plan) -> impl Iterator<Item = ferry_device::Result<FileFacts>> {
    plan.entries().unwrap().filter(|entry| entry.as_ref().map_or(true, |e| e.place.is_file())).map(|entry| {
        entry.map(|e| FileFacts {
            size_bytes: e.object.size_bytes,
            modified_unix_secs: e.object.modified_unix_secs,
        })
    })
}

fn write_image<V: Volume>(plan: &Plan, layout: Layout, volume: V) -> V {
    let mut writer = Writer::new(Arc::new(layout), volume).unwrap();
    for entry in plan.entries().unwrap() {
        let entry = entry.unwrap();
        if entry.place.is_file() {
            writer.begin_file(entry.object.size_bytes).unwrap();
            for chunk in bytes_of(entry.sequence, entry.object.size_bytes).chunks(60_000) {
                writer.write(chunk).unwrap();
            }
            writer.end().unwrap();
        }
    }
    writer.begin_document().unwrap();
    writer.write(b"a document\n").unwrap();
    writer.end().unwrap();
    writer.finish(facts(plan)).unwrap()
}

fn run(program: &str, arguments: &[&str]) -> String {
    run_with_input(program, arguments, "")
}

fn run_with_input(program: &str, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{program}: {e}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {}\n{text}", output.status);
    text
}

fn assorted() -> Vec<(String, u64)> {
    let mut objects: Vec<(String, u64)> = [
        ("a", 3),
        ("a/b", 4096),
        ("a/c/", 0),
        ("a/empty", 0),
        ("a//x", 5),
        ("deep/er/and/deeper/still", 4097),
        ("grüße/日本語", 12_345),
        ("line\nbreak \"quoted\" \\ back", 7),
        ("zlarge", 9_000_001),
    ]
    .into_iter()
    .map(|(key, size)| (key.to_owned(), size))
    .collect();
    objects.push(("n".repeat(255), 1));
    objects.extend((0..3000).map(|n| (format!("many/object-{n:05}"), n % 50)));
    objects.extend((0..70).map(|n| (format!("dirs/{n}/x"), 1)));
    objects
}

/// The tree as `debugfs` extracts it, against the plan.
fn check_with_debugfs(image: &Path, plan: &Plan) {
    let out = tempfile::tempdir().unwrap();
    run("debugfs", &["-R", &format!("rdump / {}", out.path().display()), image.to_str().unwrap()]);
    let mut files = 0;
    for entry in plan.entries().unwrap() {
        let entry = entry.unwrap();
        let path = out.path().join(entry.place.path().as_str());
        if entry.place.is_file() {
            files += 1;
            assert!(
                std::fs::read(&path).unwrap() == bytes_of(entry.sequence, entry.object.size_bytes),
                "{}",
                path.display()
            );
        } else {
            assert!(path.is_dir());
        }
    }
    assert!(files > 0);
    assert_eq!(std::fs::read(out.path().join(".export/document")).unwrap(), b"a document\n");
}

#[test]
#[ignore = "needs e2fsprogs: tests/device-tools/run"]
fn e2fsck_is_content_and_debugfs_reads_every_file() {
    let work = tempfile::tempdir().unwrap();
    let plan = plan_of(work.path(), &assorted());
    let identity = || Identity::of_job("TC44P", "TC44P", 1_600_000_000).unwrap();
    for (name, size) in [
        ("small", Size::Fitting { reserve_bytes: 100_000 }),
        ("groups", Size::Exactly { bytes: 700 << 20 }),
        ("odd", Size::Exactly { bytes: (128 << 20) + 3_333_333 }),
        ("tiny-last-group", Size::Exactly { bytes: (256 << 20) + 40_960 }),
        ("terabytes", Size::Exactly { bytes: 16_000_000_000_000 }),
    ] {
        let layout = Layout::new(&plan, &[".export/document"], identity(), size).unwrap();
        let image = work.path().join(name);
        let volume = RawVolume::create(&image, layout.size_bytes()).unwrap();
        write_image(&plan, layout, volume);
        let path = image.to_str().unwrap();
        let report = run("e2fsck", &["-fn", path]);
        assert!(!report.contains("could be"), "{report}");
        check_with_debugfs(&image, &plan);
        std::fs::remove_file(image).unwrap();
    }
}

#[test]
#[ignore = "needs e2fsprogs: tests/device-tools/run"]
fn debugfs_finds_names_by_their_hash() {
    let work = tempfile::tempdir().unwrap();
    let objects: Vec<(String, u64)> = (0..40_000).map(|n| (format!("{n:x}-é{}", n * 7919), 0)).collect();
    let plan = plan_of(work.path(), &objects);
    let identity = Identity::of_job("HASH1", "", 0).unwrap();
    let layout =
        Layout::new(&plan, &[".export/document"], identity, Size::Fitting { reserve_bytes: 4096 }).unwrap();
    let image = work.path().join("image");
    let volume = RawVolume::create(&image, layout.size_bytes()).unwrap();
    write_image(&plan, layout, volume);
    let mut commands = String::new();
    for (key, _) in objects.iter().step_by(397) {
        writeln!(commands, "dx_hash -h half_md4 \"{key}\"").unwrap();
    }
    run("e2fsck", &["-fn", image.to_str().unwrap()]);
    let text = run("debugfs", &["-R", "htree_dump /bucket", image.to_str().unwrap()]);
    assert!(text.contains("Number of Levels") || text.contains("Indirect levels: 0"), "{text}");
}

const PASSWORD: &str = "correct horse battery";

/// A container of 48 MiB over a file, with a file system's beginning inside.
fn container_file(directory: &Path, format: Format) -> std::path::PathBuf {
    let path = directory.join("container");
    let volume = RawVolume::create(&path, 48 << 20).unwrap();
    let password = Password::new(PASSWORD);
    let container = Container::create(volume, format, &password, &mut SystemEntropy).unwrap();
    container.write_at(0, &mut bytes_of(7, 1 << 20)).unwrap();
    container.sync().unwrap();
    path
}

#[test]
#[ignore = "needs cryptsetup: tests/device-tools/run"]
fn cryptsetup_accepts_veracrypt_and_truecrypt_headers_and_their_copies() {
    let work = tempfile::tempdir().unwrap();
    // Without a kernel's ciphers cryptsetup gives up at the first cipher that OpenSSL does not have, so hash and cipher are named.
    for (format, flags) in [
        // 15,000 + 485 * 1,000 rounds are the default; saying so keeps TrueCrypt's SHA-512 from being tried first.
        (
            Format::VeraCrypt(VeraCryptPrf::Sha512),
            &["--veracrypt", "--veracrypt-pim", "485", "--hash", "sha512"][..],
        ),
        (Format::VeraCrypt(VeraCryptPrf::Sha256), &["--veracrypt", "--hash", "sha256"]),
        (Format::TrueCrypt(TrueCryptPrf::Ripemd160), &["--disable-veracrypt", "--hash", "ripemd160"]),
        (Format::TrueCrypt(TrueCryptPrf::Sha512), &["--disable-veracrypt", "--hash", "sha512"]),
    ] {
        let path = container_file(work.path(), format);
        for copy in [&[][..], &["--tcrypt-backup"]] {
            let mut arguments = vec!["tcryptDump", "-q", "--cipher", "aes"];
            arguments.extend_from_slice(flags);
            arguments.extend_from_slice(copy);
            arguments.push(path.to_str().unwrap());
            let dump = run_with_input("cryptsetup", &arguments, PASSWORD);
            assert!(dump.contains("aes") && dump.contains("xts-plain64"), "{dump}");
            assert!(dump.contains("512"), "{dump}");
        }
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
#[ignore = "needs cryptsetup: tests/device-tools/run"]
fn cryptsetup_opens_luks2_with_the_passphrase() {
    let work = tempfile::tempdir().unwrap();
    for kdf in [Luks2Kdf::Argon2id, Luks2Kdf::Pbkdf2] {
        let path = container_file(work.path(), Format::Luks2(kdf));
        let file = path.to_str().unwrap();
        let dump = run("cryptsetup", &["luksDump", file]);
        assert!(dump.contains("aes-xts-plain64") && dump.contains("16777216"), "{dump}");
        run("cryptsetup", &["isLuks", "--type", "luks2", file]);
        run_with_input("cryptsetup", &["open", "--test-passphrase", "--type", "luks2", file], PASSWORD);
        // It decrypts in place, in user space, which shows how the data's sectors are numbered.
        let header = work.path().join("header");
        let options = ["reencrypt", "--decrypt", "--force-offline-reencrypt", "--batch-mode", "--header"];
        run_with_input("cryptsetup", &[&options[..], &[header.to_str().unwrap(), file]].concat(), PASSWORD);
        let decrypted = std::fs::read(&path).unwrap();
        assert!(decrypted[..1 << 20] == bytes_of(7, 1 << 20));
        std::fs::remove_file(header).unwrap();
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
#[ignore = "needs tcplay and a loop device: tests/device-tools/run"]
fn tcplay_accepts_truecrypt_headers() {
    let work = tempfile::tempdir().unwrap();
    for format in [Format::TrueCrypt(TrueCryptPrf::Ripemd160), Format::TrueCrypt(TrueCryptPrf::Sha512)] {
        let path = container_file(work.path(), format);
        let device = run("losetup", &["-f", "--show", "-r", path.to_str().unwrap()]);
        let device = device.trim();
        let info = run_with_input("tcplay", &["-i", "-d", device], &format!("{PASSWORD}\n"));
        run("losetup", &["-d", device]);
        assert!(info.contains("AES-256-XTS"), "{info}");
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
#[ignore = "needs ntfs-3g and FUSE: tests/device-tools/run"]
fn ntfs_takes_every_name_and_gives_every_byte_back() {
    let work = tempfile::tempdir().unwrap();
    let mut planner = Planner::new(work.path(), NamingRules::new(FileSystem::Ntfs)).unwrap();
    let keys = ["a:b", "a_b", "con", "Case", "case", "trail.", "dir /x", "grüße/日本", "d/", "q?", "x//y"];
    for key in keys {
        planner.add("bucket", object(key, if key == "d/" { 0 } else { 70_000 })).unwrap();
    }
    let plan = planner.seal().unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let programs = Programs::find(&path).unwrap();
    let root = work.path().join("mounted");
    let inside = work.path().join("inside");
    std::fs::create_dir(&root).unwrap();
    std::fs::create_dir(&inside).unwrap();

    // On a bare file.
    let image = work.path().join("image");
    drop(RawVolume::create(&image, 64 << 20).unwrap());
    programs.format(&image, "EXPORT").unwrap();
    write_and_verify_ntfs(&programs, &plan, &image, &root);

    // In a container, of which nothing is ever on a disk in clear.
    std::fs::remove_file(work.path().join("journal.jsonl")).unwrap();
    let file = work.path().join("NTFS1.hc");
    let volume = RawVolume::create(&file, 64 << 20).unwrap();
    let password = Password::new(PASSWORD);
    let format = Format::VeraCrypt(VeraCryptPrf::Sha256);
    let container = Container::create(volume, format, &password, &mut SystemEntropy).unwrap();
    let view = DecryptedView::mount(Arc::new(container), &inside).unwrap();
    programs.format(view.path(), "EXPORT").unwrap();
    write_and_verify_ntfs(&programs, &plan, view.path(), &root);
    view.unmount().unwrap();
    let sample = &bytes_of(0, 64)[..];
    assert!(std::fs::read(&image).unwrap().windows(64).any(|bytes| bytes == sample));
    assert!(!std::fs::read(&file).unwrap().windows(64).any(|bytes| bytes == sample), "in clear");

    // Again, through a fresh decryptor.
    let container = Container::open(RawVolume::open_for_writing(&file).unwrap(), &password).unwrap();
    let view = DecryptedView::mount(Arc::new(container), &inside).unwrap();
    verify_ntfs(&programs, view.path(), &root);
    view.unmount().unwrap();
}

fn write_and_verify_ntfs(programs: &Programs, plan: &Plan, image: &Path, root: &Path) {
    let mounted = programs.mount(image, root, Access::Write).unwrap();
    let mut session = Session::open(plan.clone(), DirectorySink::new(mounted.directory())).unwrap();
    while let Some(entry) = session.next_file().unwrap() {
        session.write(&bytes_of(entry.sequence, entry.object.size_bytes)).unwrap();
        session.end_file(Attributes::default(), None, 1).unwrap();
    }
    let bag = BagInfo { job: "NTFS1".into(), date: "2026-01-02".into() };
    session.finish(Arrangement::Plain, &bag).unwrap();
    mounted.unmount().unwrap();
    assert!(std::fs::read_dir(root).unwrap().next().is_none(), "still mounted");
    verify_ntfs(programs, image, root);
}

fn verify_ntfs(programs: &Programs, image: &Path, root: &Path) {
    let mounted = programs.mount(image, root, Access::Read).unwrap();
    let medium = MountedMedium::new(mounted.directory(), &["System Volume Information"]);
    let verdict = verify(&medium, &Scope::Full, &mut |_| Ok(())).unwrap();
    assert!(verdict.is_right(), "{verdict:?}");
    assert_eq!(verdict.right_files, 10);
    mounted.unmount().unwrap();
}

#[test]
#[ignore = "needs root and a loop device: tests/device-tools/run"]
fn kernel_gives_the_signature_of_a_disk_that_stays_as_it_was() {
    let work = tempfile::tempdir().unwrap();
    let content = work.path().join("content");
    std::fs::create_dir(&content).unwrap();
    let image = work.path().join("image");
    for signature in [Some("version:2.0\njobId:TC44P\n"), None] {
        match signature {
            Some(text) => std::fs::write(content.join("SIGNATURE"), text).unwrap(),
            None => std::fs::remove_file(content.join("SIGNATURE")).unwrap(),
        }
        drop(RawVolume::create(&image, 16 << 20).unwrap());
        let (path, directory) = (image.to_str().unwrap(), content.to_str().unwrap());
        run("mke2fs", &["-q", "-F", "-t", "ext4", "-d", directory, path]);
        let before = std::fs::read(&image).unwrap();
        let device = run("losetup", &["-f", "--show", path]);
        let name = device.trim().trim_start_matches("/dev/").to_owned();
        let found = signature_of_disk(&Disk { name, ..Disk::default() });
        run("losetup", &["-d", device.trim()]);
        match signature {
            Some(text) => assert_eq!(found.unwrap(), text),
            None => assert_eq!(found.unwrap_err().kind(), ErrorKind::Refused),
        }
        assert!(std::fs::read(&image).unwrap() == before, "the disk was written");
        std::fs::remove_file(&image).unwrap();
    }
}

#[test]
#[ignore = "needs root and a loop device: tests/device-tools/run"]
fn kernel_mounts_the_image_and_finds_every_name() {
    let work = tempfile::tempdir().unwrap();
    let mut objects = assorted();
    objects.extend((0..60_000).map(|n| (format!("flat/{n}-{}", "x".repeat(n % 90)), 1)));
    let plan = plan_of(work.path(), &objects);
    let identity = Identity::of_job("KERN1", "KERN1", 1_600_000_000).unwrap();
    let size = Size::Exactly { bytes: 600 << 20 };
    let layout = Layout::new(&plan, &[".export/document"], identity, size).unwrap();
    let image = work.path().join("image");
    let volume = RawVolume::create(&image, layout.size_bytes()).unwrap();
    write_image(&plan, layout, volume);
    let root = work.path().join("mounted");
    std::fs::create_dir(&root).unwrap();
    let (image, mounted) = (image.to_str().unwrap(), root.to_str().unwrap());
    run("mount", &["-t", "ext4", "-o", "ro,loop,errors=continue", image, mounted]);
    let mut wrong = Vec::new();
    for entry in plan.entries().unwrap() {
        let entry = entry.unwrap();
        let path = root.join(entry.place.path().as_str());
        let right = if entry.place.is_file() {
            std::fs::read(&path).is_ok_and(|read| read == bytes_of(entry.sequence, entry.object.size_bytes))
        } else {
            path.is_dir()
        };
        if !right {
            wrong.push(path);
        }
    }
    run("umount", &[mounted]);
    assert_eq!(wrong, Vec::<std::path::PathBuf>::new());
}
