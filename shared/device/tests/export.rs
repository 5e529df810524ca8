//! A whole export without a store: planned, written, killed, resumed, read back.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ferry_device::ErrorKind;
use ferry_device::container::{Container, Format, Luks2Kdf, Password, SystemEntropy, TrueCryptPrf};
use ferry_device::documents::{Arrangement, BagInfo, reserve_bytes};
use ferry_device::export_log::{LogWriter, Report, write_planned};
use ferry_device::ext4::{Identity, Layout, Reader, Size};
use ferry_device::extract::extract;
use ferry_device::journal::{Attributes, Journal, Outcome};
use ferry_device::medium::{self, Medium, MountedMedium};
use ferry_device::naming::{FileSystem, NamingRules};
use ferry_device::ntfs::inside::InsideProgram;
use ferry_device::plan::{Object, Plan, Planner};
use ferry_device::session::Session;
use ferry_device::sink::{DirectorySink, ImageSink, Sink};
use ferry_device::target::Target;
use ferry_device::verify::{Problem, Scope, verify};
use ferry_device::volume::{RawVolume, Volume};
use proptest::prelude::*;

fn bytes_of(sequence: u64, size: u64) -> Vec<u8> {
    (0..size).map(|n| ((n * 31 + sequence * 7 + n / 4096) % 251).to_le_bytes()[0]).collect()
}

fn plan_of(directory: &Path, arrangement: Arrangement, objects: &[(String, u64)]) -> Plan {
    let rules = NamingRules::new(FileSystem::Ext4).below(arrangement.payload_directory());
    let mut planner = Planner::new(directory, rules).unwrap();
    for (number, (key, size_bytes)) in (0i64..).zip(objects) {
        let object = Object {
            operation: 0,
            bucket: "bucket".into(),
            key: key.clone(),
            version_id: None,
            etag: None,
            size_bytes: *size_bytes,
            modified_unix_secs: 1_500_000_000 + number,
            storage_class: None,
        };
        planner.add("bucket", object).unwrap();
    }
    planner.seal().unwrap()
}

fn assorted() -> Vec<(String, u64)> {
    let mut objects: Vec<(String, u64)> =
        [("a", 3), ("a/b", 4096), ("a/c/", 0), ("a//x", 5), ("back\\slash\nline", 70_000), ("grüße/日", 1)]
            .into_iter()
            .map(|(key, size)| (key.to_owned(), size))
            .collect();
    objects.extend((0..700).map(|n| (format!("many/object-{n:04}"), n * 13 % 9000)));
    objects
}

/// Goes on with the plan and stops, as a kill would, after so many files.
fn copy<S: Sink>(session: &mut Session<S>, stop_after: Option<u64>) {
    let mut files = 0;
    while let Some(entry) = session.next_file().unwrap() {
        for chunk in bytes_of(entry.sequence, entry.object.size_bytes).chunks(1000) {
            session.write(chunk).unwrap();
        }
        let mut attributes = Attributes::default();
        attributes.headers.insert("content-type".into(), "text/plain".into());
        session.end_file(attributes, None, 1).unwrap();
        files += 1;
        if files % 50 == 0 {
            session.commit().unwrap();
        }
        if stop_after == Some(files) {
            return;
        }
    }
}

/// No medium here is an NTFS, so nobody has to show one.
fn nobody() -> InsideProgram {
    InsideProgram { program: "/nowhere".into(), arguments: Vec::new() }
}

fn bag() -> BagInfo {
    BagInfo { job: "TC44P".into(), date: "2026-01-02".into() }
}

fn layout_of(plan: &Plan, arrangement: Arrangement) -> Arc<Layout> {
    let identity = Identity::of_job("TC44P", "TC44P", 1_600_000_000).unwrap();
    let size = Size::Fitting { reserve_bytes: reserve_bytes(plan) };
    Arc::new(Layout::new(plan, arrangement.documents(), identity, size).unwrap())
}

fn image_of(work: &Path, arrangement: Arrangement, stops: &[u64]) -> (Plan, PathBuf) {
    let plan = plan_of(work, arrangement, &assorted());
    let layout = layout_of(&plan, arrangement);
    let path = work.join("image");
    for stop in stops {
        let volume = RawVolume::create(&path, layout.size_bytes()).unwrap();
        let sink = ImageSink::new(Arc::clone(&layout), volume).unwrap();
        let mut session = Session::open(plan.clone(), sink).unwrap();
        copy(&mut session, Some(*stop));
    }
    let volume = RawVolume::create(&path, layout.size_bytes()).unwrap();
    let mut session = Session::open(plan.clone(), ImageSink::new(layout, volume).unwrap()).unwrap();
    copy(&mut session, None);
    session.finish(arrangement, &bag()).unwrap();
    (plan, path)
}

/// Every file of the plan, read back byte by byte.
fn check_all(plan: &Plan, medium: &dyn Medium) {
    for entry in plan.entries().unwrap() {
        let entry = entry.unwrap();
        let mut read = Vec::new();
        let found = medium
            .read(entry.place.path().as_str(), &mut |data| {
                read.extend_from_slice(data);
                Ok(())
            })
            .unwrap();
        assert_eq!(found, entry.place.is_file(), "{}", entry.place.path());
        if found {
            assert!(read == bytes_of(entry.sequence, entry.object.size_bytes), "{}", entry.place.path());
        }
    }
}

#[test]
fn an_image_is_read_back_and_verified_in_both_arrangements() {
    for arrangement in [Arrangement::Plain, Arrangement::BagIt] {
        let work = tempfile::tempdir().unwrap();
        let (plan, image) = image_of(work.path(), arrangement, &[]);
        let reader = Reader::open(RawVolume::open(&image).unwrap()).unwrap();
        check_all(&plan, &reader);
        let verdict = verify(&reader, &Scope::Full, &mut |_| Ok(())).unwrap();
        assert!(verdict.is_right(), "{verdict:?}");
        assert_eq!(verdict.right_files, 705);
        assert_eq!(verdict.bytes, plan.summary().bytes);

        let out = tempfile::tempdir().unwrap();
        let extracted = extract(&reader, "", out.path()).unwrap();
        assert_eq!(extracted.files, 705 + arrangement.documents().len() as u64);
        let mounted = MountedMedium::new(out.path(), &[]);
        check_all(&plan, &mounted);
        assert!(verify(&mounted, &Scope::Full, &mut |_| Ok(())).unwrap().is_right());
        let node = reader.find(plan.entries().unwrap().next().unwrap().unwrap().place.path().as_str());
        assert_eq!(node.unwrap().unwrap().modified_unix_secs(), 1_500_000_000);
    }
}

#[test]
fn a_changed_bit_a_lost_file_and_a_foreign_one_are_told() {
    let work = tempfile::tempdir().unwrap();
    let (_, image) = image_of(work.path(), Arrangement::Plain, &[]);
    let out = tempfile::tempdir().unwrap();
    extract(&Reader::open(RawVolume::open(&image).unwrap()).unwrap(), "", out.path()).unwrap();
    let at = |name: &str| out.path().join("bucket/many").join(name);
    let mut bytes = std::fs::read(at("object-0500")).unwrap();
    bytes[100] ^= 1;
    std::fs::write(at("object-0500"), bytes).unwrap();
    std::fs::remove_file(at("object-0600")).unwrap();
    std::fs::write(at("foreign"), b"x").unwrap();
    std::fs::write(at("foreign too"), b"x").unwrap();
    let verdict = verify(&MountedMedium::new(out.path(), &[]), &Scope::Full, &mut |_| Ok(())).unwrap();
    assert_eq!(
        verdict.problems,
        [
            Problem::Differs { path: "bucket/many/object-0500".into() },
            Problem::Missing { path: "bucket/many/object-0600".into() },
            Problem::Unlisted { files: 2 },
        ]
    );
}

#[test]
fn an_unfinished_image_is_no_file_system() {
    let work = tempfile::tempdir().unwrap();
    let (plan, image) = image_of(work.path(), Arrangement::Plain, &[]);
    let layout = layout_of(&plan, Arrangement::Plain);
    // Begun again over the finished one.
    let volume = RawVolume::create(&image, layout.size_bytes()).unwrap();
    let mut sink = ImageSink::new(layout, volume).unwrap();
    sink.commit().unwrap();
    assert!(Reader::open(RawVolume::open(&image).unwrap()).is_err());
}

#[test]
fn a_directory_takes_the_same_export() {
    let work = tempfile::tempdir().unwrap();
    let target = tempfile::tempdir().unwrap();
    let plan = plan_of(work.path(), Arrangement::Plain, &assorted());
    let mut session = Session::open(plan.clone(), DirectorySink::new(target.path())).unwrap();
    copy(&mut session, Some(123));
    drop(session);
    let mut session = Session::open(plan.clone(), DirectorySink::new(target.path())).unwrap();
    assert_eq!(session.progress().0, 100, "the last commit");
    copy(&mut session, None);
    session.finish(Arrangement::Plain, &bag()).unwrap();
    let medium = MountedMedium::new(target.path(), &[]);
    check_all(&plan, &medium);
    assert!(verify(&medium, &Scope::Full, &mut |_| Ok(())).unwrap().is_right());
}

/// Two objects, the first of which comes three times and the second not at all.
fn copy_with_trouble<S: Sink>(plan: &Plan, sink: S) {
    let mut session = Session::open(plan.clone(), sink).unwrap();
    session.next_file().unwrap();
    session.write(b"123").unwrap();
    assert!(session.end_file(Attributes::default(), None, 1).is_err(), "bytes are missing");
    session.restart_file().unwrap();
    session.write(b"12345").unwrap();
    assert!(session.write(b"6").is_err(), "too many bytes");
    session.restart_file().unwrap();
    session.write(b"54321").unwrap();
    session.end_file(Attributes::default(), None, 1).unwrap();
    session.next_file().unwrap();
    session.write(b"half").unwrap();
    session.give_up_file(Outcome::Changed, "412", 1).unwrap();
    session.next_file().unwrap();
    session.write(b"after it").unwrap();
    session.end_file(Attributes::default(), None, 1).unwrap();
    session.finish(Arrangement::Plain, &bag()).unwrap();
}

#[test]
fn an_object_that_changed_leaves_zeros_and_is_told() {
    let objects = [("a".into(), 5), ("b".into(), 70_000), ("c".into(), 8)];
    let (work, of_image) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = tempfile::tempdir().unwrap();
    let plan = plan_of(work.path(), Arrangement::Plain, &objects);
    copy_with_trouble(&plan, DirectorySink::new(target.path()));
    let outcomes: Vec<Outcome> =
        Journal::records(work.path()).unwrap().map(|record| record.unwrap().outcome).collect();
    assert_eq!(outcomes, [Outcome::Written, Outcome::Changed, Outcome::Written]);

    let plan = plan_of(of_image.path(), Arrangement::Plain, &objects);
    let layout = layout_of(&plan, Arrangement::Plain);
    let image = of_image.path().join("image");
    let volume = RawVolume::create(&image, layout.size_bytes()).unwrap();
    copy_with_trouble(&plan, ImageSink::new(layout, volume).unwrap());
    let mounted: Box<dyn Medium> = Box::new(MountedMedium::new(target.path(), &[]));
    let image = medium::open(&Target::Image(image), None, &nobody()).unwrap();
    for medium in [mounted, image] {
        for (path, wanted) in [("a", b"54321".to_vec()), ("b", vec![0; 70_000]), ("c", b"after it".to_vec())]
        {
            let mut read = Vec::new();
            let take = &mut |data: &[u8]| {
                read.extend_from_slice(data);
                Ok(())
            };
            assert!(medium.read(&format!("bucket/{path}"), take).unwrap());
            assert!(read == wanted, "{path}");
        }
        assert!(verify(medium.as_ref(), &Scope::Full, &mut |_| Ok(())).unwrap().is_right());
    }
}

#[test]
fn attributes_that_have_no_room_are_left_out_and_told_and_the_medium_is_whole() {
    let work = tempfile::tempdir().unwrap();
    let objects: Vec<(String, u64)> = (0..3000).map(|number| (format!("{number:04}"), 10)).collect();
    let plan = plan_of(work.path(), Arrangement::BagIt, &objects);
    let layout = layout_of(&plan, Arrangement::BagIt);
    let image = work.path().join("image");
    let volume = RawVolume::create(&image, layout.size_bytes()).unwrap();
    let mut session = Session::open(plan.clone(), ImageSink::new(layout, volume).unwrap()).unwrap();
    while session.next_file().unwrap().is_some() {
        session.write(&[7; 10]).unwrap();
        let mut attributes = Attributes::default();
        attributes.metadata.insert("story".into(), "\"".repeat(7000));
        session.end_file(attributes, None, 1).unwrap();
    }
    session.finish(Arrangement::BagIt, &bag()).unwrap();
    let medium = medium::open(&Target::Image(image), None, &nobody()).unwrap();
    assert!(verify(medium.as_ref(), &Scope::Full, &mut |_| Ok(())).unwrap().is_right());
    let report = Report::of(&plan, "TC44P").unwrap();
    assert!((2000..3000).contains(&report.without_attributes), "{report:?}");
    assert!(report.has_errors());
    let mut log = LogWriter::new(Vec::new()).unwrap();
    write_planned(&mut log, &plan).unwrap();
    let log = String::from_utf8(log.into_inner().unwrap()).unwrap();
    assert_eq!(log.matches("had no room").count() as u64, report.without_attributes);
}

#[test]
fn inside_a_container_a_resumed_export_is_the_same_and_a_fresh_decryptor_reads_it() {
    let password = Password::new("correct horse");
    for format in [Format::TrueCrypt(TrueCryptPrf::Sha512), Format::Luks2(Luks2Kdf::Argon2id)] {
        let work = tempfile::tempdir().unwrap();
        let plan = plan_of(work.path(), Arrangement::Plain, &assorted());
        let layout = layout_of(&plan, Arrangement::Plain);
        let path = work.path().join("TC44P.tc");
        let volume = RawVolume::create(&path, layout.size_bytes() + format.overhead_bytes()).unwrap();
        drop(Container::create(volume, format, &password, &mut SystemEntropy).unwrap());
        let open = || Container::open(RawVolume::open_for_writing(&path).unwrap(), &password).unwrap();
        let mut session =
            Session::open(plan.clone(), ImageSink::new(Arc::clone(&layout), open()).unwrap()).unwrap();
        copy(&mut session, Some(333));
        drop(session);
        let mut session =
            Session::open(plan.clone(), ImageSink::new(Arc::clone(&layout), open()).unwrap()).unwrap();
        copy(&mut session, None);
        session.finish(Arrangement::Plain, &bag()).unwrap();
        let directory = Target::Directory(work.path().to_owned());
        let medium = medium::open(&directory, Some(&password), &nobody()).unwrap();
        check_all(&plan, &*medium);
        assert!(verify(&*medium, &Scope::Full, &mut |_| Ok(())).unwrap().is_right());
        let kind = |password| medium::open(&directory, password, &nobody()).map(|_| ()).unwrap_err().kind();
        let wrong = Password::new("wrong");
        assert_eq!(kind(Some(&wrong)), ErrorKind::WrongPassword);
        assert_eq!(kind(None), ErrorKind::InvalidInput);
        let clear = tempfile::tempdir().unwrap();
        let (_, image) = image_of(clear.path(), Arrangement::Plain, &[]);
        let inside = open();
        let mut decrypted = vec![0; usize::try_from(layout.size_bytes()).unwrap()];
        inside.read_at(0, &mut decrypted).unwrap();
        let image = std::fs::read(image).unwrap();
        // Blocks that were never written are holes in one and noise in the other.
        let differing = decrypted
            .chunks(4096)
            .zip(image.chunks(4096))
            .filter(|(decrypted, clear)| decrypted != clear && clear.iter().any(|byte| *byte != 0))
            .count();
        assert_eq!(differing, 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    #[test]
    fn a_killed_export_goes_on_to_the_same_bytes(stops in prop::collection::vec(0u64..400, 1..4)) {
        let stops: Vec<u64> = stops.into_iter().map(|stop| stop + 1).collect();
        let whole = tempfile::tempdir().unwrap();
        let (_, expected) = image_of(whole.path(), Arrangement::Plain, &[]);
        let broken = tempfile::tempdir().unwrap();
        let (_, resumed) = image_of(broken.path(), Arrangement::Plain, &stops);
        prop_assert!(std::fs::read(expected).unwrap() == std::fs::read(resumed).unwrap());
    }
}
