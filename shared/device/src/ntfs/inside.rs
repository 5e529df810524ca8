//! The inside of a container, shown by a process of its own.
//!
//! Owns: both ends of that process: starting it (`Inside`) and being it ([`serve`]). Does not own: what is shown ([`DecryptedView`]) or the file system in it. Invariants:
//! whoever reads or writes the file system is never the one who serves its volume, or the kernel could not end it (a thread that waits for FUSE cannot be killed
//! once its request is taken up); the process ends with the one that started it, however that ended, after it has unmounted what it showed and what was
//! mounted upon it; a password passes through a pipe and stands in no list of processes.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead as _, BufReader, Read, Write};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::{Access, Programs, unmount_leftover};
use crate::container::{Container, Password};
use crate::decrypted_view::DecryptedView;
use crate::error::{Error, ErrorKind, Result};
use crate::volume::{RawVolume, Volume};

/// What the process says once the volume is there.
const READY: &str = "ready";
/// The longest task: two paths and a password.
const LINE_BYTES_MAX: usize = 65_536;
/// How often, and after which pause, an earlier process is waited for: it may have much to write.
const LOOKS: u32 = 600;
const PAUSE: Duration = Duration::from_millis(100);

/// The program that is started: as a rule the one that runs, with words that lead it to [`serve`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InsideProgram {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// What the process is told, in one line.
#[derive(Serialize, Deserialize, ZeroizeOnDrop)]
struct Task {
    #[zeroize(skip)]
    container: PathBuf,
    /// In base64; `None` for a file system in the clear.
    password: Option<String>,
    #[zeroize(skip)]
    scratch: PathBuf,
    #[zeroize(skip)]
    access: Access,
}

/// Where things are below the directory that both ends know.
struct Places {
    lock: PathBuf,
    inside: PathBuf,
    files: PathBuf,
}

impl Places {
    fn below(scratch: &Path) -> Self {
        Self { lock: scratch.join("lock"), inside: scratch.join("inside"), files: scratch.join("files") }
    }
}

/// A container's inside, for as long as it is shown.
#[derive(Debug)]
pub(super) struct Inside {
    child: Child,
    /// The process ends when this does.
    told: Option<ChildStdin>,
    volume: PathBuf,
    files: PathBuf,
}

impl Inside {
    /// Shows the inside of a container below `scratch`, a directory for this alone.
    pub(super) fn show(
        program: &InsideProgram,
        container: &Path,
        password: Option<&Password>,
        scratch: &Path,
        access: Access,
    ) -> Result<Self> {
        std::fs::create_dir_all(scratch).map_err(Error::io("make", scratch))?;
        let real = |path: &Path| std::fs::canonicalize(path).map_err(Error::io("find", path));
        let scratch = real(scratch)?;
        let task = Task {
            container: real(container)?,
            password: password.map(|password| STANDARD.encode(password.as_bytes())),
            scratch: scratch.clone(),
            access,
        };
        let line =
            serde_json::to_vec(&task).map_err(|e| Error::invalid("no task can be written").caused_by(e))?;
        let line = Zeroizing::new(line);
        let mut child = Command::new(&program.program)
            .args(&program.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // A signal from the terminal is for the one who started it.
            .process_group(0)
            .spawn()
            .map_err(Error::io("run", &program.program))?;
        let mut told = child.stdin.take();
        if let Some(told) = &mut told {
            told.write_all(&line)
                .and_then(|()| told.write_all(b"\n"))
                .map_err(Error::io("tell", &program.program))?;
        }
        let mut said = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut said).map_err(Error::io("hear", &program.program))?;
        }
        let Places { inside, files, .. } = Places::below(&scratch);
        let shown = Self { child, told, volume: inside.join(DecryptedView::NAME), files };
        if said.trim_end() == READY {
            return Ok(shown);
        }
        Err(Error::new(
            ErrorKind::Io,
            format!("the inside of {} cannot be shown: {}", container.display(), said.trim_end()),
        ))
    }

    /// The decrypted volume, as a file.
    pub(super) fn volume(&self) -> &Path {
        &self.volume
    }

    /// Where the file system in it is to be mounted.
    pub(super) fn files(&self) -> &Path {
        &self.files
    }

    /// Ends the view and returns once everything written through it is on the medium.
    pub(super) fn unmount(mut self) -> Result<()> {
        drop(self.told.take());
        let status = self.child.wait().map_err(Error::io("wait for the view at", &self.volume))?;
        if status.success() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Io, format!("the view at {} ended with {status}", self.volume.display())))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        drop(self.told.take());
        self.child.wait().ok();
    }
}

/// Is the process: takes its task from `input`, shows the inside, and ends when `input` does.
///
/// # Errors
/// What is wrong is also said to `output`, for the one who started it.
pub fn serve(input: impl Read, mut output: impl Write) -> Result<()> {
    let mut input = input;
    let task: Task = serde_json::from_slice(&first_line(&mut input)?)
        .map_err(|e| Error::invalid("this is no task").caused_by(e))?;
    let places = Places::below(&task.scratch);
    let opened = open(&task, &places);
    drop(task);
    let (view, _lock) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            // Nobody hears it who does not read it here.
            writeln!(output, "{}", chain(&error)).ok();
            return Err(error);
        }
    };
    let say = writeln!(output, "{READY}").and_then(|()| output.flush());
    say.map_err(Error::io("answer", Path::new("the station")))?;
    let waited = std::io::copy(&mut input, &mut std::io::sink());
    waited.map_err(Error::io("wait for", Path::new("the station")))?;
    // Still mounted where the station was killed. What ntfs-3g holds back passes through the view before that ends.
    unmount_leftover(&Programs::of_this_machine()?.umount, &places.files)?;
    view.unmount()?;
    for place in [places.files, places.inside] {
        std::fs::remove_dir(&place).map_err(Error::io("remove", &place))?;
    }
    Ok(())
}

/// Byte by byte: what is read ahead into a buffer would stay there with the password for as long as the view lives.
fn first_line(input: &mut impl Read) -> Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(LINE_BYTES_MAX));
    let mut byte = [0];
    while line.len() < LINE_BYTES_MAX {
        let read = input.read(&mut byte).map_err(Error::io("read", Path::new("the task")))?;
        if read == 0 || byte == *b"\n" {
            return Ok(line);
        }
        line.push(byte[0]);
    }
    Err(Error::invalid("the task has no end"))
}

fn open(task: &Task, places: &Places) -> Result<(DecryptedView, File)> {
    let lock = lock(&places.lock)?;
    let umount = Programs::of_this_machine()?.umount;
    for place in [&places.files, &places.inside] {
        unmount_leftover(&umount, place)?;
        std::fs::create_dir_all(place).map_err(Error::io("make", place))?;
    }
    let raw = match task.access {
        Access::Read => RawVolume::open(&task.container)?,
        Access::Write => RawVolume::open_for_writing(&task.container)?,
    };
    let volume: Arc<dyn Volume> = match &task.password {
        None => Arc::new(raw),
        Some(password) => {
            let bytes = STANDARD
                .decode(password.as_bytes())
                .map_err(|e| Error::invalid("no password").caused_by(e))?;
            Arc::new(Container::open(raw, &Password::new(bytes))?)
        }
    };
    Ok((DecryptedView::mount(volume, &places.inside)?, lock))
}

/// Waits for the process of a station that was killed to have written everything.
fn lock(path: &Path) -> Result<File> {
    let opened = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let file = opened.map_err(Error::io("open", path))?;
    for _ in 0..LOOKS {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", path)(error)),
        }
    }
    Err(Error::new(
        ErrorKind::Io,
        format!("another process still has the medium open: {} is locked", path.display()),
    ))
}

fn chain(error: &Error) -> String {
    let mut told = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        told.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    told
}
