//! Where checkpoints go: memory or files.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Checkpoint, CheckpointError};

/// Where a graph's checkpoints go.
#[derive(Debug, Clone, Default)]
pub enum Store {
    /// Nowhere: an interrupt stops the run and names no checkpoint.
    #[default]
    None,
    /// The host stores them; the run hands it an item for each.
    Host,
    /// Into memory; lost with the process.
    Memory(Arc<MemoryStore>),
    /// Into files of this folder, which is created when the first one is written.
    Directory(PathBuf),
}

impl Store {
    /// Nothing is stored.
    pub fn is_none(&self) -> bool {
        matches!(self, Store::None)
    }
}

/// Checkpoints in memory, by id, in the order in which they were saved.
#[derive(Debug, Default)]
pub struct MemoryStore {
    saved: Mutex<indexmap::IndexMap<String, Checkpoint>>,
}

impl MemoryStore {
    /// Saves under a new id, `{node}_{milliseconds}`, and returns it.
    pub fn save(&self, checkpoint: Checkpoint) -> String {
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        let stem = format!("{}_{}", checkpoint.node, milliseconds());
        let mut id = stem.clone();
        let mut number = 0;
        while saved.contains_key(&id) {
            number += 1;
            id = format!("{stem}-{number}");
        }
        saved.insert(id.clone(), checkpoint);
        id
    }

    /// The checkpoint with this id.
    pub fn load(&self, id: &str) -> Result<Checkpoint, CheckpointError> {
        let saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        saved.get(id).cloned().ok_or_else(|| CheckpointError::UnknownId(id.to_owned()))
    }
}

impl Checkpoint {
    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self, CheckpointError> {
        let shown = path.display().to_string();
        let json = std::fs::read(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => CheckpointError::NotFound(shown.clone()),
            _ => CheckpointError::Unreadable { path: shown.clone(), reason: error.to_string() },
        })?;
        Checkpoint::from_json(&json, &shown)
    }
}

/// Writes a document to a new file `{node}_{milliseconds}.json` of the folder and returns its path. The file
/// is complete or absent, whenever the process is killed; it can be read by its owner only.
pub fn write_file(directory: &Path, node: &str, json: &str) -> Result<PathBuf, CheckpointError> {
    let stem = format!("{}_{}", encode_node_name(node), milliseconds());
    let wanted = directory.join(format!("{stem}.json"));
    let failed = |error: std::io::Error| CheckpointError::Unwritable {
        path: wanted.display().to_string(),
        reason: error.to_string(),
    };
    create_directory(directory).map_err(failed)?;
    let mut file = tempfile::Builder::new().prefix(".tea-").tempfile_in(directory).map_err(failed)?;
    file.write_all(json.as_bytes()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    let mut number = 0;
    let mut path = wanted.clone();
    loop {
        match file.persist_noclobber(&path) {
            Ok(_) => break,
            Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
                number += 1;
                path = directory.join(format!("{stem}-{number}.json"));
                file = error.file;
            }
            Err(error) => return Err(failed(error.error)),
        }
    }
    // The name is on disk only when the folder is.
    std::fs::File::open(directory).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(path)
}

fn create_directory(directory: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

/// A node's name as part of a file name: what could leave the folder, or what some file system forbids, is
/// percent-encoded. Other names stay as they are.
pub fn encode_node_name(node: &str) -> String {
    let mut encoded = String::with_capacity(node.len());
    for character in node.chars() {
        match character {
            '/' | '\\' | '\0' => encoded.push_str(&format!("%{:02X}", character as u32)),
            '<' | '>' | ':' | '"' | '|' | '?' | '*' if cfg!(windows) => {
                encoded.push_str(&format!("%{:02X}", character as u32));
            }
            other => encoded.push(other),
        }
    }
    encoded
}

fn milliseconds() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CQ-6, CQ-8, CQ-9, CQ-10
    #[test]
    fn files_stay_inside_and_apart() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("new/folder");
        let mut names = std::collections::HashSet::new();
        for _ in 0..50 {
            let path = write_file(&inner, "../x/y", "{}").unwrap();
            assert_eq!(path.parent(), Some(inner.as_path()));
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            assert!(name.starts_with("..%2Fx%2Fy_") && name.ends_with(".json"), "{name}");
            assert!(names.insert(name));
        }
        assert_eq!(std::fs::read_dir(&inner).unwrap().count(), 50, "nothing but the checkpoints");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(&inner), 0o700);
            assert_eq!(mode(&inner.join(names.iter().next().unwrap())), 0o600);
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let error = write_file(&file.join("sub"), "a", "{}").unwrap_err();
        assert!(error.to_string().starts_with("Failed to save checkpoint to '"), "{error}");
    }
}
