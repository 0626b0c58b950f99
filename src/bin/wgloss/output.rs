//! The file that a run writes: whole or not at all, and what could hinder it is found before any work.
//!
//! The tensors go to a file without a name, which is synced and then gets one: whatever ends the process leaves nothing.
//! Where the system has no such files, it is one beside, `.wgloss-PID-NANOSECONDS.tmp`, which is removed where anything
//! fails, and which a process that is killed within the write leaves.

use crate::tensors::{Output, no_file};
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind as Io, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use wgloss::{Error, ErrorKind};

/// Most links that are followed to a file that is not there yet.
const MOST_LINKS: usize = 40;

/// Where an output goes.
pub struct Destination {
    /// As the user named it.
    name: String,
    /// Behind all links.
    path: PathBuf,
    /// Whether the folder can have a file without a name that gets one later.
    unnamed: bool,
}

impl Destination {
    /// Finds it, and that a file can be made there. A link stays one: what it leads to is made or replaced.
    pub fn find(path: &Path, input: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let bad = |found: String| Error::value(&name, "a file to write", found);
        let failed = |error: io::Error| bad(error.to_string());
        let path = behind_links(path).map_err(failed)?;
        match fs::metadata(&path) {
            // Replacing a device or a pipe would do harm.
            Ok(found) if !found.is_file() => return Err(bad(no_file(found.file_type()).into())),
            Ok(found) if is_same(&path, &found, input) => {
                return Err(bad("the input itself, which it would replace".into()));
            }
            Ok(_) => {}
            Err(error) if error.kind() == Io::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        // `name/` and `name/.` ask for a folder.
        let whole = path.as_os_str().as_encoded_bytes();
        let named = |name: &std::ffi::OsStr| whole.ends_with(name.as_encoded_bytes());
        if !path.file_name().is_some_and(named) {
            return Err(bad("no name of a file".into()));
        }
        let mut destination = Destination {
            name: name.clone(),
            path,
            unnamed: true,
        };
        // Whether the folder takes a file is best seen by making one.
        let probe = destination.beside();
        let unnamed = create_unnamed(destination.folder(), None);
        destination.unnamed = unnamed.and_then(|file| give_name(&file, &probe)).is_ok();
        if !destination.unnamed {
            create(&probe, None).map_err(failed)?;
        }
        fs::remove_file(&probe).map_err(failed)?;
        Ok(destination)
    }

    fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    /// A name that no other process makes. It is short: that of the file may be as long as names can be.
    fn beside(&self) -> PathBuf {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let (process, now) = (std::process::id(), now.unwrap_or_default().as_nanos());
        self.folder().join(format!(".wgloss-{process}-{now}.tmp"))
    }

    /// Writes the tensors.
    pub fn write(&self, tensors: &[Output]) -> Result<(), Error> {
        let failed = |error: &dyn std::fmt::Display| {
            let reason = format!("could not write the file: {error}");
            Error::because(ErrorKind::Device, &self.name, reason)
        };
        let bytes = safetensors::serialize(tensors.iter().map(|t| (&t.name, t)), None)
            .map_err(|error| failed(&error))?;
        let beside = self.beside();
        let written = self.replace(&beside, &bytes);
        if written.is_err() {
            let _ = fs::remove_file(&beside);
        }
        written.map_err(|error| failed(&error))
    }

    fn replace(&self, beside: &Path, bytes: &[u8]) -> io::Result<()> {
        let replaced = fs::metadata(&self.path).ok();
        let mut file = match self.unnamed {
            true => create_unnamed(self.folder(), replaced.as_ref())?,
            false => create(beside, replaced.as_ref())?,
        };
        file.write_all(bytes)?;
        // Otherwise a crash could leave the name with nothing behind it.
        file.sync_all()?;
        if self.unnamed {
            give_name(&file, beside)?;
        }
        fs::rename(beside, &self.path)?;
        sync_folder(self.folder())
    }
}

/// Makes a file that is not there yet: with the rights and the owner of the one that it will replace, before anything is
/// in it.
fn create(path: &Path, replaced: Option<&Metadata>) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    let file = open(options, path, replaced)?;
    match keep(&file, replaced) {
        Ok(()) => Ok(file),
        Err(error) => {
            let _ = fs::remove_file(path);
            Err(error)
        }
    }
}

/// The same in a folder, without a name.
#[cfg(target_os = "linux")]
fn create_unnamed(folder: &Path, replaced: Option<&Metadata>) -> io::Result<File> {
    use rustix::fs::OFlags;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = OpenOptions::new();
    options
        .write(true)
        .custom_flags(OFlags::TMPFILE.bits().cast_signed());
    let file = open(options, folder, replaced)?;
    keep(&file, replaced)?;
    Ok(file)
}

#[cfg(not(target_os = "linux"))]
fn create_unnamed(_: &Path, _: Option<&Metadata>) -> io::Result<File> {
    Err(Io::Unsupported.into())
}

/// Gives it one, which nothing may have.
#[cfg(target_os = "linux")]
fn give_name(file: &File, path: &Path) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD, linkat};
    use std::os::fd::AsRawFd as _;
    let file = format!("/proc/self/fd/{}", file.as_raw_fd());
    linkat(CWD, file, CWD, path, AtFlags::SYMLINK_FOLLOW).map_err(io::Error::from)
}

#[cfg(not(target_os = "linux"))]
fn give_name(_: &File, _: &Path) -> io::Result<()> {
    Err(Io::Unsupported.into())
}

/// Opens a new file, which nobody else can open before it has the rights of the one that it will replace.
fn open(mut options: OpenOptions, path: &Path, replaced: Option<&Metadata>) -> io::Result<File> {
    #[cfg(unix)]
    if replaced.is_some() {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    let _ = (&mut options, replaced);
    options.open(path)
}

/// Gives a file the rights and the owner of the one that it will replace.
fn keep(file: &File, replaced: Option<&Metadata>) -> io::Result<()> {
    let Some(replaced) = replaced else {
        return Ok(());
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt as _, fchown};
        let own = file.metadata()?;
        let (user, group) = (replaced.uid(), replaced.gid());
        // Who may not give files away keeps it, as with any tool that replaces files.
        if (own.uid(), own.gid()) != (user, group) {
            let _ = fchown(file, Some(user), Some(group));
        }
    }
    let rights: Permissions = replaced.permissions();
    file.set_permissions(rights)
}

/// The path that links lead to, whether there is a file or not.
fn behind_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..MOST_LINKS {
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => {
                let target = fs::read_link(&path)?;
                // An absolute target takes the place of the whole.
                path = path.parent().unwrap_or(Path::new("")).join(target);
            }
            Err(error) if error.kind() != Io::NotFound => return Err(error),
            _ => return Ok(path),
        }
    }
    Err(io::Error::other("links that lead to one another"))
}

/// Whether a path names the input, by whatever way.
fn is_same(path: &Path, found: &Metadata, input: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let place = |of: &Metadata| (of.dev(), of.ino());
        if fs::metadata(input).is_ok_and(|input| place(&input) == place(found)) {
            return true;
        }
    }
    let _ = found;
    let whole = |path: &Path| fs::canonicalize(path).ok();
    whole(path).is_some_and(|path| whole(input) == Some(path))
}

/// Makes a new name in a folder last. Some file systems cannot, and have no need to.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    // One that may be written but not read cannot be opened.
    let Ok(folder) = File::open(folder) else {
        return Ok(());
    };
    match folder.sync_all() {
        Err(error) if [Io::InvalidInput, Io::Unsupported].contains(&error.kind()) => Ok(()),
        done => done,
    }
}
