//! The step machine with core-resident state, driven as a host drives it.
//!
//! `bench` is the host, `live` one that holds the states itself; `flow`, `resume`, `branches`, `answers` are the rules; `model` compares random graphs with an
//! independent reading of SG-107 and SG-108.

mod answers;
mod bench;
mod branches;
mod flow;
mod live;
mod model;
mod resume;
