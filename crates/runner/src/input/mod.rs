//! How do rows come to f? Source partitions are read in the order of event time, each by its own clock; late rows and those
//! from the future are taken out.

pub(crate) mod gate;
pub(crate) mod history;
pub(crate) mod idle;
pub(crate) mod intake;
pub(crate) mod lane;
pub(crate) mod lateness;
pub(crate) mod offsets;
pub(crate) mod region;
pub(crate) mod shelves;
pub(crate) mod side;
