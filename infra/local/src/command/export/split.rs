//! `ferry export plan`: one manifest for each disk.

use std::collections::BTreeMap;

use anyhow::Result;
use ferry_device::manifest::{Manifest, Strictness};
use ferry_device::target::size::DEVICE_BYTES_MAX;
use ferry_export::{Callers, StationError};
use ferry_transfer::store::metered::RequestKind;
use indicatif::{DecimalBytes, HumanBytes, HumanCount};
use serde_json::json;

use super::{read_file, service};
use crate::args::{ExportPlace, OutputArgs, SideAccess, SplitArgs, StoreArgs};
use crate::config::Config;
use crate::ends::Side;
use crate::exit::{Exit, UsageError, print, say};

/// Keys of one page of a listing.
const PAGE_KEYS: u64 = 1000;

/// Lists, splits and writes the manifests.
pub(super) async fn run(place: &ExportPlace, args: SplitArgs, output: &OutputArgs) -> Result<Exit> {
    let bytes = read_file(&args.manifest)?;
    let strictness = if place.strict { Strictness::Strict } else { Strictness::Forgiving };
    let parsed = Manifest::parse(&bytes, strictness);
    let told: Vec<String> = parsed.errors().map(ToString::to_string).collect();
    for warning in parsed.warnings() {
        say(&format!("warning: {warning}"));
    }
    let Some(manifest) = parsed.manifest else { return Err(UsageError(told.join("\n")).into()) };
    let (service, _) = service(place, Callers::default()).await?;
    let devices: Vec<u64> = args.device.iter().map(|size| size.bytes).collect();
    if let Some(large) = devices.iter().find(|bytes| **bytes > DEVICE_BYTES_MAX) {
        let message = format!("--device {}: devices of up to 16 TB are written", HumanBytes(*large));
        return Err(UsageError(message).into());
    }
    let split = service.split(&manifest, &devices).await.map_err(|error| match error {
        StationError::Job(message) => UsageError(message).into(),
        error => anyhow::Error::from(error),
    })?;
    let store = manifest.extensions.store.as_deref().unwrap_or(&place.store);
    let side =
        Side::connect(&Config::load(&place.config())?, store, StoreArgs::default(), SideAccess::default())
            .await?;
    let prices = side.account.profile().prices;
    std::fs::create_dir_all(&args.out)?;
    let path_of = |disk: usize| args.out.join(format!("manifest-{disk}.txt"));
    // All or none: the manifests of two plans together are those of neither.
    if let Some(taken) = split.shares.iter().map(|share| path_of(share.disk)).find(|path| path.exists()) {
        return Err(UsageError(format!("{} exists and is not overwritten", taken.display())).into());
    }
    let mut lines = Vec::new();
    for share in &split.shares {
        let path = path_of(share.disk);
        let device_bytes = devices.get(share.disk - 1).copied().unwrap_or_default();
        let password = manifest.password.as_ref().map(ferry_device::manifest::Password::reveal);
        write_private(&path, &share.manifest.to_text(password))?;
        let requests: BTreeMap<RequestKind, u64> =
            [(RequestKind::List, share.objects.div_ceil(PAGE_KEYS)), (RequestKind::Get, share.objects)]
                .into();
        let cost = prices.as_ref().map(|prices| prices.cost(&requests, share.bytes));
        #[expect(clippy::cast_precision_loss, reason = "an estimate in hours")]
        let hours = share.bytes as f64 / (f64::from(args.speed.max(1)) * 1e6) / 3600.0;
        if !output.json {
            let usd = cost.map_or("cost unknown".to_owned(), |cost| {
                format!("US$ {:.2} for requests, {:.2} for traffic", cost.requests_usd, cost.egress_usd)
            });
            print(&format!(
                "{} (disk {} of {}): {} objects, {}, {hours:.1} h, {usd}",
                path.display(),
                share.disk,
                DecimalBytes(device_bytes),
                HumanCount(share.objects),
                HumanBytes(share.bytes)
            ));
        }
        lines.push(json!({
            "disk": share.disk,
            "device_bytes": device_bytes,
            "manifest": path,
            "objects": share.objects,
            "bytes": share.bytes,
            "hours": hours,
            "cost": cost,
        }));
    }
    if output.json {
        print(
            &json!({
                "disks": lines,
                "left_objects": split.left_objects,
                "left_bytes": split.left_bytes,
                "archived_objects": split.archived_objects,
            })
            .to_string(),
        );
    }
    if split.shares.is_empty() && split.left_objects == 0 {
        say("the manifest selects nothing; no manifest was written");
    }
    let used: Vec<usize> = split.shares.iter().map(|share| share.disk).collect();
    for empty in (1..=used.last().copied().unwrap_or_default()).filter(|disk| !used.contains(disk)) {
        say(&format!("disk {empty} stays empty: the next object is larger than it"));
    }
    if split.archived_objects > 0 {
        say(&format!("{} archived objects are left out", HumanCount(split.archived_objects)));
    }
    if split.left_objects > 0 {
        say(&format!(
            "{} objects ({}) fit on none of these disks; add another --device",
            HumanCount(split.left_objects),
            HumanBytes(split.left_bytes)
        ));
        return Ok(Exit::Different);
    }
    Ok(Exit::Done)
}

/// A manifest holds a password: nobody else can read it.
fn write_private(path: &std::path::Path, text: &str) -> Result<(), UsageError> {
    use std::io::Write as _;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| UsageError(format!("{} cannot be written: {error}", path.display())))
}
