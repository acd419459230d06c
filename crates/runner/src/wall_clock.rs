//! The only clock: when a row arrived, where its source does not say, when a side input was loaded, and names that differ
//! between runs. It is recorded, and no result depends on it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Now, microseconds since 1970, UTC.
pub(crate) fn now_us() -> i64 {
    now().as_micros() as i64
}

/// The same in nanoseconds.
pub(crate) fn now_ns() -> u128 {
    now().as_nanos()
}

#[expect(clippy::disallowed_methods, reason = "what it says is recorded, and no result depends on it")]
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
