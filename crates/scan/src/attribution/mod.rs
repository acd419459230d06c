//! Which impressions led to a play, and how much of it is due to each?

pub(crate) mod credit;
pub(crate) mod credits;
pub(crate) mod items;
pub(crate) mod latest;
pub(crate) mod touches;
