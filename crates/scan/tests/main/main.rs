//! f itself: the laws for every script, and the contract that scripts keep.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "the laws are about steps")]

mod attribution;
mod facts;
mod laws;
mod many_groups;
mod refusals;
mod short;
mod skewed;
mod sorted;
