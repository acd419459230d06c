//! How do rows become sealed hours? They are gathered by hour, sorted, and written with a `_SUCCESS` that says what made
//! them.

pub(crate) mod by_hour;
pub(crate) mod dictionary;
pub(crate) mod files;
pub(crate) mod gaps;
pub(crate) mod hours;
pub(crate) mod layout;
pub(crate) mod made;
pub(crate) mod pieces;
pub(crate) mod sample;
pub(crate) mod seal;
pub(crate) mod sealed_to;
