//! Where rows come from and go to.

mod source;

pub use source::{Chunk, Offset, Poll, Rejected, Source, TIME, position_fields};
