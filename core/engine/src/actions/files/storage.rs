//! `storage.*` for local paths and `memory://`.

use std::fmt::Write;

use blake2::Blake2b512;
use md5::Md5;
use sha2::{Digest, Sha256};

use super::place::{FileError, Info, Place};
use super::{classified, no_place, normalized};
use crate::actions::{ActionCall, Registry, failure, refused};
use crate::run::Stop;
use crate::value::{Map, Value};

pub(in crate::actions) fn register(registry: &mut Registry) {
    registry.add_direct("storage.list", list);
    registry.add_direct("storage.exists", exists);
    registry.add_direct("storage.delete", delete);
    registry.add_direct("storage.copy", copy);
    registry.add_direct("storage.info", info);
    registry.add_direct("storage.mkdir", mkdir);
    registry.add_direct("storage.hash", hash);
    for operation in ["list", "exists", "delete", "copy", "info", "mkdir", "hash"] {
        registry.alias(&format!("storage.{operation}"), &format!("actions.storage_{operation}"));
    }
}

/// The result for an error: `missing` is the text for a path that is not there, `own` the action's own type.
fn failed(error: &FileError, missing: String, own: &str) -> Value {
    no_place(error).unwrap_or_else(|| match error {
        FileError::NotFound(_) => refused(missing, "not_found"),
        FileError::Denied(path) => refused(format!("Permission denied: {path}"), "permission_denied"),
        other => classified(&other.to_string(), &["404", "NoSuchKey"], own),
    })
}

/// `actions/ST-1`.
fn list(call: &ActionCall) -> Result<Value, Stop> {
    let path = normalized(call.required("path")?)?;
    let most = match call.get("max_results") {
        None | Some(Value::Null) => usize::MAX,
        Some(Value::Int(most)) => usize::try_from(*most).unwrap_or(0),
        Some(other) => {
            let given = other.type_name();
            return Err(failure("TypeError", format!("max_results is a number, not {given}")));
        }
    };
    let detail = call.flag("detail", false);
    let found = Place::of(path).and_then(|place| place.list()).and_then(|found| {
        let shown =
            |place: &Place| if detail { place.info().map(described) } else { Ok(place.shown().into()) };
        found.iter().take(most).map(shown).collect::<Result<Vec<Value>, _>>()
    });
    Ok(match found {
        Ok(files) => {
            let count = Value::int(files.len());
            crate::map! { "files" => files, "success" => true, "count" => count }
        }
        Err(error) => failed(&error, format!("Path not found: {path}"), "list_error"),
    })
}

/// `actions/ST-2`.
fn exists(call: &ActionCall) -> Result<Value, Stop> {
    let path = normalized(call.required("path")?)?;
    let found = match Place::of(path).and_then(|place| place.info()) {
        Ok(_) => true,
        Err(FileError::NotFound(_) | FileError::Denied(_)) => false,
        // A path through a file leads nowhere.
        Err(FileError::Other(_)) => false,
        Err(error) => return Ok(failed(&error, String::new(), "exists_error")),
    };
    Ok(crate::map! { "exists" => found, "success" => true, "path" => path })
}

/// `actions/ST-3`.
fn delete(call: &ActionCall) -> Result<Value, Stop> {
    let path = normalized(call.required("path")?)?;
    let deleted = Place::of(path).and_then(|place| place.delete(call.flag("recursive", false)));
    Ok(match deleted {
        Ok(()) => crate::map! { "deleted" => true, "success" => true, "path" => path },
        Err(error) => failed(&error, format!("File not found: {path}"), "delete_error"),
    })
}

/// `actions/ST-4`, `actions/Q-22`: a missing directory of the destination is named as such.
fn copy(call: &ActionCall) -> Result<Value, Stop> {
    let source = normalized(call.required("source")?)?;
    let destination = normalized(call.required("destination")?)?;
    let missing = format!("Source not found: {source}");
    let content = match Place::of(source).and_then(|place| place.read()) {
        Ok(content) => content,
        Err(error) => return Ok(failed(&error, missing, "copy_error")),
    };
    let place = match Place::of(destination) {
        Ok(place) => place,
        Err(error) => return Ok(failed(&error, missing, "copy_error")),
    };
    if let (Place::Local(path), Ok(Place::Local(_))) = (&place, Place::of(source))
        && path.parent().is_some_and(|parent| !parent.as_os_str().is_empty() && !parent.is_dir())
    {
        return Ok(refused(format!("Destination directory not found: {destination}"), "not_found"));
    }
    Ok(match place.write(&content) {
        Ok(()) => crate::map! {
            "copied" => true, "success" => true, "source" => source, "destination" => destination
        },
        Err(error) => failed(&error, format!("Destination not found: {destination}"), "copy_error"),
    })
}

/// `actions/ST-5`.
fn info(call: &ActionCall) -> Result<Value, Stop> {
    let path = normalized(call.required("path")?)?;
    Ok(match Place::of(path).and_then(|place| place.info()) {
        Ok(info) => crate::map! { "info" => described(info), "success" => true, "path" => path },
        Err(error) => failed(&error, format!("File not found: {path}"), "info_error"),
    })
}

fn described(info: Info) -> Value {
    let simple = |path: String, size: usize, kind: &str| {
        crate::map! { "name" => path, "size" => Value::int(size), "type" => kind }
    };
    match info {
        Info::MemoryFile { path, size } => simple(path, size, "file"),
        Info::MemoryDirectory { path } => simple(path, 0, "directory"),
        Info::Local(path, found) => {
            let kind = if found.is_dir() {
                "directory"
            } else if found.is_file() {
                "file"
            } else {
                "other"
            };
            let link = std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink());
            let mut map = Map::new();
            map.insert("name".into(), path.display().to_string().into());
            map.insert("size".into(), Value::int(found.len()));
            map.insert("type".into(), kind.into());
            #[cfg(unix)]
            {
                use std::os::unix::fs::MetadataExt;
                let seconds = |whole: i64, nanoseconds: i64| whole as f64 + nanoseconds as f64 / 1e9;
                map.insert("created".into(), seconds(found.ctime(), found.ctime_nsec()).into());
                map.insert("islink".into(), link.into());
                map.insert("mode".into(), i64::from(found.mode()).into());
                map.insert("uid".into(), i64::from(found.uid()).into());
                map.insert("gid".into(), i64::from(found.gid()).into());
                map.insert("mtime".into(), seconds(found.mtime(), found.mtime_nsec()).into());
                map.insert("ino".into(), Value::int(found.ino()));
                map.insert("nlink".into(), Value::int(found.nlink()));
            }
            #[cfg(not(unix))]
            {
                let seconds = |time: std::io::Result<std::time::SystemTime>| {
                    let since = time.ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
                    since.map_or(Value::Null, |since| Value::Float(since.as_secs_f64()))
                };
                map.insert("created".into(), seconds(found.created()));
                map.insert("islink".into(), link.into());
                map.insert("mtime".into(), seconds(found.modified()));
            }
            Value::map(map)
        }
    }
}

/// `actions/ST-6`.
fn mkdir(call: &ActionCall) -> Result<Value, Stop> {
    let path = normalized(call.required("path")?)?;
    Ok(match Place::of(path).and_then(|place| place.make_directory()) {
        Ok(false) if !call.flag("exist_ok", true) => {
            refused(format!("Directory already exists: {path}"), "exists")
        }
        Ok(_) => crate::map! { "created" => true, "success" => true, "path" => path },
        Err(error) => failed(&error, format!("Path not found: {path}"), "mkdir_error"),
    })
}

/// `actions/ST-8`.
fn hash(call: &ActionCall) -> Result<Value, Stop> {
    let path = call.required("path")?;
    let Some(name) = path.as_str().filter(|path| !path.is_empty()) else {
        return Ok(refused("Path is required", "validation_error"));
    };
    let content = match Place::of(name).and_then(|place| place.read()) {
        Ok(content) => content,
        Err(error) => {
            return Ok(crate::map! {
                "success" => false,
                "error" => error.to_string(),
                "error_type" => "file_error",
                "path" => path.clone(),
            });
        }
    };
    let asked = call.get("algorithm").and_then(Value::as_str).unwrap_or("sha256");
    let (algorithm, digest) = match asked {
        "md5" => ("md5", hex(&Md5::digest(&content))),
        "blake2b" => ("blake2b", hex(&Blake2b512::digest(&content))),
        _ => ("sha256", hex(&Sha256::digest(&content))),
    };
    Ok(crate::map! {
        "success" => true,
        "hash" => digest,
        "algorithm" => algorithm,
        "size_bytes" => Value::int(content.len()),
        "path" => path.clone(),
    })
}

/// Lower-case hexadecimal digits.
pub(in crate::actions) fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

#[cfg(test)]
mod tests {
    use crate::actions::json::loads;
    use crate::actions::testing::run;

    use super::*;

    fn part(value: &Value, name: &str) -> Value {
        value.as_map().unwrap().get(name).cloned().unwrap_or_default()
    }

    /// actions/ST-1 to actions/ST-6: the same answers for files and for memory
    #[test]
    fn both_places() {
        let folder = tempfile::tempdir().unwrap();
        for root in [folder.path().display().to_string(), "memory://both".to_owned()] {
            let call =
                |name: &str, arguments: &str| run(name, loads(&arguments.replace("ROOT", &root)).unwrap());
            let shown = root.trim_start_matches("memory:/");
            call("file.write", r#"{"path": "ROOT/d/a.txt", "content": "A"}"#);
            call("file.write", r#"{"path": "ROOT/d/e/b.txt", "content": "BB"}"#);
            let listed = call("storage.list", r#"{"path": "ROOT/d"}"#);
            let names: Vec<Value> =
                ["d/a.txt", "d/e"].iter().map(|name| format!("{shown}/{name}").into()).collect();
            assert_eq!(part(&listed, "files"), Value::list(names), "{root}");
            assert_eq!(part(&listed, "count"), Value::Int(2));
            let none = call("storage.list", r#"{"path": "ROOT/d", "max_results": 0}"#);
            assert_eq!(part(&none, "count"), Value::Int(0));
            let missing = call("storage.list", r#"{"path": "ROOT/none"}"#);
            assert_eq!(missing, refused(format!("Path not found: {root}/none"), "not_found"));
            let detail = call("storage.list", r#"{"path": "ROOT/d", "detail": true}"#);
            assert_eq!(part(&part(&detail, "files").as_list().unwrap()[0], "size"), Value::Int(1));
            for (path, exists) in [("d", true), ("d/a.txt", true), ("d/x", false), ("d/a.txt/x", false)] {
                let found = call("storage.exists", &format!(r#"{{"path": "ROOT/{path}"}}"#));
                assert_eq!(part(&found, "exists"), Value::Bool(exists), "{root}/{path}");
            }
            let copied = call("storage.copy", r#"{"source": "ROOT/d/a.txt", "destination": "ROOT/c.txt"}"#);
            assert_eq!(part(&copied, "copied"), Value::Bool(true));
            let absent = call("storage.copy", r#"{"source": "ROOT/x", "destination": "ROOT/c.txt"}"#);
            assert_eq!(absent, refused(format!("Source not found: {root}/x"), "not_found"));
            let info = part(&call("storage.info", r#"{"path": "ROOT/d/e"}"#), "info");
            assert_eq!(part(&info, "type"), "directory".into());
            let directory = call("storage.delete", r#"{"path": "ROOT/d"}"#);
            assert_eq!(directory, refused("Cannot delete directory, set recursive=True", "delete_error"));
            call("storage.delete", r#"{"path": "ROOT/d", "recursive": true}"#);
            let gone = call("storage.delete", r#"{"path": "ROOT/d"}"#);
            assert_eq!(gone, refused(format!("File not found: {root}/d"), "not_found"));
            let made = call("storage.mkdir", r#"{"path": "ROOT/m/n"}"#);
            assert_eq!(part(&made, "created"), Value::Bool(true));
            let again = call("storage.mkdir", r#"{"path": "ROOT/m/n", "exist_ok": false}"#);
            assert_eq!(again, refused(format!("Directory already exists: {root}/m/n"), "exists"));
        }
    }

    /// actions/ST-4, actions/Q-22
    #[test]
    fn a_copy_names_its_missing_destination() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().display();
        std::fs::write(folder.path().join("a"), "A").unwrap();
        let arguments =
            crate::map! { "source" => format!("{root}/a"), "destination" => format!("{root}/no/b") };
        let error = part(&run("storage.copy", arguments), "error");
        assert_eq!(error, format!("Destination directory not found: {root}/no/b").into());
    }

    /// actions/ST-8
    #[test]
    fn digests() {
        run("file.write", crate::map! { "path" => "memory://hash", "content" => "hello" });
        let digest = |algorithm: &str| {
            let found =
                run("storage.hash", crate::map! { "path" => "memory://hash", "algorithm" => algorithm });
            (crate::value::text(&part(&found, "algorithm")), crate::value::text(&part(&found, "hash")))
        };
        assert_eq!(digest("md5").1, "5d41402abc4b2a76b9719d911017c592");
        assert_eq!(digest("x").0, "sha256");
        assert!(digest("sha256").1.starts_with("2cf24dba5fb0a30e26e83b2ac5b9e29e"));
        assert!(
            digest("blake2b").1.starts_with(
                "e4cfa39a3d37be31c59609e807970799caa68a19bfaa15135f165085e01d41a65ba1e1b146aeb6bd"
            )
        );
        let empty = run("storage.hash", crate::map! { "path" => Value::Null });
        assert_eq!(empty, refused("Path is required", "validation_error"));
        assert_eq!(
            part(&run("storage.hash", crate::map! { "path" => "memory://no" }), "error_type"),
            "file_error".into()
        );
    }
}
