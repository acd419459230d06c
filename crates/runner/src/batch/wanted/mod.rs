//! Which hours are to be made, and of what? Those of the range that are not up to date and have their input in full.

pub(crate) mod complete;
pub(crate) mod current;
pub(crate) mod depends;
pub(crate) mod filed;
pub(crate) mod listed;
pub(crate) mod merged_hours;
pub(crate) mod range;
pub(crate) mod spans;
