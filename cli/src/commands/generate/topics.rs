//! Made-up rows as Kafka messages, keyed by request id.

use anyhow::{Result, ensure};
use connector::{KafkaMessage, KafkaSettings, KafkaTopic, KafkaTopicWriter};
use generator::{Event, Sink, Topic};

/// Where made-up rows go when they go to Kafka: topics `impressions` and `plays` of one cluster.
pub(crate) struct Topics {
    writers: Vec<KafkaTopicWriter>,
    row: Vec<u8>,
}

impl Topics {
    /// Opens both topics; one that is not there gets so many partitions.
    pub(crate) async fn open(brokers: &str, settings: &KafkaSettings, partitions: i32) -> Result<Self> {
        let mut writers = vec![];
        for topic in Topic::ALL {
            let topic = KafkaTopic::parse(&format!("kafka://{brokers}/{}", topic.name()))?;
            writers.push(KafkaTopicWriter::open(topic, settings, partitions).await?);
        }
        Ok(Self { writers, row: vec![] })
    }

    /// How many partitions each topic has.
    pub(crate) fn partitions(&self) -> Result<u32> {
        let partitions: Vec<_> = self.writers.iter().map(KafkaTopicWriter::partitions).collect();
        ensure!(partitions[0] == partitions[1], "topics impressions and plays differ in partitions: {partitions:?}");
        Ok(u32::try_from(partitions[0])?)
    }

    /// Waits until all messages have arrived.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.writers.iter_mut().try_for_each(|writer| writer.flush().map(|_| ()))
    }

    fn send(&mut self, beside: &Event, partition: u32, payload: &[u8]) -> Result<()> {
        let key = beside.key();
        let (partition, key, payload) = (Some(i32::try_from(partition)?), Some(&key[..]), Some(payload));
        self.writers[beside.topic() as usize].send(KafkaMessage { partition, key, payload, timestamp: None })
    }
}

impl Sink for Topics {
    fn row(&mut self, event: &Event, partition: u32) -> Result<()> {
        let mut row = std::mem::take(&mut self.row);
        row.clear();
        event.write_json(&mut row);
        self.send(event, partition, &row)?;
        self.row = row;
        Ok(())
    }

    fn malformed(&mut self, beside: &Event, partition: u32, line: &[u8]) -> Result<()> {
        self.send(beside, partition, line)
    }
}
