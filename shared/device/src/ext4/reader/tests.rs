//! Images whose maker means harm, and images that are damaged.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::documents::{Arrangement, BagInfo, reserve_bytes};
use crate::ext4::{Identity, Layout, Size};
use crate::extract::extract;
use crate::journal::Attributes;
use crate::medium::Medium as _;
use crate::naming::{FileSystem, NamingRules};
use crate::plan::{Object, Planner};
use crate::session::Session;
use crate::sink::ImageSink;
use crate::verify::{Problem, Scope, verify};
use crate::volume::RawVolume;

/// An image of four files in two directories.
fn image(work: &Path) -> PathBuf {
    let mut planner = Planner::new(work, NamingRules::new(FileSystem::Ext4)).unwrap();
    for key in ["a/1", "a/2", "b/3", "b/4"] {
        let object = Object {
            operation: 0,
            bucket: "docks".into(),
            key: key.into(),
            version_id: None,
            etag: None,
            size_bytes: 5000,
            modified_unix_secs: 1_600_000_000,
            storage_class: None,
        };
        planner.add("docks", object).unwrap();
    }
    let plan = planner.seal().unwrap();
    let identity = Identity::of_job("TC44P", "TC44P", 1_600_000_000).unwrap();
    let size = Size::Fitting { reserve_bytes: reserve_bytes(&plan) };
    let layout = Arc::new(Layout::new(&plan, Arrangement::Plain.documents(), identity, size).unwrap());
    let path = work.join("image");
    let volume = RawVolume::create(&path, layout.size_bytes()).unwrap();
    let mut session = Session::open(plan, ImageSink::new(layout, volume).unwrap()).unwrap();
    while session.next_file().unwrap().is_some() {
        session.write(&[7; 5000]).unwrap();
        session.end_file(Attributes::default(), None, 1).unwrap();
    }
    let bag = BagInfo { job: "TC44P".into(), date: "2026-01-01".into() };
    session.finish(Arrangement::Plain, &bag).unwrap();
    path
}

fn open(image: &Path) -> Result<Reader<RawVolume>> {
    Reader::open(RawVolume::open(image).unwrap())
}

/// Changes an image's bytes.
fn poke(image: &Path, at: u64, change: impl FnOnce(&mut [u8]), length: usize) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(image).unwrap();
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, at).unwrap();
    change(&mut bytes);
    file.write_all_at(&bytes, at).unwrap();
}

/// Where an inode stands.
fn inode_at(reader: &Reader<RawVolume>, inode: u32) -> u64 {
    let block = reader.block(1).unwrap();
    get64_split(&block[..DESCRIPTOR], 8, 40) * BLOCK_BYTES + u64::from(inode - 1) * INODE as u64
}

/// Changes an inode and makes its checksum right, as whoever means harm does.
fn forge_inode(image: &Path, inode: u32, change: impl FnOnce(&mut [u8])) {
    let reader = open(image).unwrap();
    let (at, seed) = (inode_at(&reader, inode), reader.seed);
    poke(
        image,
        at,
        |raw| {
            change(raw);
            raw[124..126].fill(0);
            raw[130..132].fill(0);
            let checksum = seed.of_inode(inode).checksum(&[&*raw]).to_le_bytes();
            raw[124..126].copy_from_slice(&checksum[..2]);
            raw[130..132].copy_from_slice(&checksum[2..]);
        },
        INODE,
    );
}

#[test]
fn numbers_that_no_file_system_has_are_refused() {
    let work = tempfile::tempdir().unwrap();
    for (field, value) in [(40, 0_u32), (40, u32::MAX), (0, 0)] {
        let image = image(&tempfile::Builder::new().tempdir_in(work.path()).unwrap().keep());
        poke(
            &image,
            SUPERBLOCK_AT as u64,
            |raw| {
                raw[field..field + 4].copy_from_slice(&value.to_le_bytes());
                let checksum = Seed::START.checksum(&[&raw[..CHECKSUM_AT]]).to_le_bytes();
                raw[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&checksum);
            },
            SUPERBLOCK_BYTES,
        );
        assert!(open(&image).is_err(), "{field} {value}");
    }
}

#[test]
fn a_file_of_endless_bytes_and_extents_that_lead_to_themselves_end() {
    let work = tempfile::tempdir().unwrap();
    let image = image(work.path());
    let inode = open(&image).unwrap().find("docks/a/1").unwrap().unwrap().inode;
    forge_inode(&image, inode, |raw| {
        raw[4..8].fill(0xff);
        raw[108..112].fill(0xff);
    });
    assert!(open(&image).unwrap().find("docks/a/1").is_err());
    let inode = open(&image).unwrap().find("docks/a/2").unwrap().unwrap().inode;
    // An index as deep as it gets, whose one entry is a block of zeros.
    forge_inode(&image, inode, |raw| raw[46..48].copy_from_slice(&9_u16.to_le_bytes()));
    let reader = open(&image).unwrap();
    let node = reader.find("docks/a/2").unwrap().unwrap();
    assert!(reader.read(&node, &mut |_| Ok(())).is_err());
}

#[test]
fn directories_that_lead_in_circles_end() {
    let work = tempfile::tempdir().unwrap();
    let image = image(work.path());
    let reader = open(&image).unwrap();
    let (docks, a) = (reader.find("docks").unwrap().unwrap(), reader.find("docks/a").unwrap().unwrap());
    // What "docks/a" leads to is "docks" itself, wherever its entry stands.
    let mut raw = [0; INODE];
    std::fs::File::open(&image).unwrap().read_exact_at(&mut raw, inode_at(&reader, docks.inode)).unwrap();
    let mut block = reader.file_block(&docks, 0).unwrap();
    let entry = block.windows(9).position(|w| get32(w, 0) == a.inode && w[6] == 1 && w[8] == b'a').unwrap();
    block[entry..entry + 4].copy_from_slice(&docks.inode.to_le_bytes());
    let checksum = reader.seed.of_inode(docks.inode).checksum(&[&block[..TAIL]]).to_le_bytes();
    block[TAIL + 8..TAIL + 12].copy_from_slice(&checksum);
    let mut position = 0;
    reader
        .stretches(&docks, &mut |stretch| {
            position = stretch.physical;
            Ok(())
        })
        .unwrap();
    poke(&image, position * BLOCK_BYTES, |raw| raw.copy_from_slice(&block), BLOCK);
    // On a thread with as little stack as a runtime gives.
    let walked = std::thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(move || open(&image).unwrap().walk(&mut |_, _| Ok(())))
        .unwrap();
    let error = walked.join().expect("no overflow").expect_err("circles");
    assert!(error.to_string().contains("circles"), "{error}");
}

#[test]
fn what_is_damaged_is_told_and_the_rest_is_read_and_taken_out() {
    let work = tempfile::tempdir().unwrap();
    let image = image(work.path());
    let inode = open(&image).unwrap().find("docks/a/2").unwrap().unwrap().inode;
    let at = inode_at(&open(&image).unwrap(), inode);
    poke(&image, at + 20, |raw| raw[0] ^= 1, 1);
    let reader = open(&image).unwrap();
    let verdict = verify(&reader, &Scope::Full, &mut |_| Ok(())).unwrap();
    assert_eq!((verdict.right_files, verdict.wrong, verdict.listed_files), (3, 1, 4), "{verdict:?}");
    assert!(matches!(&verdict.problems[..], [Problem::Unreadable { path, .. }] if path == "docks/a/2"));
    let out = tempfile::tempdir().unwrap();
    for (files, passed_over) in [(3, 0), (0, 3)] {
        let extracted = extract(&reader, "docks/", out.path()).unwrap();
        assert_eq!((extracted.files, extracted.passed_over, extracted.damaged), (files, passed_over, 1));
    }
    assert_eq!(std::fs::read(out.path().join("docks/b/4")).unwrap(), [7; 5000]);
    assert!(!out.path().join("docks/a/2").exists());
    std::fs::write(out.path().join("docks/b/4"), "mine").unwrap();
    assert_eq!(extract(&reader, "", out.path()).unwrap_err().kind(), crate::ErrorKind::Refused);
    assert_eq!(std::fs::read(out.path().join("docks/b/4")).unwrap(), b"mine");
}

#[test]
fn what_is_taken_out_touches_nothing_else_whatever_it_is_called() {
    let medium = tempfile::tempdir().unwrap();
    let out = tempfile::tempdir().unwrap();
    let mine = tempfile::tempdir().unwrap();
    for name in [".ferry-partial", ".ferry-partial-0", "a"] {
        std::fs::write(medium.path().join(name), name).unwrap();
    }
    std::fs::write(mine.path().join("precious"), "mine").unwrap();
    std::os::unix::fs::symlink(mine.path().join("precious"), out.path().join(".ferry-partial-1")).unwrap();
    let mounted = crate::medium::MountedMedium::new(medium.path(), &[]);
    assert_eq!(extract(&mounted, "", out.path()).unwrap().files, 3);
    for name in [".ferry-partial", ".ferry-partial-0", "a"] {
        assert_eq!(std::fs::read_to_string(out.path().join(name)).unwrap(), name);
    }
    assert_eq!(std::fs::read_to_string(mine.path().join("precious")).unwrap(), "mine");
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 4, "nothing half is left");
    std::os::unix::fs::symlink(mine.path().join("precious"), out.path().join("b")).unwrap();
    std::fs::write(medium.path().join("b"), "theirs").unwrap();
    assert_eq!(extract(&mounted, "b", out.path()).unwrap_err().kind(), crate::ErrorKind::Refused);
    assert_eq!(std::fs::read_to_string(mine.path().join("precious")).unwrap(), "mine");
}

#[test]
fn a_list_that_is_spoilt_is_told_and_the_rest_of_it_is_checked() {
    let work = tempfile::tempdir().unwrap();
    let image = image(work.path());
    let out = tempfile::tempdir().unwrap();
    extract(&open(&image).unwrap(), "", out.path()).unwrap();
    let list = out.path().join(".export/manifest-sha256.txt");
    let mut bytes = std::fs::read(&list).unwrap();
    bytes[3] = b'x';
    std::fs::write(&list, &bytes).unwrap();
    let mounted = crate::medium::MountedMedium::new(out.path(), &[]);
    let verdict = verify(&mounted, &Scope::Full, &mut |_| Ok(())).unwrap();
    assert_eq!(verdict.right_files, 3, "{verdict:?}");
    assert!(verdict.problems.contains(&Problem::SpoiltList { lines: 1 }));
    let differs = Problem::Differs { path: ".export/manifest-sha256.txt".into() };
    assert!(verdict.problems.contains(&differs), "{verdict:?}");
}

#[test]
fn documents_are_checked_too() {
    let work = tempfile::tempdir().unwrap();
    let image = image(work.path());
    let verdict = verify(&open(&image).unwrap(), &Scope::Full, &mut |_| Ok(())).unwrap();
    assert_eq!((verdict.right_files, verdict.right_documents, verdict.wrong), (4, 3, 0), "{verdict:?}");
    let reader = open(&image).unwrap();
    let objects = reader.find(".export/objects.jsonl").unwrap().unwrap();
    let mut position = 0;
    reader
        .stretches(&objects, &mut |stretch| {
            position = stretch.physical;
            Ok(())
        })
        .unwrap();
    poke(&image, position * BLOCK_BYTES + 30, |raw| raw[0] ^= 1, 1);
    let verdict = verify(&open(&image).unwrap(), &Scope::Full, &mut |_| Ok(())).unwrap();
    assert_eq!((verdict.right_documents, verdict.wrong), (2, 1));
    assert!(matches!(&verdict.problems[..], [Problem::Differs { path }] if path == ".export/objects.jsonl"));
}

#[test]
fn a_sample_reads_some_files_and_says_so() {
    let work = tempfile::tempdir().unwrap();
    let image = image(work.path());
    let reader = open(&image).unwrap();
    let sample = Scope::Sample { share: "0.01%".parse().unwrap(), seed: 5 };
    let verdict = verify(&reader, &sample, &mut |_| Ok(())).unwrap();
    assert_eq!((verdict.scope.as_str(), verdict.listed_files, verdict.right_files), ("sample 0.01%", 4, 1));
    assert!(verdict.is_right() && verdict.bytes < 4 * 5000);
    // What is gone is missed all the same.
    let out = tempfile::tempdir().unwrap();
    extract(&reader, "", out.path()).unwrap();
    std::fs::remove_file(out.path().join("docks/b/4")).unwrap();
    let mounted = crate::medium::MountedMedium::new(out.path(), &[]);
    let verdict = verify(&mounted, &sample, &mut |_| Ok(())).unwrap();
    assert_eq!((verdict.wrong, verdict.missing_files), (1, 1), "{verdict:?}");
    assert!(mounted.read("docks/b/4", &mut |_| Ok(())).is_ok_and(|found| !found));
}
