//! How are lattices made of rows? Aggregates of SQL, many groups at a time.

pub(crate) mod functions;
pub(crate) mod grouped;
pub(crate) mod one_group;
pub(crate) mod parts;
pub(crate) mod repeated;
