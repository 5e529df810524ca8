//! Whole disks and NTFS: what needs root, loop devices, FUSE and the programs of ntfs-3g. `tests/device-tools/run` has them run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::killed::kill_at;
use super::meanwhile::changed_while_it_lists;
use super::within::{COMMIT_BYTES, LARGE, RANGES, RANGES_NOTED, gets, kill_within, large_world};
use super::{PASSWORD, World, manifest};

/// What a loop device is called on its sticker.
const STICKER: &str = "49382";

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A disk whose bytes are in a file.
struct LoopDisk {
    device: String,
    image: PathBuf,
    place: PathBuf,
}

impl LoopDisk {
    fn new(directory: &Path, megabytes: u64) -> Self {
        let image = directory.join("disk.img");
        let file = fs::File::create(&image).expect("image");
        file.set_len(megabytes << 20).expect("size");
        let place = directory.join("mounted");
        fs::create_dir_all(&place).expect("place");
        let device = run("losetup", &["--find", "--show", &image.display().to_string()]);
        Self { device, image, place }
    }

    /// Another disk under the same name.
    fn exchange(&mut self, megabytes: u64) {
        run("losetup", &["--detach", &self.device]);
        self.image.set_extension("other");
        fs::File::create(&self.image).and_then(|file| file.set_len(megabytes << 20)).expect("another");
        run("losetup", &[&self.device, &self.image.display().to_string()]);
    }

    /// One whose file system holds the SIGNATURE of the job that was created last.
    fn signed(world: &World, megabytes: u64) -> Self {
        let signature = fs::read_to_string(world.device().join("SIGNATURE")).expect("SIGNATURE");
        let disk = Self::new(world.pair.directory(), megabytes);
        run("mkfs.ext4", &["-q", &disk.device]);
        disk.put("SIGNATURE", &signature);
        disk
    }

    fn mounted<T>(&self, act: impl FnOnce(&Path) -> T) -> T {
        run("mount", &[&self.device, &self.place.display().to_string()]);
        let result = act(&self.place);
        run("umount", &[&self.place.display().to_string()]);
        result
    }

    fn put(&self, name: &str, contents: &str) {
        self.mounted(|place| fs::write(place.join(name), contents).expect("written"));
    }

    fn bytes(&self) -> Vec<u8> {
        run("sync", &[]);
        fs::read(&self.image).expect("image")
    }

    fn target(&self) -> String {
        format!("block:{}", self.device)
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        Command::new("umount").arg(&self.place).output().ok();
        Command::new("losetup").args(["--detach", &self.device]).output().ok();
    }
}

/// The serial number that udev found, for as long as it lives.
struct Serial(PathBuf);

impl Serial {
    fn tell(device: &str, serial: &str) -> Self {
        let name = device.rsplit('/').next().expect("name");
        let number = fs::read_to_string(format!("/sys/block/{name}/dev")).expect("number");
        let path = PathBuf::from(format!("/run/udev/data/b{}", number.trim()));
        fs::create_dir_all("/run/udev/data").expect("udev's data");
        fs::write(&path, format!("E:ID_SERIAL_SHORT={serial}\n")).expect("written");
        Self(path)
    }
}

impl Drop for Serial {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
    }
}

fn is_right(report: &serde_json::Value) -> bool {
    report["progress"] == "Complete"
        && report["verdict"]["wrong"] == 0
        && report["verdict"]["right_files"] == 34
}

/// What the command line says of a job that asks for this disk.
struct Attempt<'a> {
    world: &'a World,
    id: &'a str,
    target: String,
}

impl Attempt<'_> {
    async fn refused(&self, flags: &[&str], why: &str, progress: &str) {
        let run = [&["run", self.id, "--target", &self.target][..], flags].concat();
        let ended = self.world.ferry(run).run().await.expect_code(4);
        assert!(ended.shows(why), "{why}: {ended}");
        let status = self.world.ferry(["get-status", self.id, "--json"]).run().await.expect_code(0).report();
        assert_eq!(status["progress"], progress, "{why}");
    }
}

#[tokio::test]
#[ignore = "needs root and a loop device"]
async fn block_a_disk_is_erased_only_when_everything_agrees() {
    let world = World::new(&manifest(&format!("trueCryptPassword:{PASSWORD}\n"))).await;
    let foreign = world.create().await;
    let of_another = fs::read_to_string(world.device().join("SIGNATURE")).expect("SIGNATURE");
    let id = world.create().await;
    let signature = fs::read_to_string(world.device().join("SIGNATURE")).expect("SIGNATURE");
    assert_ne!(foreign, id);
    let disk = LoopDisk::new(world.pair.directory(), 64);
    let attempt = Attempt { world: &world, id: &id, target: disk.target() };
    let agreed = ["--device-id-on-sticker", "--yes-erase", STICKER];

    run("mkfs.ext4", &["-q", &disk.device]);
    disk.put("holiday.jpg", "somebody's");
    let before = disk.bytes();
    attempt.refused(&agreed, "SIGNATURE is not there", "MissingSignature").await;
    disk.put("SIGNATURE", &of_another);
    let with_signature = disk.bytes();
    attempt.refused(&agreed, "it is of job", "InvalidSignature").await;
    assert_ne!(before, with_signature);
    disk.put("SIGNATURE", &signature);
    let ready = disk.bytes();
    attempt.refused(&["--yes-erase", STICKER], "tells no serial number", "MissingDevice").await;
    {
        let _serial = Serial::tell(&disk.device, "WD-OTHER");
        attempt.refused(&["--yes-erase", "WD-OTHER"], "WD-OTHER", "MissingDevice").await;
    }
    for consent in [&["--device-id-on-sticker"][..], &["--device-id-on-sticker", "--yes-erase", "yes"]] {
        attempt.refused(consent, "nobody typed its serial number", "UnsupportedDeviceType").await;
    }
    run("mount", &[&disk.device, &disk.place.display().to_string()]);
    attempt.refused(&agreed, "is mounted at", "UnsupportedDeviceType").await;
    run("umount", &[&disk.place.display().to_string()]);
    assert!(
        disk.bytes() == ready || disk.mounted(|place| place.join("holiday.jpg").exists()),
        "nothing was lost"
    );

    let _serial = Serial::tell(&disk.device, STICKER);
    let run = ["run", &id, "--target", &attempt.target, "--yes-erase", STICKER, "--json"];
    // A later death finds what the earlier ones left, and no SIGNATURE any more.
    for nth in [1, 7, 4] {
        kill_at(&world, &run, nth).await;
    }
    {
        let _other = Serial::tell(&disk.device, "WD-OTHER");
        attempt.refused(&["--yes-erase", "WD-OTHER"], "WD-OTHER", "MissingDevice").await;
        let sticker = ["--device-id-on-sticker", "--yes-erase", "WD-OTHER"];
        attempt.refused(&sticker, "not the disk that the job was begun on", "MissingDevice").await;
    }
    let _serial = Serial::tell(&disk.device, STICKER);
    let report = world.ferry(run).run().await.expect_code(0).report();
    assert!(is_right(&report), "{report}");
    let release = ["release", &id, "--target", &attempt.target, "--detach"];
    {
        let _other = Serial::tell(&disk.device, "WD-OTHER");
        assert!(
            world
                .ferry(release)
                .run()
                .await
                .expect_code(4)
                .shows("is not the disk that the job was written to")
        );
    }
    let _serial = Serial::tell(&disk.device, STICKER);
    assert!(world.ferry(release).run().await.expect_code(4).shows("no way to detach"));
    world.ferry(["release", &id, "--target", &attempt.target]).run().await.expect_code(0);
    fs::write(world.pair.directory().join("pw"), PASSWORD).expect("written");
    let verify = ["verify", &attempt.target, "--password-file", "pw"];
    world.ferry(verify).run().await.expect_code(0);
    world.ferry(["open", &attempt.target, "out", "--password-file", "pw"]).run().await.expect_code(0);
    let copy = fs::read(world.pair.directory().join("out/data/docks/data/29.bin")).expect("copy");
    assert_eq!(copy, vec![29; 2900]);
}

#[tokio::test]
#[ignore = "needs root and a loop device"]
async fn block_another_disk_that_gets_the_name_while_the_buckets_are_listed_is_not_erased() {
    let world = World::new(&manifest(&format!("trueCryptPassword:{PASSWORD}\n"))).await;
    world.create().await;
    let of_another = fs::read_to_string(world.device().join("SIGNATURE")).expect("SIGNATURE");
    // Of another size; as large but without a SIGNATURE; as large and of another job.
    for (megabytes, foreign) in [(48, None), (64, None), (64, Some(&of_another))] {
        let id = world.create().await;
        let signature = fs::read_to_string(world.device().join("SIGNATURE")).expect("SIGNATURE");
        let mut disk = LoopDisk::new(world.pair.directory(), 64);
        run("mkfs.ext4", &["-q", &disk.device]);
        disk.put("SIGNATURE", &signature);
        let target = disk.target();
        let args = ["run", &id, "--target", &target, "--device-id-on-sticker", "--yes-erase", STICKER];
        let mut before = Vec::new();
        let ended = changed_while_it_lists(&world, &args, || {
            disk.exchange(megabytes);
            run("mkfs.ext4", &["-q", &disk.device]);
            disk.put("holiday.jpg", "somebody's");
            if let Some(foreign) = foreign {
                disk.put("SIGNATURE", foreign);
            }
            before = disk.bytes();
        })
        .await;
        let words = if megabytes == 64 { "SIGNATURE" } else { "is not the disk that was checked" };
        assert!(ended.expect_code(4).shows(words), "{megabytes} {foreign:?}");
        assert!(disk.bytes() == before || disk.mounted(|place| place.join("holiday.jpg").exists()));
        // The right one after all.
        disk.exchange(64);
        run("mkfs.ext4", &["-q", &disk.device]);
        disk.put("SIGNATURE", &signature);
        world.ferry(args).run().await.expect_code(0);
    }
}

#[tokio::test]
#[ignore = "needs root, a loop device and ntfs-3g"]
async fn ntfs_or_ext4_over_a_disk_carries_the_container_as_a_file() {
    for outer in ["ext4", "ntfs"] {
        let world = World::new(&manifest(&format!("trueCryptPassword:{PASSWORD}\n"))).await;
        let id = world.create().await;
        let disk = LoopDisk::signed(&world, 300);
        let target = disk.target();
        let agreed = ["--device-id-on-sticker", "--yes-erase", STICKER, "--json"];
        let args = [&["run", &id, "--target", &target, "--outer", outer][..], &agreed].concat();
        for nth in [1, 9, 5] {
            kill_at(&world, &args, nth).await;
        }
        // The disk itself is not the container of this job.
        let bare = [&["run", &id, "--target", &target][..], &agreed].concat();
        assert!(world.ferry(bare).run().await.expect_code(4).shows("was begun on"));
        let report = world.ferry(args).run().await.expect_code(0).report();
        assert!(is_right(&report), "{outer}: {report}");
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        assert!(!mounts.contains(&disk.device), "{outer}: nothing stays mounted: {mounts}");
        fs::write(world.pair.directory().join("pw"), PASSWORD).expect("written");
        let place = disk.place.display().to_string();
        match outer {
            "ntfs" => run("ntfs-3g", &["-o", "ro", &disk.device, &place]),
            _ => run("mount", &["-o", "ro", &disk.device, &place]),
        };
        let mut names: Vec<String> = fs::read_dir(&disk.place)
            .expect("mounted")
            .map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned())
            .filter(|name| name != "lost+found")
            .collect();
        names.sort();
        let mut wanted = [format!("{id}.hc"), "README-HOW-TO-OPEN.txt".into(), "SIGNATURE".into()];
        wanted.sort();
        assert_eq!(names, wanted);
        world.ferry(["verify", &format!("dir:{place}"), "--password-file", "pw"]).run().await.expect_code(0);
        run("umount", &[&place]);
        if outer == "ext4" {
            run("e2fsck", &["-fn", &disk.device]);
        }
    }
}

#[tokio::test]
#[ignore = "needs root and a loop device"]
async fn block_a_disk_in_the_clear_is_a_file_system_of_its_own_size() {
    let world = World::new(&manifest("x-container: none\n")).await;
    let id = world.create().await;
    let disk = LoopDisk::signed(&world, 300);
    let target = disk.target();
    let agreed = ["--device-id-on-sticker", "--yes-erase", STICKER, "--json"];
    let report = world.ferry([&["run", &id, "--target", &target][..], &agreed].concat()).run().await;
    assert!(is_right(&report.expect_code(0).report()));
    run("e2fsck", &["-fn", &disk.device]);
    disk.mounted(|place| {
        assert_eq!(fs::read(place.join("data/docks/data/07.bin")).expect("file"), vec![7; 700]);
        assert!(!place.join("SIGNATURE").exists());
    });
    let size = run("dumpe2fs", &["-h", &disk.device]);
    assert!(size.contains("Block count:              76800"), "{size}");
}

#[tokio::test]
#[ignore = "needs ntfs-3g and FUSE"]
async fn ntfs_in_a_container_survives_kills_and_is_read_back() {
    for target in ["image:device/medium.hc", "dir:device"] {
        let lines = format!("trueCryptPassword:{PASSWORD}\n");
        let world = World::new(&manifest(&lines).replace("EXT4", "NTFS")).await;
        let id = world.create().await;
        let run = ["run", id.as_str(), "--target", target, "--json"];
        for nth in [1, 9, 5] {
            kill_at(&world, &run, nth).await;
        }
        let report = world.ferry(run).run().await.expect_code(0).report();
        assert!(is_right(&report), "{target}: {report}");
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        assert!(
            !mounts.contains(&world.pair.directory().display().to_string()),
            "nothing stays mounted: {mounts}"
        );
        fs::write(world.pair.directory().join("pw"), PASSWORD).expect("written");
        world.ferry(["verify", target, "--password-file", "pw"]).run().await.expect_code(0);
        world.ferry(["open", target, "out", "--password-file", "pw"]).run().await.expect_code(0);
        let copy = fs::read(world.pair.directory().join("out/data/docks/data/29.bin")).expect("copy");
        assert_eq!(copy, vec![29; 2900]);
    }
}

#[tokio::test]
#[ignore = "needs ntfs-3g and FUSE"]
async fn ntfs_in_a_container_is_gone_on_with_within_a_file() {
    let lines = format!("trueCryptPassword:{PASSWORD}\n");
    let world = large_world(&manifest(&lines).replace("EXT4", "NTFS"), LARGE).await;
    let id = world.create().await;
    let run = ["run", id.as_str(), "--target", "image:device/medium.hc", "--json"];
    kill_within(&world, &id, &run, COMMIT_BYTES).await;
    let report = world.ferry(run).run().await.expect_code(0).report();
    assert_eq!((&report["progress"], &report["verdict"]["right_files"]), (&"Complete".into(), &35.into()));
    assert_eq!(gets(&world), RANGES - RANGES_NOTED);
}
