//! Tests of the agent compiler.
