//! Quotas against what they must be: by hand, by trying everything, and by another solver.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod conflicts;
mod golden;
mod instances;
mod oracle;
mod random;
mod scale;
