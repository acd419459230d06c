//! Which rows are in a sample? Units get hashes, cells keep the least of them, and rules say how many of each.

pub(crate) mod edge;
pub(crate) mod sample;
pub(crate) mod unit;
