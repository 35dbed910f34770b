//! Where a path leads: to the local file system, or to the memory of the process (`memory://`).

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use thiserror::Error;

/// Why a file could not be read, written or looked at.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FileError {
    /// There is no such file; the path as it was looked up.
    #[error("[Errno 2] No such file or directory: '{0}'")]
    NotFound(String),
    /// The system forbids it.
    #[error("[Errno 13] Permission denied: '{0}'")]
    Denied(String),
    /// Files of this scheme are reached by a package of the host only.
    #[error("Backend package not installed for '{scheme}://'. Install with: pip install {package}")]
    NoBackend {
        /// As in `s3`.
        scheme: String,
        /// The package's name.
        package: String,
    },
    /// No files of this scheme are known.
    #[error("Protocol not known: {0}")]
    UnknownScheme(String),
    /// Anything else, in words.
    #[error("{0}")]
    Other(String),
}

impl FileError {
    /// The error of the system about a path.
    pub(super) fn of(error: &std::io::Error, path: &Path) -> Self {
        let shown = path.display().to_string();
        match error.kind() {
            std::io::ErrorKind::NotFound => FileError::NotFound(shown),
            std::io::ErrorKind::PermissionDenied => FileError::Denied(shown),
            _ => {
                let text = error.to_string();
                let reason = text.split(" (os error").next().unwrap_or(&text);
                match error.raw_os_error() {
                    Some(number) => FileError::Other(format!("[Errno {number}] {reason}: '{shown}'")),
                    None => FileError::Other(text),
                }
            }
        }
    }
}

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A local path.
    Local(PathBuf),
    /// A path in the memory of the process, beginning with `/`.
    Memory(String),
}

/// What is known about a file or a directory.
#[derive(Debug, Clone)]
pub(super) enum Info {
    Local(PathBuf, std::fs::Metadata),
    MemoryFile { path: String, size: usize },
    MemoryDirectory { path: String },
}

/// Files in memory by path. Directories are what the paths of files imply, and those made by `storage.mkdir`.
static MEMORY: Mutex<Memory> = Mutex::new(Memory { files: BTreeMap::new(), directories: BTreeMap::new() });

struct Memory {
    files: BTreeMap<String, Vec<u8>>,
    directories: BTreeMap<String, ()>,
}

impl Memory {
    fn below<'m>(&'m self, directory: &'m str) -> impl Iterator<Item = &'m String> {
        let prefix = if directory == "/" { "/".to_owned() } else { format!("{directory}/") };
        self.files.keys().chain(self.directories.keys()).filter(move |path| path.starts_with(&prefix))
    }

    fn has_directory(&self, path: &str) -> bool {
        path == "/" || self.directories.contains_key(path) || self.below(path).next().is_some()
    }
}

fn memory() -> std::sync::MutexGuard<'static, Memory> {
    MEMORY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Packages of the file systems that only a host can reach.
const PACKAGES: [(&str, &str); 12] = [
    ("s3", "s3fs"),
    ("gs", "gcsfs"),
    ("gcs", "gcsfs"),
    ("az", "adlfs"),
    ("abfs", "adlfs"),
    ("abfss", "adlfs"),
    ("wasb", "adlfs"),
    ("wasbs", "adlfs"),
    ("sftp", "sshfs"),
    ("ssh", "sshfs"),
    ("http", "http"),
    ("https", "https"),
];

impl Place {
    /// Where a path leads (`actions/FI-2`, `actions/FI-3`). Prefixes that only cache (`simplecache::`) are skipped.
    pub fn of(path: &str) -> Result<Self, FileError> {
        let mut path = path;
        while let Some((prefix, rest)) = path.split_once("::") {
            if !matches!(prefix, "simplecache" | "filecache" | "blockcache") {
                break;
            }
            path = rest;
        }
        let Some((scheme, rest)) = path.split_once("://") else { return Ok(Place::Local(expanded(path))) };
        match scheme {
            "file" | "local" => Ok(Place::Local(expanded(rest))),
            "memory" => {
                let trimmed = rest.trim_matches('/');
                Ok(Place::Memory(format!("/{trimmed}")))
            }
            scheme => match PACKAGES.iter().find(|(known, _)| *known == scheme) {
                Some((_, package)) => {
                    Err(FileError::NoBackend { scheme: scheme.to_owned(), package: (*package).to_owned() })
                }
                None => Err(FileError::UnknownScheme(scheme.to_owned())),
            },
        }
    }

    pub(super) fn shown(&self) -> String {
        match self {
            Place::Local(path) => path.display().to_string(),
            Place::Memory(path) => path.clone(),
        }
    }

    /// The whole content.
    pub fn read(&self) -> Result<Vec<u8>, FileError> {
        match self {
            Place::Local(path) => std::fs::read(path).map_err(|error| FileError::of(&error, path)),
            Place::Memory(path) => {
                let files = memory();
                files.files.get(path).cloned().ok_or_else(|| FileError::NotFound(path.clone()))
            }
        }
    }

    /// Replaces the content, or makes the file and the directories above it. The old content stays if this fails.
    pub fn write(&self, content: &[u8]) -> Result<(), FileError> {
        match self {
            Place::Local(path) => {
                make_parents(path)?;
                replace(path, content).map_err(|error| FileError::of(&error, path))
            }
            Place::Memory(path) => {
                let mut files = memory();
                if files.has_directory(path) {
                    return Err(FileError::Other(format!("[Errno 21] Is a directory: '{path}'")));
                }
                files.files.insert(path.clone(), content.to_vec());
                Ok(())
            }
        }
    }

    pub(super) fn info(&self) -> Result<Info, FileError> {
        match self {
            Place::Local(path) => match std::fs::metadata(path) {
                Ok(found) => Ok(Info::Local(absolute(path), found)),
                Err(error) => Err(FileError::of(&error, path)),
            },
            Place::Memory(path) => {
                let files = memory();
                match files.files.get(path) {
                    Some(content) => Ok(Info::MemoryFile { path: path.clone(), size: content.len() }),
                    None if files.has_directory(path) => Ok(Info::MemoryDirectory { path: path.clone() }),
                    None => Err(FileError::NotFound(path.clone())),
                }
            }
        }
    }

    /// What a directory holds, by name; a file is its own list.
    pub(super) fn list(&self) -> Result<Vec<Place>, FileError> {
        match self {
            Place::Local(path) => {
                let path = absolute(path);
                if path.is_file() {
                    return Ok(vec![Place::Local(path)]);
                }
                let failed = |error| FileError::of(&error, &path);
                let mut found = Vec::new();
                for entry in std::fs::read_dir(&path).map_err(failed)? {
                    found.push(entry.map_err(failed)?.path());
                }
                found.sort();
                Ok(found.into_iter().map(Place::Local).collect())
            }
            Place::Memory(path) => {
                let files = memory();
                if files.files.contains_key(path) {
                    return Ok(vec![self.clone()]);
                }
                if !files.has_directory(path) {
                    return Err(FileError::NotFound(path.clone()));
                }
                let start = if path == "/" { 1 } else { path.len() + 1 };
                let mut found: Vec<String> = files
                    .below(path)
                    .filter_map(|file| {
                        let end = file.get(start..)?.find('/').map_or(file.len(), |at| start + at);
                        file.get(..end).map(str::to_owned)
                    })
                    .collect();
                found.sort();
                found.dedup();
                Ok(found.into_iter().map(Place::Memory).collect())
            }
        }
    }

    /// Removes a file or, with `recursive`, a directory with all it holds.
    pub(super) fn delete(&self, recursive: bool) -> Result<(), FileError> {
        let directory = || FileError::Other("Cannot delete directory, set recursive=True".to_owned());
        match self {
            Place::Local(path) => {
                let failed = |error| FileError::of(&error, path);
                let is_directory = std::fs::symlink_metadata(path).map_err(failed)?.is_dir();
                match (is_directory, recursive) {
                    (false, _) => std::fs::remove_file(path).map_err(failed),
                    (true, true) => std::fs::remove_dir_all(path).map_err(failed),
                    (true, false) => Err(directory()),
                }
            }
            Place::Memory(path) => {
                let mut files = memory();
                if files.files.remove(path).is_some() {
                    return Ok(());
                }
                if !files.has_directory(path) {
                    return Err(FileError::NotFound(path.clone()));
                }
                if !recursive {
                    return Err(directory());
                }
                let prefix = if path == "/" { "/".to_owned() } else { format!("{path}/") };
                files.files.retain(|file, _| !file.starts_with(&prefix));
                files.directories.retain(|made, _| made != path && !made.starts_with(&prefix));
                Ok(())
            }
        }
    }

    /// Makes a directory and those above it. False if it is there already.
    pub(super) fn make_directory(&self) -> Result<bool, FileError> {
        match self {
            Place::Local(path) => {
                if path.is_dir() {
                    return Ok(false);
                }
                std::fs::create_dir_all(path).map_err(|error| FileError::of(&error, path))?;
                Ok(true)
            }
            Place::Memory(path) => {
                let mut files = memory();
                if files.files.contains_key(path) {
                    return Err(FileError::Other(format!("[Errno 17] File exists: '{path}'")));
                }
                let new = !files.has_directory(path);
                files.directories.insert(path.clone(), ());
                Ok(new)
            }
        }
    }
}

/// A leading `~` is the home directory.
fn expanded(path: &str) -> PathBuf {
    if let Some(rest) = path.strip_prefix('~')
        && (rest.is_empty() || rest.starts_with('/'))
        && let Some(home) = std::env::home_dir()
    {
        return home.join(rest.trim_start_matches('/'));
    }
    PathBuf::from(path)
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

pub(super) fn make_parents(path: &Path) -> Result<(), FileError> {
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => std::fs::create_dir_all(parent).map_err(|error| FileError::of(&error, parent)),
        None => Ok(()),
    }
}

/// Writes to a temporary file that takes the name once it is complete. What is no regular file (a device, a pipe),
/// and a file in a directory that takes no new ones, is written in place.
fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    // The file behind a link is replaced, not the link.
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let known = std::fs::metadata(&target).ok();
    if known.as_ref().is_some_and(|known| !known.is_file()) {
        return std::fs::OpenOptions::new().write(true).open(&target)?.write_all(content);
    }
    let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".tea-");
    #[cfg(unix)]
    let everyone = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    // The system takes away from these what the process masks.
    #[cfg(unix)]
    builder.permissions(everyone);
    let mut file = match builder.tempfile_in(directory) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied && known.is_some() => {
            let mut file = std::fs::OpenOptions::new().write(true).truncate(true).open(&target)?;
            return file.write_all(content);
        }
        Err(error) => return Err(error),
    };
    if let Some(known) = known {
        // What may not be written may not be replaced either.
        std::fs::OpenOptions::new().write(true).open(&target)?;
        file.as_file().set_permissions(known.permissions())?;
    }
    file.write_all(content)?;
    file.persist(&target).map_err(|error| error.error)?;
    Ok(())
}
