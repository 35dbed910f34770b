//! The portable checkpoint format, for hosts that store checkpoints themselves.

use std::sync::Arc;

use tea_core::checkpoint::{Checkpoint, CheckpointError};
use tea_core::host::When;
use tea_core::value::{Map, Value};

use crate::error::{Failed, tea_error};
use crate::guard::guarded;
use crate::status::tea_status::{self, *};
use crate::text::{tea_buffer, tea_str};

/// The document of a checkpoint in the engine's JSON format. `checkpoint` is a JSON map of `node`, `state`,
/// `config`, `timestamp` (seconds since 1970) and perhaps `interrupt` ("before" or "after").
///
/// # Safety
/// `checkpoint` is valid text, `out` a buffer, `err` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_checkpoint_encode(
    checkpoint: tea_str,
    out: *mut tea_buffer,
    err: *mut *mut tea_error,
) -> tea_status {
    // SAFETY: the caller's promise.
    let body = || unsafe {
        let Value::Map(mut map) = Value::from_json(checkpoint.bytes("checkpoint")?)? else {
            return Err(Failed::new(TEA_ERR_JSON, "a checkpoint is a JSON map"));
        };
        Arc::make_mut(&mut map).insert("version".into(), tea_core::checkpoint::VERSION.into());
        let checkpoint = Checkpoint::from_value(&Value::Map(map), "(new)")?;
        tea_buffer::put(out, checkpoint.to_json(|value| value.type_name().to_owned())?)?;
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

/// Checks a document in the engine's JSON format and hands it out as a JSON map of `state`, `node`, `config`,
/// `timestamp`, `version` and, if known, `interrupt`. The error says only what is wrong, not where: the caller
/// knows the file.
///
/// # Safety
/// The texts are valid, `out` is a buffer, `err` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_checkpoint_decode(
    json: tea_str,
    out: *mut tea_buffer,
    err: *mut *mut tea_error,
) -> tea_status {
    // SAFETY: the caller's promise.
    let body = || unsafe {
        let checkpoint = Checkpoint::from_json(json.bytes("json")?, "").map_err(|error| match error {
            CheckpointError::Corrupt { reason, .. } => Failed::new(TEA_ERR_CORRUPT, reason),
            other => other.into(),
        })?;
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
