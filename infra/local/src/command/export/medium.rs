//! `ferry export verify` and `open`: a finished medium, offline.

use anyhow::Result;
use ferry_device::container::Password;
use ferry_device::medium::{self, extract};
use ferry_device::ntfs::inside::{InsideProgram, serve};
use ferry_device::verify::{Problem, verify as read_back};
use indicatif::{HumanBytes, HumanCount};
use serde_json::json;

use crate::args::{OpenArgs, OutputArgs, PasswordArgs, VerifyMediumArgs};
use crate::exit::{Exit, UsageError, print, say};

/// `verify`.
pub(super) async fn verify(args: VerifyMediumArgs, output: &OutputArgs) -> Result<Exit> {
    let password = password(&args.password)?;
    let (target, ntfs) = (args.target, ntfs()?);
    let verdict = tokio::task::spawn_blocking(move || {
        medium::open(&target, password.as_ref(), &ntfs)
            .and_then(|medium| read_back(medium.as_ref(), &mut |_| {}))
    })
    .await??;
    if output.json {
        print(&serde_json::to_string(&verdict)?);
    } else {
        for problem in &verdict.problems {
            print(&match problem {
                Problem::Missing { path } => format!("missing     {path:?}"),
                Problem::Differs { path } => format!("differs     {path:?}"),
                Problem::Unreadable { path, message } => format!("unreadable  {path:?}: {message}"),
                Problem::Unlisted { files } => format!("unlisted    {files} files that no list names"),
            });
        }
        print(&format!(
            "{} files are right ({} read), {} wrong",
            HumanCount(verdict.right_files),
            HumanBytes(verdict.bytes),
            HumanCount(verdict.wrong)
        ));
    }
    Ok(if verdict.is_right() { Exit::Done } else { Exit::Different })
}

/// `open`.
pub(super) async fn open(args: OpenArgs, output: &OutputArgs) -> Result<Exit> {
    let password = password(&args.password)?;
    std::fs::create_dir_all(&args.directory)
        .map_err(|error| UsageError(format!("{} cannot be made: {error}", args.directory.display())))?;
    let ntfs = ntfs()?;
    // As paths are often written, from the root.
    let prefix = args.prefix.trim_start_matches('/').to_owned();
    let (target, directory) = (args.target, args.directory.clone());
    let extracted = tokio::task::spawn_blocking(move || {
        let medium = medium::open(&target, password.as_ref(), &ntfs)?;
        extract(medium.as_ref(), &prefix, &directory)
    })
    .await??;
    if output.json {
        print(&json!({ "files": extracted.files, "bytes": extracted.bytes }).to_string());
    } else {
        say(&format!(
            "{} files ({}) are in {}",
            HumanCount(extracted.files),
            HumanBytes(extracted.bytes),
            args.directory.display()
        ));
    }
    if extracted.files == 0 && !args.prefix.is_empty() {
        say(&format!("ferry: nothing on the medium begins with {:?}", args.prefix));
        return Ok(Exit::Different);
    }
    Ok(Exit::Done)
}

/// The process that shows a container's inside: this program once more.
pub(super) fn ntfs() -> Result<InsideProgram> {
    let arguments = ["export", "show-inside"].map(str::to_owned).to_vec();
    Ok(InsideProgram { program: std::env::current_exe()?, arguments })
}

/// `show-inside`.
pub(super) async fn show_inside() -> Result<Exit> {
    tokio::task::spawn_blocking(|| serve(std::io::stdin(), std::io::stdout())).await??;
    Ok(Exit::Done)
}

/// The password, its line end left out.
fn password(args: &PasswordArgs) -> Result<Option<Password>, UsageError> {
    let text = match (&args.password_file, &args.password_env) {
        (Some(path), _) => std::fs::read_to_string(path)
            .map_err(|error| UsageError(format!("{} cannot be read: {error}", path.display())))?,
        (None, Some(name)) => std::env::var(name)
            .map_err(|_| UsageError(format!("the environment variable {name} is not set")))?,
        (None, None) => return Ok(None),
    };
    Ok(Some(Password::new(text.trim_end_matches(['\n', '\r']))))
}
