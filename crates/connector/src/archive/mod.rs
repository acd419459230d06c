//! What is in hours of Parquet, here or in a bucket? Which hours there are, their rows, and whether they are those that were
//! sealed.

pub(crate) mod filed;
pub(crate) mod layout;
pub(crate) mod location;
pub(crate) mod objects;
pub(crate) mod partitions;
pub(crate) mod table;
pub(crate) mod union;
pub(crate) mod verified;
pub(crate) mod verify;
pub(crate) mod whole;
