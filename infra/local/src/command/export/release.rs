//! `ferry export release`: a device leaves the station.

use anyhow::Result;
use ferry_export::{Leaving, ReleaseError};

use super::jobs::{refused, status_of};
use super::station::station;
use crate::args::{ExportPlace, OutputArgs, ReleaseArgs};
use crate::exit::{Exit, print, say};

/// `release`.
pub(super) async fn run(place: &ExportPlace, args: ReleaseArgs, output: &OutputArgs) -> Result<Exit> {
    let leaving = if args.detach { Leaving::Detached } else { Leaving::Synced };
    let target = args.target.as_ref().map(|target| (target, leaving));
    let job = match station(place).await?.release(&args.job, target).await {
        Ok(job) => job,
        Err(ReleaseError::Refused(why)) => {
            say(&format!("ferry: refused: {why}"));
            return Ok(Exit::Refused);
        }
        Err(ReleaseError::Api(error)) => return Err(refused(error)),
        Err(error @ ReleaseError::Device(_)) => return Err(error.into()),
    };
    print(&if output.json {
        status_of(&job).to_string()
    } else {
        format!("JOB RELEASED\nJobId:   {}\n{}", job.id, job.location.message())
    });
    Ok(Exit::Done)
}
