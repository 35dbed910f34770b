//! The engine of libtea.
//!
//! In reading order:
//! - [`value`]: what states are made of;
//! - [`host`]: what the engine asks of the program that embeds it;
//! - [`yaml`]: how agent files are read.
#![forbid(unsafe_code)]

pub mod host;
pub mod value;
pub mod yaml;
