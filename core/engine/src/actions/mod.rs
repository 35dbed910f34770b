//! Actions: the named functions that nodes of an agent use (`uses: json.parse`).
//!
//! The [`Registry`] maps names to the actions that the engine does itself. An action gets its arguments rendered,
//! by name, and answers with a value; what it needs beyond that it asks of the [`Surroundings`].

mod call;
mod ratelimit;
mod registry;
mod store;

pub use call::{ActionCall, Alone, NodeWork, Surroundings, failure};
pub use ratelimit::{Limiter, Limiters};
pub use registry::{CoreAction, Registry};
pub use store::{Entry, KeyValueStore, MemoryKeyValueStore, StoreError};
