//! Exports that are killed, gone back in and given up.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::*;
use crate::container::{Container, Format, Password, SystemEntropy, TrueCryptPrf};
use crate::documents::{Arrangement, BagInfo, reserve_bytes};
use crate::ext4::{Identity, Layout, Reader, Size};
use crate::medium::{Medium, MountedMedium};
use crate::naming::{FileSystem, NamingRules};
use crate::plan::{Object, Planner};
use crate::sink::{DirectorySink, ImageSink};
use crate::verify::{Scope, verify};
use crate::volume::RawVolume;

/// A file is committed after so many blocks of it.
const EVERY: u32 = 4;
const EVERY_BYTES: u64 = EVERY as u64 * BLOCK_BYTES;
const LARGE: u64 = 7 * EVERY_BYTES + 123;
const SIZES: [u64; 7] = [5, 0, LARGE, 3 * BLOCK_BYTES, 2 * EVERY_BYTES, 70_001, 1];
/// Where the first large one is among them.
const LARGE_SEQUENCE: u64 = 2;

fn plan_of(directory: &Path, sizes: &[u64], etag: Option<&str>) -> Plan {
    let mut planner = Planner::new(directory, NamingRules::new(FileSystem::Ext4)).unwrap();
    for (number, size_bytes) in sizes.iter().enumerate() {
        let object = Object {
            operation: 0,
            bucket: "b".into(),
            key: format!("d/{number}"),
            version_id: None,
            etag: etag.map(str::to_owned),
            size_bytes: *size_bytes,
            modified_unix_secs: 1_500_000_000,
            storage_class: None,
        };
        planner.add("b", object).unwrap();
    }
    planner.seal().unwrap()
}

fn bytes_of(entry: &PlanEntry) -> Vec<u8> {
    let sequence = entry.sequence;
    (0..entry.object.size_bytes)
        .map(|n| ((n * 31 + sequence * 7 + n / 4096) % 251).to_le_bytes()[0])
        .collect()
}

/// What an export is written on.
#[derive(Debug, Clone, Copy)]
enum On {
    Directory,
    Container,
}

/// An export, its work directory and its medium.
struct Export {
    on: On,
    home: tempfile::TempDir,
    plan: Plan,
    layout: Arc<Layout>,
}

impl Export {
    /// Several media of the same container: what was never written is the same on all.
    fn several<const N: usize>(on: On) -> [Self; N] {
        let mut header = Vec::new();
        std::array::from_fn(|_| {
            let home = tempfile::tempdir().unwrap();
            let work = home.path().join("work");
            std::fs::create_dir(&work).unwrap();
            std::fs::create_dir(home.path().join("medium")).unwrap();
            let plan = plan_of(&work, &SIZES, Some("\"tag\""));
            let identity = Identity::of_job("TC44P", "TC44P", 1_600_000_000).unwrap();
            let size = Size::Fitting { reserve_bytes: reserve_bytes(&plan) };
            let layout =
                Arc::new(Layout::new(&plan, Arrangement::Plain.documents(), identity, size).unwrap());
            let export = Self { on, home, plan, layout };
            if header.is_empty() {
                let format = Format::TrueCrypt(TrueCryptPrf::Sha512);
                let size_bytes = export.layout.size_bytes() + format.overhead_bytes();
                let volume = RawVolume::create(&export.container(), size_bytes).unwrap();
                Container::create(volume, format, &Self::password(), &mut SystemEntropy).unwrap();
                header = std::fs::read(export.container()).unwrap();
            } else {
                std::fs::write(export.container(), &header).unwrap();
            }
            export
        })
    }

    fn password() -> Password {
        Password::new("correct horse")
    }

    fn container(&self) -> PathBuf {
        self.home.path().join("container")
    }

    fn file(&self, sequence: u64) -> PathBuf {
        self.home.path().join(format!("medium/b/d/{sequence}"))
    }

    fn note(&self) -> PathBuf {
        self.plan.directory().join("part.json")
    }

    fn open(&self) -> Session<Box<dyn Sink>> {
        let sink: Box<dyn Sink> = match self.on {
            On::Directory => Box::new(DirectorySink::new(&self.home.path().join("medium"))),
            On::Container => {
                let volume = RawVolume::open_for_writing(&self.container()).unwrap();
                let container = Container::open(volume, &Self::password()).unwrap();
                Box::new(ImageSink::new(Arc::clone(&self.layout), container).unwrap())
            }
        };
        let every = NonZeroU32::new(EVERY).unwrap();
        Session::open(self.plan.clone(), sink).unwrap().committing_every(every)
    }

    /// Writes until so many bytes have come from the source, and is killed. Gives what came; `None` when the export is finished instead.
    fn carry_on(&self, stop_after: u64) -> Option<u64> {
        let mut session = self.open();
        let mut came = 0;
        while let Some(entry) = session.next_file().unwrap() {
            let bytes = bytes_of(&entry);
            let first = usize::try_from(unread_bytes(&session)).unwrap();
            assert!(read_back(&mut session).unwrap() == bytes[..first]);
            for piece in bytes[first..].chunks(1000) {
                if came + piece.len() as u64 > stop_after {
                    return Some(came);
                }
                session.write(piece).unwrap();
                came += piece.len() as u64;
            }
            session.end_file(Attributes::default(), None, 1).unwrap();
        }
        let bag = BagInfo { job: "TC44P".into(), date: "2026-01-02".into() };
        session.finish(Arrangement::Plain, &bag).unwrap();
        None
    }

    /// Killed within the first large file, of which so many bytes are noted then.
    fn killed_within(on: On) -> (Self, u64) {
        let [export] = Self::several(on);
        export.carry_on(5 * EVERY_BYTES).unwrap();
        let part = export.open().part().cloned().unwrap();
        assert_eq!((part.sequence(), part.bytes()), (LARGE_SEQUENCE, 4 * EVERY_BYTES));
        (export, part.bytes())
    }

    /// A session that has begun the large file.
    fn within(&self) -> (Session<Box<dyn Sink>>, PlanEntry) {
        let mut session = self.open();
        loop {
            let entry = session.next_file().unwrap().unwrap();
            if entry.sequence == LARGE_SEQUENCE {
                return (session, entry);
            }
            session.write(&bytes_of(&entry)).unwrap();
            session.end_file(Attributes::default(), None, 1).unwrap();
        }
    }

    /// Everything on the medium, by name.
    fn medium(&self) -> Vec<(PathBuf, Vec<u8>)> {
        match self.on {
            On::Container => vec![(PathBuf::new(), std::fs::read(self.container()).unwrap())],
            On::Directory => {
                let root = self.home.path().join("medium");
                let mut found = Vec::new();
                let mut directories = vec![root.clone()];
                while let Some(directory) = directories.pop() {
                    for child in std::fs::read_dir(directory).unwrap() {
                        let path = child.unwrap().path();
                        if path.is_dir() {
                            directories.push(path);
                        } else {
                            let bytes = std::fs::read(&path).unwrap();
                            found.push((path.strip_prefix(&root).unwrap().to_owned(), bytes));
                        }
                    }
                }
                found.sort();
                found
            }
        }
    }

    /// Whether a finished medium has what the source has, without another one to compare it with.
    fn is_right(&self) -> bool {
        let password = Self::password();
        let medium: Box<dyn Medium> = match self.on {
            On::Directory => Box::new(MountedMedium::new(&self.home.path().join("medium"), &[])),
            On::Container => {
                let volume = RawVolume::open(&self.container()).unwrap();
                Box::new(Reader::open(Container::open(volume, &password).unwrap()).unwrap())
            }
        };
        let verdict = verify(&*medium, &Scope::Full, &mut |_| Ok(())).unwrap();
        let records = Journal::records(self.plan.directory()).unwrap().map(Result::unwrap);
        let digests = self
            .plan
            .entries()
            .unwrap()
            .map(|entry| documents::hex(&Sha256::digest(bytes_of(&entry.unwrap()))));
        verdict.is_right()
            && verdict.right_files == SIZES.len() as u64
            && records.map(|record| record.sha256).eq(digests)
    }

    fn is_like(&self, other: &Self) -> bool {
        self.medium() == other.medium()
    }
}

fn unread_bytes(session: &Session<Box<dyn Sink>>) -> u64 {
    session.unread_part().map_or(0, Part::bytes)
}

fn read_back(session: &mut Session<Box<dyn Sink>>) -> Result<Vec<u8>> {
    let mut back = Vec::new();
    let whole = session.read_back(&mut |piece| {
        back.extend_from_slice(piece);
        ControlFlow::Continue(())
    });
    assert_ne!(whole.as_ref().ok(), Some(&ControlFlow::Break(())));
    whole.map(|_| back)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3))]
    #[test]
    fn whatever_is_killed_goes_on_to_the_same_bytes_and_reads_little_twice(
        stops in prop::collection::vec(0..SIZES.iter().sum::<u64>() / 2, 1..5)
    ) {
        for on in [On::Directory, On::Container] {
            let [whole, killed] = Export::several(on);
            prop_assert_eq!(whole.carry_on(u64::MAX), None);
            let total: u64 = SIZES.iter().sum();
            let mut came = 0;
            let mut kills = 0;
            for stop in &stops {
                let Some(now) = killed.carry_on(*stop) else { break };
                came += now;
                kills += 1;
                prop_assert!(came <= total + kills * 2 * EVERY_BYTES);
            }
            if !killed.journal_has_all() {
                killed.carry_on(u64::MAX);
            }
            prop_assert!(killed.is_like(&whole), "{:?} {:?}", on, stops);
            prop_assert!(!killed.note().exists(), "a finished export has no parts");
        }
    }
}

impl Export {
    fn journal_has_all(&self) -> bool {
        Journal::records(self.plan.directory()).unwrap().count() == SIZES.len() && !self.note().exists()
    }
}

type ChangeNote = fn(&mut serde_json::Value);
type Spoil = fn(&Export);

#[test]
fn a_note_that_does_not_fit_is_as_good_as_none() {
    let too_long =
        |note: &mut serde_json::Value| note["bytes"] = (LARGE + 1).next_multiple_of(BLOCK_BYTES).into();
    let notes: [(On, &str, ChangeNote); 8] = [
        (On::Directory, "too long", too_long),
        (On::Container, "too long", too_long),
        (On::Directory, "longer than what is there", |note| note["bytes"] = (6 * EVERY_BYTES).into()),
        (On::Container, "no whole blocks", |note| note["bytes"] = 1000.into()),
        (On::Directory, "nothing", |note| note["bytes"] = 0.into()),
        (On::Container, "stale", |note| note["sequence"] = 1.into()),
        (On::Directory, "another file's", |note| note["sequence"] = 5.into()),
        (On::Container, "another generation's", |note| note["etag"] = "\"other\"".into()),
    ];
    for (on, what, change) in notes {
        let (killed, _) = Export::killed_within(on);
        let mut note = serde_json::from_slice(&std::fs::read(killed.note()).unwrap()).unwrap();
        change(&mut note);
        std::fs::write(killed.note(), note.to_string()).unwrap();
        assert_eq!(killed.open().part().is_none(), what == "stale");
        let (session, _) = killed.within();
        assert_eq!(session.unread_part(), None, "{on:?}: {what}");
        drop(session);
        assert_eq!(killed.carry_on(u64::MAX), None);
        assert!(killed.is_right(), "{on:?}: {what}");
    }
    let spoils: [(&str, Spoil); 4] = [
        ("torn", |export| {
            let note = std::fs::read(export.note()).unwrap();
            std::fs::write(export.note(), &note[..note.len() / 2]).unwrap();
        }),
        ("of a file that was cut", |export| {
            std::fs::write(export.file(LARGE_SEQUENCE), vec![0; 4096]).unwrap();
        }),
        ("of a file that is gone", |export| std::fs::remove_file(export.file(LARGE_SEQUENCE)).unwrap()),
        ("of a file that is a link", |export| {
            let elsewhere = export.home.path().join("elsewhere");
            std::fs::rename(export.file(LARGE_SEQUENCE), &elsewhere).unwrap();
            std::os::unix::fs::symlink(elsewhere, export.file(LARGE_SEQUENCE)).unwrap();
        }),
    ];
    for (what, spoil) in spoils {
        let (killed, _) = Export::killed_within(On::Directory);
        spoil(&killed);
        assert_eq!(killed.within().0.unread_part(), None, "{what}");
        assert_eq!(killed.carry_on(u64::MAX), None);
        assert!(killed.is_right(), "{what}");
        assert!(!killed.file(LARGE_SEQUENCE).is_symlink(), "{what}");
    }
}

#[test]
fn bytes_that_are_not_on_the_medium_any_more_are_written_anew() {
    for on in [On::Directory, On::Container] {
        let (killed, noted) = Export::killed_within(on);
        match on {
            On::Directory => {
                let mut bytes = std::fs::read(killed.file(LARGE_SEQUENCE)).unwrap();
                bytes[4097] ^= 1;
                std::fs::write(killed.file(LARGE_SEQUENCE), bytes).unwrap();
            }
            On::Container => {
                let (mut session, entry) = killed.within();
                session.sink.back_to(0).unwrap();
                session.sink.write(&vec![1; 8192]).unwrap();
                session.sink.commit().unwrap();
                assert_eq!(entry.sequence, LARGE_SEQUENCE);
            }
        }
        let (mut session, entry) = killed.within();
        let mut shown = 0;
        let read = session.read_back(&mut |piece| {
            shown += piece.len() as u64;
            ControlFlow::Continue(())
        });
        assert_eq!(read.unwrap_err().kind(), ErrorKind::Corrupt);
        assert!(shown < noted, "whoever waits for the last byte does not get it");
        assert_eq!(session.write(b"x").unwrap_err().kind(), ErrorKind::InvalidInput);
        session.restart_file().unwrap();
        assert!(!killed.note().exists());
        session.write(&bytes_of(&entry)).unwrap();
        session.end_file(Attributes::default(), None, 1).unwrap();
        drop(session);
        killed.carry_on(u64::MAX);
        assert!(killed.is_right(), "{on:?}");
    }
}

#[test]
fn a_file_is_gone_back_in_to_what_was_committed() {
    for on in [On::Directory, On::Container] {
        let [whole, broken] = Export::several(on);
        whole.carry_on(u64::MAX);
        let (mut session, entry) = broken.within();
        let bytes = bytes_of(&entry);
        session.write(&bytes[..1001]).unwrap();
        session.go_back_in_file().unwrap();
        assert_eq!((unread_bytes(&session), session.progress().1), (0, 5), "nothing was committed");
        // What came last is not written again as it was, nor does it end where a sector does.
        for (pieces, back) in [(6, 1), (10, 2), (8, 2), (21, 5)] {
            let first = usize::try_from(session.progress().1 - 5).unwrap();
            let until = pieces * usize::try_from(EVERY_BYTES / 4).unwrap();
            session.write(&bytes[first..until.max(first)]).unwrap();
            session.write(&[9; 777]).unwrap();
            session.go_back_in_file().unwrap();
            assert_eq!(unread_bytes(&session), back * EVERY_BYTES);
            let broken_off = session.read_back(&mut |_| ControlFlow::Break(())).unwrap();
            assert_eq!(broken_off, ControlFlow::Break(()));
            assert_eq!(session.write(b"x").unwrap_err().kind(), ErrorKind::InvalidInput);
            session.go_back_in_file().unwrap();
            let back = read_back(&mut session).unwrap();
            assert!(back == bytes[..back.len()]);
        }
        let first = usize::try_from(session.progress().1 - 5).unwrap();
        session.write(&bytes[first..]).unwrap();
        session.end_file(Attributes::default(), None, 1).unwrap();
        session.commit().unwrap();
        drop(session);
        broken.carry_on(u64::MAX);
        assert!(broken.is_like(&whole), "{on:?}");
    }
}

/// A medium that writes down what was there at each sync and each going back.
#[derive(Debug)]
struct Watching {
    work: PathBuf,
    ended: u64,
    written: u64,
    syncs: Arc<Mutex<Vec<Sync>>>,
}

/// Files that were ended, bytes of the open one, lines that were in the journal, and bytes that were noted.
type Sync = (u64, u64, usize, Option<u64>);

impl Watching {
    fn look(&self) {
        let lines = std::fs::read_to_string(self.work.join("journal.jsonl")).unwrap().lines().count();
        let noted = Part::read(&self.work).unwrap().map(|part| part.bytes());
        self.syncs.lock().unwrap().push((self.ended, self.written, lines, noted));
    }
}

impl Sink for Watching {
    fn skip(&mut self, _: &PlanEntry) -> Result<()> {
        Ok(())
    }

    fn begin(&mut self, _: &PlanEntry) -> Result<()> {
        Ok(())
    }

    fn go_on(&mut self, _: &PlanEntry, _: u64) -> Result<()> {
        Ok(())
    }

    fn begin_document(&mut self, _: &str) -> Result<()> {
        Ok(())
    }

    fn write(&mut self, data: &[u8]) -> Result<()> {
        self.written += data.len() as u64;
        Ok(())
    }

    fn read_back(&mut self, _: u64, _: &mut [u8]) -> Result<()> {
        Ok(())
    }

    fn back_to(&mut self, bytes: u64) -> Result<()> {
        self.look();
        self.written = bytes;
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        self.ended += 1;
        self.written = 0;
        Ok(())
    }

    fn commit(&mut self) -> Result<()> {
        self.look();
        Ok(())
    }

    fn finish(&mut self, _: &Plan) -> Result<()> {
        Ok(())
    }
}

/// What a medium saw of files of these sizes, and whether a note was left. `carry` has each of them.
fn watched(
    sizes: &[u64],
    etag: Option<&str>,
    carry: fn(&mut Session<Watching>, &PlanEntry),
) -> (Vec<Sync>, Option<u64>) {
    let work = tempfile::tempdir().unwrap();
    let syncs = Arc::default();
    let sink = Watching { work: work.path().to_owned(), ended: 0, written: 0, syncs: Arc::clone(&syncs) };
    let mut session = Session::open(plan_of(work.path(), sizes, etag), sink).unwrap();
    while let Some(entry) = session.next_file().unwrap() {
        carry(&mut session, &entry);
    }
    session.commit().unwrap();
    let syncs = syncs.lock().unwrap().clone();
    (syncs, Part::read(work.path()).unwrap().map(|part| part.bytes()))
}

fn write_whole(session: &mut Session<Watching>, entry: &PlanEntry) {
    let content = vec![0; 1_000_000];
    let mut left = usize::try_from(entry.object.size_bytes).unwrap();
    while left > 0 {
        let now = left.min(content.len());
        session.write(&content[..now]).unwrap();
        left -= now;
    }
    session.end_file(Attributes::default(), None, 0).unwrap();
}

#[test]
fn a_file_is_journalled_only_once_it_is_on_the_medium() {
    let (syncs, note) = watched(&[COMMIT_BYTES / 2; 5], Some("\"tag\""), write_whole);
    assert_eq!(syncs, [(2, 0, 0, None), (4, 0, 2, None), (5, 0, 4, None)]);
    assert_eq!(note, None);
}

#[test]
fn a_part_is_noted_only_once_it_and_all_before_it_are_on_the_medium() {
    let sizes = [1, 2 * COMMIT_BYTES + 1, COMMIT_BYTES];
    let (syncs, note) = watched(&sizes, Some("\"tag\""), write_whole);
    let first = COMMIT_BYTES;
    // The last one ends where it would be committed.
    assert_eq!(
        syncs,
        [
            (1, first, 0, None),
            (1, 2 * first, 1, Some(first)),
            (3, 0, 1, Some(2 * first)),
            (3, 0, 3, Some(2 * first))
        ]
    );
    assert_eq!(note, Some(2 * first), "which is stale");
    let (syncs, note) = watched(&sizes, None, write_whole);
    assert_eq!((syncs.len(), note), (3, None), "the next run could not ask for the same generation");
}

#[test]
fn nothing_is_overwritten_before_its_note_is_gone_and_zeros_are_no_part() {
    let (syncs, note) = watched(&[3 * COMMIT_BYTES], Some("\"tag\""), |session, _| {
        session.write(&vec![0; 65 << 20]).unwrap();
        session.give_up_file(Outcome::Changed, "412", 0).unwrap();
    });
    assert_eq!(syncs, [(0, COMMIT_BYTES, 0, None), (0, 65 << 20, 0, None), (1, 0, 0, None), (1, 0, 1, None)]);
    assert_eq!(note, None);
}
