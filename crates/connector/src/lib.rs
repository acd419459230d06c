//! Where rows come from and go to.

mod csv;
mod decode;
mod fault;
mod json;
mod row;
mod source;
mod time;

pub use decode::{Decoder, ROW_BYTES_MAX, TextFormat};
pub use fault::{Fault, SourceError};
pub use source::{Chunk, Offset, Poll, Rejected, Source, TIME, position_fields};
