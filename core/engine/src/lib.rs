//! The engine of libtea.
//!
//! In reading order:
//! - [`value`]: what states are made of;
//! - [`host`]: what the engine asks of the program that embeds it;
//! - [`template`]: templates and conditions of agents.
#![forbid(unsafe_code)]

pub mod host;
pub mod template;
pub mod value;
