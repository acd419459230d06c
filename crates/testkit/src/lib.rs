//! What tests of several crates share: the scripts and golden folders by listing, random events, and real servers.
//!
//! A new `sql/NAME.sql` and a new `testdata/NAME/BEHAVIOUR` are found by themselves, by the laws and by the golden runs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

pub mod broker;
pub mod events;
pub mod s3;
pub mod scripts;

include!(concat!(env!("OUT_DIR"), "/golden_folders.rs"));
