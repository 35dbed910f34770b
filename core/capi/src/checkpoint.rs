//! The portable checkpoint format, for hosts that store checkpoints themselves.

use std::path::Path;
use std::sync::Arc;

use tea_core::checkpoint::{Checkpoint, write_file};
use tea_core::host::When;
use tea_core::value::{Map, Value};

use crate::error::{Failed, tea_error};
use crate::guard::guarded;
use crate::status::tea_status::{self, *};
use crate::text::{tea_buffer, tea_str};

/// Writes a checkpoint in the engine's JSON format to a new file of a folder, which is created if need be; the
/// file is complete or absent. `checkpoint` is a JSON map of `node`, `state`, `config`, `timestamp` (seconds
/// since 1970) and perhaps `interrupt`. `path` receives the path.
///
/// # Safety
/// The texts are valid, `path` is a buffer, `err` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_checkpoint_write(
    directory: tea_str,
    checkpoint: tea_str,
    path: *mut tea_buffer,
    err: *mut *mut tea_error,
) -> tea_status {
    // SAFETY: the caller's promise.
    let body = || unsafe {
        let (directory, json) = (directory.text("directory")?, checkpoint.bytes("checkpoint")?);
        let Value::Map(mut map) = Value::from_json(json)? else {
            return Err(Failed::new(TEA_ERR_JSON, "a checkpoint is a JSON map"));
        };
        Arc::make_mut(&mut map).insert("version".into(), tea_core::checkpoint::VERSION.into());
        // Reading it back checks the shape before anything is written.
        let checkpoint = Checkpoint::from_json(Value::Map(map).to_json().as_bytes(), directory)?;
        tea_buffer::check(path)?;
        let json = checkpoint.to_json(|value| value.type_name().to_owned())?;
        let written = write_file(Path::new(directory), &checkpoint.node, &json)?;
        tea_buffer::put(path, written.display().to_string())?;
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

/// Checks a document in the engine's JSON format and hands it out as a JSON map of `state`, `node`, `config`,
/// `timestamp`, `version` and, if known, `interrupt`. `path` is for the error.
///
/// # Safety
/// The texts are valid, `out` is a buffer, `err` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_checkpoint_read(
    json: tea_str,
    path: tea_str,
    out: *mut tea_buffer,
    err: *mut *mut tea_error,
) -> tea_status {
    // SAFETY: the caller's promise.
    let body = || unsafe {
        let checkpoint = Checkpoint::from_json(json.bytes("json")?, path.text("path")?)?;
        let mut map = Map::new();
        map.insert("state".into(), Value::map(checkpoint.state));
        map.insert("node".into(), checkpoint.node.into());
        map.insert("config".into(), Value::map(checkpoint.config));
        map.insert("timestamp".into(), Value::Float(checkpoint.timestamp));
        map.insert("version".into(), tea_core::checkpoint::VERSION.into());
        if let Some(when) = checkpoint.interrupt {
            let when = if when == When::Before { "before" } else { "after" };
            map.insert("interrupt".into(), when.into());
        }
        tea_buffer::put(out, Value::map(map).to_json())?;
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}
