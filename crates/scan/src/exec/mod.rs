//! How does a plan run? What the engine does not have: leaves that a step fills, and joins that look state up.

pub(crate) mod gather;
pub(crate) mod group_join;
pub(crate) mod lookup;
pub(crate) mod node;
pub(crate) mod pairs;
pub(crate) mod reading;
pub(crate) mod slot;
pub(crate) mod spool;
