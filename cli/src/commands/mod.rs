//! Which commands are there? A file each: its words, and what they mean.

pub mod aggregate;
pub mod attribute;
pub mod generate;
pub mod ingest;
pub mod inspect;
pub mod join;
pub mod merge;
pub mod reconcile;
pub mod run;
pub mod sql;
pub mod stratify;
