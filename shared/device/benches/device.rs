//! What writing a medium costs: CPU, memory and bytes a second, on one core.
//!
//! `cargo bench -p ferry-device` prints the figures of `docs/device.md`. CPU is what the kernel says this thread ran
//! (`/proc/thread-self/schedstat`), so other work on the machine does not count; memory is the process's peak (`VmHWM`).

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench says what it measured, or panics")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ferry_device::container::{Container, Format, Password, SystemEntropy, Xts};
use ferry_device::documents::{Arrangement, BagInfo, reserve_bytes};
use ferry_device::ext4::{Identity, Layout, Reader, Size};
use ferry_device::journal::Attributes;
use ferry_device::naming::{FileSystem, NamingRules};
use ferry_device::plan::{Object, Planner};
use ferry_device::session::Session;
use ferry_device::sink::ImageSink;
use ferry_device::verify::{Scope, verify};
use ferry_device::volume::RawVolume;
use sha2::{Digest, Sha256};

const MIB: u64 = 1 << 20;

fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

fn peak_memory_mib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// The work's CPU time.
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let before = cpu();
    let result = work();
    (result, cpu().checked_sub(before).unwrap())
}

fn megabytes_per_second(bytes: u64, time: Duration) -> u64 {
    u64::try_from(u128::from(bytes) * 1000 / time.as_nanos().max(1)).unwrap()
}

fn ciphers() {
    let bytes = 1024 * MIB;
    let mut buffer = vec![0x5a; usize::try_from(MIB).unwrap()];
    let xts = Xts::new(&[7; 64]);
    let encrypt = |buffer: &mut [u8]| {
        for sector in 0..bytes / MIB {
            xts.encrypt(sector * 2048, buffer);
        }
    };
    let ((), time) = timed(|| encrypt(&mut buffer));
    println!("AES-256-XTS                      {:>6} MB/s a core", megabytes_per_second(bytes, time));
    let (_, time) = timed(|| {
        let mut sha256 = Sha256::new();
        for _ in 0..bytes / MIB {
            sha256.update(&buffer);
        }
        sha256.finalize()
    });
    println!("SHA-256                          {:>6} MB/s a core", megabytes_per_second(bytes, time));
}

/// Plans, writes into a VeraCrypt container and verifies; prints what each step cost.
fn export(name: &str, objects: u64, size_bytes: u64) {
    let work = tempfile::tempdir().unwrap();
    let password = Password::new("bench");
    let format = Format::default();
    let (plan, planning) = timed(|| {
        let mut planner = Planner::new(work.path(), NamingRules::new(FileSystem::Ext4)).unwrap();
        for number in 0..objects {
            let object = Object {
                operation: 0,
                bucket: "bucket".into(),
                key: format!("prefix/object-{number:08}.dat"),
                version_id: None,
                etag: Some("\"d41d8cd98f00b204e9800998ecf8427e\"".into()),
                size_bytes,
                modified_unix_secs: 1_700_000_000,
                storage_class: Some("STANDARD".into()),
            };
            planner.add("bucket", object).unwrap();
        }
        planner.seal().unwrap()
    });
    let (layout, laying_out) = timed(|| {
        let identity = Identity::of_job("BENCH", "BENCH", 1_700_000_000).unwrap();
        let size = Size::Fitting { reserve_bytes: reserve_bytes(&plan) };
        Arc::new(Layout::new(&plan, Arrangement::Plain.documents(), identity, size).unwrap())
    });
    let path = work.path().join("BENCH.hc");
    let (container, header) = timed(|| {
        let volume = RawVolume::create(&path, layout.size_bytes() + format.overhead_bytes()).unwrap();
        Container::create(volume, format, &password, &mut SystemEntropy).unwrap()
    });
    let content = vec![0x6b; 256 * 1024];
    let ((), writing) = timed(|| {
        let sink = ImageSink::new(Arc::clone(&layout), container).unwrap();
        let mut session = Session::open(plan.clone(), sink).unwrap();
        while let Some(entry) = session.next_file().unwrap() {
            let mut left = entry.object.size_bytes;
            while left > 0 {
                let now = left.min(content.len() as u64);
                session.write(&content[..usize::try_from(now).unwrap()]).unwrap();
                left -= now;
            }
            session.end_file(Attributes::default(), None, 0).unwrap();
        }
        let bag = BagInfo { job: "BENCH".into(), date: "2026-01-01".into() };
        session.finish(Arrangement::Plain, &bag).unwrap();
    });
    let ((), verifying) = timed(|| verify_container(&path, &password));
    let bytes = objects * size_bytes;
    let total = planning + laying_out + header + writing;
    println!("{name}: {objects} objects, {} MiB", bytes / MIB);
    println!("  plan and names                 {planning:>9.2?}");
    println!("  layout                         {laying_out:>9.2?}");
    println!("  VeraCrypt headers              {header:>9.2?}");
    println!(
        "  write, hash, encrypt           {writing:>9.2?}  {} MB/s a core",
        megabytes_per_second(bytes, writing)
    );
    println!("  total to a finished medium     {total:>9.2?}");
    println!("  open, decrypt, verify          {verifying:>9.2?}");
    println!("  peak memory so far             {:>6} MiB", peak_memory_mib());
}

fn verify_container(path: &Path, password: &Password) {
    let container = Container::open(RawVolume::open(path).unwrap(), password).unwrap();
    let reader = Reader::open(container).unwrap();
    assert!(verify(&reader, &Scope::Full, &mut |_| Ok(())).unwrap().is_right());
}

fn main() {
    ciphers();
    export("small, one flat prefix", 40_000, 1000);
    export("large", 4, 512 * MIB);
    export("empty, one flat prefix", 1_000_000, 0);
}
