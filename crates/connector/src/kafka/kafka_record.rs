//! The last message that was read of a Kafka partition, by which a later run knows the topic again: one that was deleted
//! and made anew has other messages at the same offsets. (rdkafka does not hand out the topic's own id.)

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset as Start, TopicPartitionList};

use crate::fault::SourceError;
use crate::files::known::sum::RowSum;
use crate::kafka::{self, KafkaTopic, Reports};

/// How long a broker may take to hand out one message of each partition.
const MESSAGES: Duration = Duration::from_secs(30);

/// A request about one partition, before the broker counts as gone.
pub(crate) const ANSWER: Duration = Duration::from_secs(10);

/// As few messages as can be had are asked for: one of each partition is compared.
const ONE_MESSAGE: [(&str, &str); 2] = [("queued.min.messages", "1"), ("fetch.message.max.bytes", "1")];

/// A message by its offset and a hash of its key, value and time: `41:5f…`.
pub(crate) fn record(message: &BorrowedMessage<'_>) -> String {
    let mut sum = RowSum::default();
    for part in [message.key(), message.payload()] {
        sum.add(if part.is_some() { b"+" } else { b"-" });
        sum.add(part.unwrap_or_default());
    }
    sum.add(&message.timestamp().to_millis().unwrap_or(-1).to_le_bytes());
    format!("{}:{:032x}", message.offset(), sum.0)
}

/// The offset of a record.
pub(crate) fn offset(record: &str) -> Option<u64> {
    record.split_once(':')?.0.parse().ok()
}

/// The first offset that a partition holds now, and the one behind its last. Blocks.
///
/// # Errors
/// [`SourceError`]: no such topic or partition, or no answer.
pub(crate) fn ask_held(
    consumer: &BaseConsumer<Reports>,
    topic: &KafkaTopic,
    partition: i32,
) -> Result<(u64, u64), SourceError> {
    match consumer.fetch_watermarks(&topic.name, partition, ANSWER) {
        Ok((first, end)) => Ok((first.unsigned_abs(), end.unsigned_abs())),
        Err(error) => Err(kafka::sorted(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail), topic)),
    }
}

/// Compares the records of partitions with what stands at their offsets now. Blocks.
///
/// # Errors
/// [`SourceError::BadData`]: another message is there, or none. [`SourceError::Unavailable`]: no answer.
pub(crate) fn compare(
    config: &ClientConfig,
    topic: &KafkaTopic,
    records: &BTreeMap<i32, String>,
) -> Result<(), SourceError> {
    let failed = |e: KafkaError| SourceError::Unavailable(format!("{topic}: {e}"));
    let mut starts = TopicPartitionList::new();
    for (partition, record) in records {
        let start = offset(record).and_then(|offset| i64::try_from(offset).ok()).unwrap_or_default();
        starts.add_partition_offset(&topic.name, *partition, Start::Offset(start)).map_err(failed)?;
    }
    let mut config = config.clone();
    ONE_MESSAGE.iter().for_each(|(key, value)| _ = config.set(*key, *value));
    let consumer: BaseConsumer<Reports> = config.create_with_context(Reports::default()).map_err(failed)?;
    consumer.assign(&starts).map_err(failed)?;
    let (begun, mut left) = (Instant::now(), records.clone());
    while !left.is_empty() {
        let (partition, found) = match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => (message.partition(), Some(record(&message))),
            Some(Err(KafkaError::PartitionEOF(partition))) => (partition, None),
            Some(Err(e)) => return Err(failed(e)),
            None if begun.elapsed() < MESSAGES => continue,
            None => return Err(SourceError::Unavailable(format!("{topic}: no message within {MESSAGES:?}"))),
        };
        // More messages of a partition come before the others have answered.
        // Compaction takes messages out, and leaves later ones: only another message at the same place is another topic's.
        if let Some(expected) = left.remove(&partition)
            && found.as_ref() != Some(&expected)
            && found.as_deref().and_then(offset) <= offset(&expected)
        {
            return Err(other(topic, partition, &expected, found.as_deref()));
        }
    }
    Ok(())
}

fn other(topic: &KafkaTopic, partition: i32, expected: &str, found: Option<&str>) -> SourceError {
    let at = offset(expected).unwrap_or_default();
    let what = match found.and_then(offset) {
        Some(found) if found == at => "holds another message there now",
        _ => "has no message there any more",
    };
    SourceError::BadData(format!(
        "{topic} partition {partition} was read up to offset {at}, and {what}: the topic was made anew, or compacted. What \
         was read is not lost; to go on with what is there, start anew with another --out"
    ))
}
