//! The engine of libtea.
//!
//! In reading order:
//! - [`value`]: what states are made of;
//! - [`host`]: what the engine asks of the program that embeds it;
//! - [`state`]: where the state of a run lives;
//! - [`graph`]: nodes, edges, settings;
//! - [`run`]: the step machine that a host pulls;
//! - [`checkpoint`]: what is kept of a run at an interrupt;
//! - [`yaml`]: how agent files are read.
//! - [`template`]: templates and conditions of agents.
//! - [`actions`]: what nodes of agents can use by name.
//! - [`schema`]: checks of a run's input, shapes of its output.
//! - [`agent`]: agent files compiled to graphs.
#![forbid(unsafe_code)]

pub mod actions;
pub mod agent;
pub mod checkpoint;
pub mod graph;
pub mod host;
pub mod lua;
pub mod run;
pub mod schema;
pub mod state;
pub mod template;
pub mod value;
pub mod yaml;
