//! Schemas: checks of input data, shapes of output, JSON Schema.

pub mod input;
pub mod json_schema;
pub mod merge;
pub mod number;
pub mod output;
pub mod pattern;
