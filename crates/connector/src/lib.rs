//! Where rows come from and go to.

mod csv;
mod decode;
mod failure;
mod fault;
mod hour;
mod json;
mod location;
mod partitions;
mod row;
mod source;
mod table;
mod time;
mod union;

pub use decode::{Decoder, ROW_BYTES_MAX, TextFormat};
pub use failure::failed;
pub use fault::{Fault, SourceError};
pub use hour::Hour;
pub use location::Location;
pub use partitions::{DataFile, HourFiles, SUCCESS, SealedFile, Success, is_partitioned, list};
pub use source::{Chunk, Offset, Poll, Rejected, Source, TIME, position_fields};
pub use table::{read, scan};
pub use union::{union, widened};
