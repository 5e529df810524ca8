//! `ferry export release`: a device leaves the station.

use anyhow::Result;
use ferry_device::target::letting_go;
use ferry_export::{Caller, Callers, Validity};

use super::jobs::{refused, status_of};
use super::service;
use crate::args::{ExportPlace, OutputArgs, ReleaseArgs};
use crate::exit::{Exit, print, say};

/// `release`.
pub(super) async fn run(place: &ExportPlace, args: ReleaseArgs, output: &OutputArgs) -> Result<Exit> {
    let (service, _) = service(place, Callers::default()).await?;
    let release =
        async |validity| service.release(&Caller::Holder, &args.job, validity).await.map_err(refused);
    // Nothing is unplugged under a station.
    if let Err(refusal) = release(Validity::CheckOnly).await? {
        return Ok(not_released(&refusal.to_string()));
    }
    if let Some(target) = args.target {
        let let_go = tokio::task::spawn_blocking(move || {
            letting_go::sync(&target)?;
            if args.detach { letting_go::detach(&target) } else { Ok(()) }
        });
        match let_go.await? {
            Err(error) if error.kind() == ferry_device::ErrorKind::Refused => {
                return Ok(not_released(&ferry_transfer::chain(&error)));
            }
            let_go => let_go?,
        }
    }
    let job = match release(Validity::CheckAndDo).await? {
        Ok(job) => job,
        Err(refusal) => return Ok(not_released(&refusal.to_string())),
    };
    print(&if output.json {
        status_of(&job).to_string()
    } else {
        format!("JOB RELEASED\nJobId:   {}\n{}", job.id, job.location.message())
    });
    Ok(Exit::Done)
}

fn not_released(why: &str) -> Exit {
    say(&format!("ferry: refused: {why}"));
    Exit::Refused
}
