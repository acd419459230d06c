//! Event time: the type that it has in tables, and the hours that it is cut into.
//!
//! Not here: the wall clock.

mod hour;

use arrow::datatypes::{DataType, TimeUnit};
pub use hour::{HOUR_US, Hour};

/// Event time in tables: microseconds since 1970, UTC.
pub const TIME: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);
