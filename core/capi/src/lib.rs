//! The C ABI of libtea: opaque handles, JSON text, status codes. Every `unsafe` of the project is here.
//!
//! One file per section of the header, in its order:
//! - `status`, `text`, `error`: what every function shares;
//! - `library`: version and shutdown;
//! - `host`: the table of a host with live objects;
//! - `engine`, `graph`: building;
//! - `item`: its items and answers;
//! - `cursor`: the step machine that a host pulls;
//! - `call`, `run`: the ready-made driver that calls function pointers;
//! - `checkpoint`: the portable format;
//! - `agent`: agents in YAML, templates and conditions.
#![deny(unsafe_op_in_unsafe_fn)]

mod agent;
mod call;
mod checkpoint;
mod cursor;
mod engine;
mod error;
mod graph;
mod guard;
mod host;
mod item;
mod library;
mod run;
mod status;
mod text;

pub use agent::*;
pub use call::*;
pub use checkpoint::*;
pub use cursor::*;
pub use engine::*;
pub use error::*;
pub use graph::*;
pub use host::*;
pub use item::*;
pub use library::*;
pub use run::*;
pub use status::*;
pub use text::*;
