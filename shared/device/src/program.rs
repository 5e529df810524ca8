//! Programs of others that Ferry runs: those of file systems.
//!
//! Owns: finding them and running one to its end. Does not own: what they do, or those that stay. Invariant: a program that is missing is told with its package, one that fails with the last
//! line that it said.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, ErrorKind, Result};

/// Where such programs are that an ordinary user's `PATH` does not name.
const SYSTEM_DIRECTORIES: [&str; 2] = ["/usr/sbin", "/sbin"];

/// Finds a program on `search_path`, the environment's `PATH`, or where systems keep theirs.
///
/// # Errors
/// `MissingProgram` with the package's name.
pub(crate) fn find(search_path: &OsStr, program: &str, package: &str) -> Result<PathBuf> {
    find_in(search_path, &SYSTEM_DIRECTORIES, program, package)
}

fn find_in(search_path: &OsStr, also: &[&str], program: &str, package: &str) -> Result<PathBuf> {
    std::env::split_paths(search_path)
        .chain(also.iter().map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            Error::new(
                ErrorKind::MissingProgram,
                format!("{program} is not installed; it is in the package {package}"),
            )
        })
}

/// Runs one on something, and returns once it has done its work.
pub(crate) fn run(program: &Path, arguments: &[&OsStr], on: &Path) -> Result<()> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(Error::io("run", program))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let said = said.lines().last().unwrap_or_default();
    Err(Error::new(ErrorKind::Io, format!("{name} failed on {}: {said}", on.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_told_with_its_package() {
        let error = find_in(OsStr::new("/nowhere"), &[], "mkntfs", "ntfs-3g").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::MissingProgram);
        assert!(error.to_string().contains("package ntfs-3g"), "{error}");
    }
}
