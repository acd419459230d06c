//! Where rows come from and go to.

mod archive;
mod decode;
mod failure;
mod fault;
mod files;
mod kafka;
mod position;
mod replay;
mod schema;
mod source;

pub use archive::filed::{Misfiled, Refiled, Times, by_event_time, refuse_misfiled, times};
pub use archive::layout::{OWN, SUCCESS};
pub use archive::location::Location;
pub use archive::partitions::{
    DataFile, HourFiles, Listed, SealedFile, Success, hours_there, is_partitioned, list, listed,
};
pub use archive::table::{count_rows, culprit, read, scan, schema_of};
pub use archive::union::widened;
pub use archive::verified::Verified;
pub use archive::verify::verify;
pub use archive::whole::Whole;
pub use decode::text_format::TextFormat;
pub use decode::time::{Unit, Written};
pub use decode::{Decoder, ROW_BYTES_MAX};
pub use event_time::{HOUR_US, Hour, TIME};
pub use failure::{failed, sorted};
pub use fault::{Fault, SourceError, TOMBSTONE};
pub use files::input::{FileFormat, overlaps};
pub use files::known::mark::FileMark;
pub use files::sample::{Sample, inferred};
pub use files::{FileOptions, FileSource};
pub use kafka::kafka_source::KafkaSource;
pub use kafka::kafka_writer::{KafkaMessage, KafkaTopicWriter};
pub use kafka::{KafkaSettings, KafkaTopic};
pub use replay::ReplaySource;
pub use schema::{builtin, parse as parse_schema, print as print_schema};
pub use source::{Chunk, Offset, Poll, Rejected, Source, position_fields};
