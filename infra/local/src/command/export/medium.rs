//! `ferry export verify` and `open`: a finished medium, offline.

use anyhow::Result;
use ferry_device::container::Password;
use ferry_device::extract::extract;
use ferry_device::medium;
use ferry_device::ntfs::inside::{InsideProgram, serve};
use ferry_device::verify::{Problem, Scope, Share, Verdict, verify as read_back};
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use serde_json::json;

use crate::args::{OpenArgs, OutputArgs, PasswordArgs, VerifyMediumArgs};
use crate::exit::{Exit, UsageError, print, say};

/// `verify`.
pub(super) async fn verify(args: VerifyMediumArgs, output: &OutputArgs) -> Result<Exit> {
    let password = password(&args.password)?;
    let (target, ntfs) = (args.target, ntfs()?);
    let scope = args.sample.map_or(Ok(Scope::Full), sample)?;
    let bar = bar(output);
    let read = bar.clone();
    let verdict = tokio::task::spawn_blocking(move || {
        medium::open(&target, password.as_ref(), &ntfs).and_then(|medium| {
            read_back(medium.as_ref(), &scope, &mut |bytes| {
                read.set_position(bytes);
                Ok(())
            })
        })
    })
    .await;
    bar.finish_and_clear();
    let verdict = verdict??;
    if output.json {
        print(&serde_json::to_string(&verdict)?);
    } else {
        verdict.problems.iter().for_each(show);
        print(&in_words(&verdict));
    }
    Ok(if verdict.is_right() { Exit::Done } else { Exit::Different })
}

/// A sample that nobody can foresee.
pub(super) fn sample(share: Share) -> Result<Scope> {
    let mut drawn = [0; 8];
    getrandom::fill(&mut drawn)
        .map_err(|error| anyhow::anyhow!("the system gave no random bytes: {error}"))?;
    Ok(Scope::Sample { share, seed: u64::from_ne_bytes(drawn) })
}

/// What a check found, which a sample never says of the whole.
pub(super) fn in_words(verdict: &Verdict) -> String {
    let (right, wrong) = (HumanCount(verdict.right_files), HumanCount(verdict.wrong));
    let read = HumanBytes(verdict.bytes);
    if verdict.scope == Scope::Full.to_string() {
        return format!("{right} files are right ({read} read), {wrong} wrong");
    }
    let listed = HumanCount(verdict.listed_files);
    let chosen = HumanCount(verdict.read_files);
    format!(
        "a {} only: {chosen} of {listed} files were read ({read}), {right} are right, {wrong} wrong",
        verdict.scope
    )
}

fn show(problem: &Problem) {
    print(&match problem {
        Problem::Missing { path } => format!("missing     {path:?}"),
        Problem::Differs { path } => format!("differs     {path:?}"),
        Problem::Unreadable { path, message } => format!("unreadable  {path:?}: {message}"),
        Problem::Unlisted { files } => format!("unlisted    {files} files that no list names"),
        Problem::SpoiltList { lines } => format!("spoilt      {lines} lines of the lists of digests"),
        Problem::Lost { files } => format!("lost        {files} files that are listed"),
    });
}

/// What is read so far, on a terminal.
fn bar(output: &OutputArgs) -> ProgressBar {
    use std::io::IsTerminal as _;
    if output.json || output.quiet || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {bytes} read, {bytes_per_sec}");
    let bar =
        ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    bar
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
        print(
            &json!({
                "files": extracted.files,
                "bytes": extracted.bytes,
                "passed_over": extracted.passed_over,
                "damaged": extracted.damaged,
                "problems": extracted.problems,
            })
            .to_string(),
        );
    } else {
        extracted.problems.iter().for_each(show);
        if extracted.passed_over > 0 {
            say(&format!("{} files were there already", HumanCount(extracted.passed_over)));
        }
        say(&format!(
            "{} files ({}) were taken out into {}",
            HumanCount(extracted.files),
            HumanBytes(extracted.bytes),
            args.directory.display()
        ));
    }
    if extracted.damaged > 0 {
        say(&format!(
            "ferry: {} files or directories cannot be read; the others are taken out",
            extracted.damaged
        ));
        return Ok(Exit::Failed);
    }
    if extracted.files + extracted.passed_over == 0 && !args.prefix.is_empty() {
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
