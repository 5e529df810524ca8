//! Whether a directory's file system takes the names that a plan will have.
//!
//! Owns: trying it, in a directory of its own that is gone afterwards. Does not own: the rules ([`crate::naming`]). Invariant: a plan for ext4 is only written where upper and lower case
//! differ and every name is allowed, or one object would replace another.

use std::fs::File;
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};

/// Where names are tried.
const PLACE: &str = ".ferry-names";
/// What Windows' file systems do not take.
const FOREIGN_TO_WINDOWS: &str = "a:b*?\"<>|.";
/// As long as NTFS takes it, in UTF-16 units; three times as many bytes.
const LONGEST_UNITS: usize = 255;

/// Whether a plan for ext4 can be written into a directory.
///
/// # Errors
/// `InvalidInput` where the file system takes two names for one, or not every name; `Io` where nothing can be made there.
pub fn check_names_of_ext4(directory: &Path) -> Result<()> {
    let takes_all = within(directory, |make| {
        make("aA").map_err(Error::io("write in", directory))?;
        Ok(make("Aa").is_ok() && make(FOREIGN_TO_WINDOWS).is_ok())
    })?;
    if takes_all {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidInput,
        format!(
            "the file system at {} takes upper and lower case for the same, or not every character: write fileSystem: NTFS into the manifest",
            directory.display()
        ),
    ))
}

/// Whether a directory takes names as long as NTFS does, which counts units and not bytes.
pub fn takes_long_names_of_ntfs(directory: &Path) -> Result<bool> {
    within(directory, |make| Ok(make(&"é".repeat(LONGEST_UNITS)).is_ok()))
}

fn within<T>(
    directory: &Path,
    attempt: impl FnOnce(&dyn Fn(&str) -> std::io::Result<File>) -> Result<T>,
) -> Result<T> {
    let place = directory.join(PLACE);
    // A killed run may have left it.
    std::fs::remove_dir_all(&place).ok();
    std::fs::create_dir(&place).map_err(Error::io("make", &place))?;
    let tried = attempt(&|name| File::create_new(place.join(name)));
    std::fs::remove_dir_all(&place).map_err(Error::io("remove", &place))?;
    tried
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_tried_and_nothing_is_left() {
        // Wherever tests run: what the system itself says of both spellings is the answer.
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("aA"), "").unwrap();
        let folds = home.path().join("Aa").exists();
        std::fs::remove_file(home.path().join("aA")).unwrap();
        let is_long = File::create_new(home.path().join("é".repeat(LONGEST_UNITS)));
        let takes_long = is_long.is_ok();
        std::fs::remove_file(home.path().join("é".repeat(LONGEST_UNITS))).ok();
        assert_eq!(check_names_of_ext4(home.path()).is_ok(), !folds);
        assert_eq!(takes_long_names_of_ntfs(home.path()).unwrap(), takes_long);
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    }
}
