//! Schemas: checks of input data, JSON Schema, and what both need: Python's numbers and regular expressions.

pub mod extraction;
pub mod input;
pub mod json_schema;
pub mod number;
pub mod pattern;
