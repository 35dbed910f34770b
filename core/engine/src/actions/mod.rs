//! Actions: the named functions that nodes of an agent use (`uses: json.parse`).
//!
//! The [`Registry`] maps names to the actions that the engine does itself. An action gets its arguments rendered,
//! by name, and answers with a value; what it needs beyond that it asks of the [`Surroundings`].

mod basic;
mod cache;
mod call;
mod checkpoint;
mod clock;
mod csv;
mod data;
mod errors;
mod extraction;
pub mod files;
pub mod json;
mod markdown;
mod memory;
mod nested;
pub mod order;
mod ratelimit;
mod registry;
mod retry;
mod schema_merge;
mod secrets;
mod session;
mod store;
#[cfg(test)]
mod testing;
mod validate;

pub use call::{ActionCall, Alone, NodeWork, Surroundings, failure};
pub use memory::Memory;
pub use ratelimit::{Limiter, Limiters};
pub use registry::{CoreAction, Registry};
pub use session::Sessions;
pub use store::{Entry, KeyValueStore, MemoryKeyValueStore, StoreError};

use crate::value::Value;

/// The result of an action that could not do its work: `success`, `error`, `error_type`.
fn refused(error: impl Into<String>, error_type: &str) -> Value {
    crate::map! { "success" => false, "error" => error.into(), "error_type" => error_type }
}
