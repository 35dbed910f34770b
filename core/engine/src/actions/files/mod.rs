//! `file.read`, `file.write`, and where paths lead.

mod place;
pub(super) mod storage;
mod text;

pub use place::{FileError, Place};

use super::{ActionCall, Registry, failure, refused};
use crate::run::Stop;
use crate::value::Value;

pub(super) fn register(registry: &mut Registry) {
    registry.add_direct("file.write", write);
    registry.add_direct("file.read", read);
    registry.alias("file.write", "actions.file_write");
    registry.alias("file.read", "actions.file_read");
}

/// The path without `file://` (`actions/FI-1`).
fn normalized(path: &Value) -> Result<&str, Stop> {
    match path {
        Value::Str(path) => Ok(path.strip_prefix("file://").unwrap_or(path)),
        other => {
            let given = other.type_name();
            Err(failure("AttributeError", format!("'{given}' object has no attribute 'startswith'")))
        }
    }
}

/// The content of a file as text: UTF-8, all line ends as `\n`.
pub fn read_text(path: &str) -> Result<String, FileError> {
    text::decode(&Place::of(path)?.read()?, "utf-8").map_err(FileError::Other)
}

/// The error of a path that leads nowhere (`actions/FI-2`); `None` for other errors.
fn no_place(error: &FileError) -> Option<Value> {
    match error {
        FileError::NoBackend { .. } => Some(refused(error.to_string(), "backend_not_installed")),
        FileError::UnknownScheme(_) => Some(refused(error.to_string(), "filesystem_error")),
        _ => None,
    }
}

/// An error whose kind only its text tells, in the order of the contract; `own` is the action's own type.
fn classified(text: &str, missing: &[&str], own: &str) -> Value {
    let lower = text.to_lowercase();
    if text.contains("403") || text.contains("Forbidden") {
        refused(format!("Permission denied: {text}"), "permission_denied")
    } else if missing.iter().any(|word| text.contains(word)) || lower.contains("not found") {
        refused(format!("Not found: {text}"), "not_found")
    } else if lower.contains("credential") || lower.contains("auth") {
        refused(format!("Missing credentials: {text}"), "missing_credentials")
    } else {
        refused(text, own)
    }
}

/// The text that is to be written, or the type of what is no text (`actions/FI-11`, `actions/FI-12`).
fn content(call: &ActionCall) -> Result<Result<String, &'static str>, Stop> {
    let given = call.required("content")?;
    let chunks: Vec<&Value> = match given {
        Value::List(items) | Value::Tuple(items) if call.flag("stream", false) => items.iter().collect(),
        Value::Map(map) if call.flag("stream", false) => map.keys().map(|key| key.value()).collect(),
        Value::Set(set) if call.flag("stream", false) => set.iter().map(|key| key.value()).collect(),
        other => vec![other],
    };
    let mut text = String::new();
    for chunk in chunks {
        match chunk {
            Value::Str(chunk) => text.push_str(chunk),
            Value::Null => return Ok(Err("None")),
            other => return Ok(Err(other.type_name())),
        }
    }
    Ok(Ok(text))
}

/// `actions/FI-10` to `actions/FI-13`, `actions/Q-21`.
fn write(call: &ActionCall) -> Result<Value, Stop> {
    let path = normalized(call.required("path")?)?;
    let content = match content(call)? {
        Ok(content) => content,
        Err(given) => {
            return Ok(refused(format!("write() argument must be str, not {given}"), "write_error"));
        }
    };
    let content = if cfg!(windows) { content.replace('\n', "\r\n") } else { content };
    let error = match Place::of(path).and_then(|place| place.write(content.as_bytes())) {
        Ok(()) => return Ok(crate::map! { "path" => path, "success" => true }),
        Err(error) => error,
    };
    Ok(no_place(&error).unwrap_or_else(|| match &error {
        FileError::Denied(_) => refused(format!("Permission denied: {path}"), "permission_denied"),
        FileError::NotFound(_) => refused(format!("Path not found: {path}"), "not_found"),
        other => classified(&other.to_string(), &["404", "NoSuchBucket"], "write_error"),
    }))
}

/// `actions/FI-20` to `actions/FI-22`.
fn read(call: &ActionCall) -> Result<Value, Stop> {
    let path = normalized(call.required("path")?)?;
    if call.flag("stream", false) {
        let error = "stream=True gives an open file, which only a host can hold; read without it";
        return Ok(refused(error, "read_error"));
    }
    let encoding = call.get("encoding").map_or_else(|| "utf-8".to_owned(), crate::value::text);
    let found = Place::of(path)
        .and_then(|place| place.read())
        .and_then(|bytes| text::decode(&bytes, &encoding).map_err(FileError::Other));
    let error = match found {
        Ok(content) => return Ok(crate::map! { "content" => content, "success" => true }),
        Err(error) => error,
    };
    Ok(no_place(&error).unwrap_or_else(|| match &error {
        FileError::NotFound(_) => refused(format!("File not found: {path}"), "not_found"),
        FileError::Denied(_) => refused(format!("Permission denied: {path}"), "permission_denied"),
        other => classified(&other.to_string(), &["404", "NoSuchKey"], "read_error"),
    }))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::testing::{failed, run};
    use super::*;

    fn part(value: &Value, name: &str) -> String {
        crate::value::text(value.as_map().unwrap().get(name).unwrap_or(&Value::Null))
    }

    fn write_to(path: &str, content: Value) -> Value {
        run("file.write", crate::map! { "path" => path, "content" => content })
    }

    fn read_from(path: &str) -> Value {
        run("file.read", crate::map! { "path" => path })
    }

    fn path_of(path: &Path) -> String {
        path.display().to_string()
    }

    /// actions/FI-1, actions/FI-10, actions/FI-20, actions/FI-23
    #[test]
    fn round_trips() {
        let folder = tempfile::tempdir().unwrap();
        let local = path_of(&folder.path().join("new/deep/a.txt"));
        for (given, shown) in [
            (local.clone(), local.clone()),
            (format!("file://{local}"), local.clone()),
            ("memory://round/a.txt".to_owned(), "memory://round/a.txt".to_owned()),
        ] {
            let written = write_to(&given, "é🙂\r\nb\rc\n".into());
            assert_eq!(written, crate::map! { "path" => shown, "success" => true });
            assert_eq!(read_from(&given), crate::map! { "content" => "é🙂\nb\nc\n", "success" => true });
        }
        assert_eq!(std::fs::read(&local).unwrap(), "é🙂\r\nb\rc\n".as_bytes());
    }

    /// actions/FI-11
    #[test]
    fn chunks() {
        let write = |content: Value| {
            let arguments =
                crate::map! { "path" => "memory://chunks", "content" => content, "stream" => true };
            run("file.write", arguments);
            part(&read_from("memory://chunks"), "content")
        };
        assert_eq!(write(Value::list(vec!["a".into(), "b".into()])), "ab");
        assert_eq!(write(crate::map! { "k" => 1, "l" => 2 }), "kl");
        assert_eq!(write("text".into()), "text");
    }

    /// actions/FI-12, actions/FI-13, actions/Q-21: the old content survives every failure
    #[test]
    fn failed_writes() {
        let folder = tempfile::tempdir().unwrap();
        let path = path_of(&folder.path().join("a.txt"));
        std::fs::write(&path, "old").unwrap();
        for (content, given) in [
            (Value::Null, "None"),
            (Value::Int(1), "int"),
            (crate::map! {}, "dict"),
            (Value::Bytes((*b"x").into()), "bytes"),
        ] {
            let error = write_to(&path, content);
            assert_eq!(part(&error, "error"), format!("write() argument must be str, not {given}"));
            assert_eq!(part(&error, "error_type"), "write_error");
        }
        let mixed = Value::list(vec!["new".into(), Value::Int(1)]);
        run("file.write", crate::map! { "path" => path.as_str(), "content" => mixed, "stream" => true });
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        let below = write_to(&format!("{path}/b"), "x".into());
        assert_eq!(part(&below, "error_type"), "write_error");
        let directory = write_to(&path_of(folder.path()), "x".into());
        assert!(part(&directory, "error").contains("Is a directory"), "{directory:?}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file stays");
        assert!(
            failed("file.write", crate::map! { "path" => 1, "content" => "" })
                .starts_with("AttributeError: ")
        );
    }

    #[cfg(unix)]
    #[test]
    fn replaced_files_keep_links_and_modes() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("a"), folder.path().join("l"));
        std::fs::write(&file, "old").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write_to(&path_of(&link), "new".into());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "new");
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(write_to("/dev/null", "x".into()).as_map().unwrap()["success"], Value::Bool(true));
    }

    /// actions/FI-2, actions/FI-22
    #[test]
    fn failed_reads() {
        let folder = tempfile::tempdir().unwrap();
        let missing = path_of(&folder.path().join("none"));
        let bytes = path_of(&folder.path().join("bytes"));
        std::fs::write(&bytes, b"a\xff").unwrap();
        for (path, error, kind) in [
            (missing.as_str(), format!("File not found: {missing}"), "not_found"),
            ("memory://no/such", "File not found: memory://no/such".to_owned(), "not_found"),
            (
                "simplecache::s3://b/k",
                "Backend package not installed for 's3://'. Install with: pip install s3fs".to_owned(),
                "backend_not_installed",
            ),
            ("zzz://b", "Protocol not known: zzz".to_owned(), "filesystem_error"),
            (
                bytes.as_str(),
                "'utf-8' codec can't decode byte 0xff in position 1: invalid start byte".to_owned(),
                "read_error",
            ),
        ] {
            assert_eq!(read_from(path), refused(error, kind), "{path}");
        }
        assert_eq!(part(&read_from(&path_of(folder.path())), "error_type"), "read_error");
        let latin = crate::map! { "path" => bytes, "encoding" => "latin-1" };
        assert_eq!(part(&run("file.read", latin), "content"), "aÿ");
    }
}
