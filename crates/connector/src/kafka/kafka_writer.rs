//! Writes messages to a Kafka topic, each once and in order within its partition, and knows that they arrived.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use tokio::task::spawn_blocking;

use crate::fault::SourceError;
use crate::kafka::{self, KafkaSettings, KafkaTopic, Reports, WRITING};

/// Java's choice of partition, so that a key goes where other producers put it; a minute's worth of memory at most.
const DEFAULTS: [(&str, &str); 5] = [
    ("linger.ms", "5"),
    ("message.timeout.ms", "30000"),
    ("partitioner", "murmur2_random"),
    ("queue.buffering.max.kbytes", "65536"),
    ("queue.buffering.max.messages", "200000"),
];

/// How many messages are sent between two looks at the delivery reports.
const REPORTS_EVERY: u64 = 1024;

/// One message to write.
#[derive(Clone, Copy, Debug, Default)]
pub struct KafkaMessage<'a> {
    /// Where to; the hash of the key decides where `None`, and chance where there is no key either.
    pub partition: Option<i32>,
    /// Messages of one key stay in order.
    pub key: Option<&'a [u8]>,
    /// `None` is a tombstone.
    pub payload: Option<&'a [u8]>,
    /// Milliseconds UTC, after 1970; the time of sending where `None`.
    pub timestamp: Option<i64>,
}

/// A topic open for writing.
pub struct KafkaTopicWriter {
    topic: KafkaTopic,
    producer: BaseProducer<Reports>,
    partitions: i32,
    sent: u64,
}

impl KafkaTopicWriter {
    /// Opens a topic; where there is none, creates it with so many `partitions`, copied as often as the brokers copy by
    /// default. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`SourceError`]: no broker answers, or it refuses us.
    pub async fn open(topic: KafkaTopic, settings: &KafkaSettings, partitions: i32) -> Result<Self> {
        let config = settings.config(&topic, &DEFAULTS, &WRITING);
        let producer = config.create_with_context(Reports::default());
        let producer: BaseProducer<Reports> = producer.map_err(|e| kafka::no_client(&topic, &e))?;
        let of = topic.clone();
        let (producer, found) = spawn_blocking(move || {
            let found = kafka::partitions(producer.client(), &of, || producer.poll(Duration::from_millis(20)));
            (producer, found)
        })
        .await?;
        let partitions = match found {
            Ok(found) => found,
            Err(SourceError::Missing(_)) => {
                create(&config, &topic, partitions).await?;
                partitions
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self { topic, producer, partitions, sent: 0 })
    }

    /// How many partitions the topic has.
    pub fn partitions(&self) -> i32 {
        self.partitions
    }

    /// Sends a message; that it arrived is known after [`KafkaTopicWriter::flush`]. Blocks while 64 MiB are under way.
    ///
    /// # Errors
    /// [`SourceError`], of this message or an earlier one. What was sent since the last flush may have arrived or not.
    pub fn send(&mut self, message: KafkaMessage<'_>) -> Result<()> {
        let KafkaMessage { partition, key, payload, timestamp } = message;
        let topic = &self.topic.name;
        let mut record = BaseRecord { topic, partition, key, payload, timestamp, headers: None, delivery_opaque: () };
        loop {
            match self.producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                    record = again;
                    self.listen(Duration::from_millis(1))?;
                }
                Err((error, _)) => return Err(self.failed(&error)),
            }
        }
        self.sent += 1;
        if self.sent.is_multiple_of(REPORTS_EVERY) { self.listen(Duration::ZERO) } else { Ok(()) }
    }

    /// Waits until every message sent has arrived; gives how many since [`KafkaTopicWriter::open`].
    ///
    /// # Errors
    /// [`SourceError`]: a message did not arrive within `message.timeout.ms`, or the broker does not take it.
    pub fn flush(&mut self) -> Result<u64> {
        while self.producer.in_flight_count() > 0 {
            self.listen(Duration::from_millis(1))?;
        }
        self.listen(Duration::ZERO)?;
        let arrived = self.producer.client().context().arrived();
        if arrived != self.sent {
            let lost = self.sent - arrived;
            return Err(anyhow!("{}: {lost} messages without a report: send them again", self.topic));
        }
        Ok(arrived)
    }

    fn listen(&self, wait: Duration) -> Result<()> {
        self.producer.poll(wait);
        let reports = self.producer.client().context();
        match (reports.refused(), reports.undelivered()) {
            (Some(refused), _) => Err(refused.into()),
            (None, Some(error)) => Err(self.failed(&error)),
            (None, None) => Ok(()),
        }
    }

    fn failed(&self, error: &KafkaError) -> anyhow::Error {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        anyhow::Error::new(kafka::sorted(code, &self.topic)).context(format!("write to {}", self.topic))
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        self.delivered(result.as_ref().map(|_| ()).map_err(|(error, _)| error.clone()));
    }
}

/// Somebody else may create it at the same time.
async fn create(config: &ClientConfig, topic: &KafkaTopic, partitions: i32) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let what = || format!("create {topic} with {partitions} partitions");
    let admin = config.create_with_context(Reports::default());
    let admin: AdminClient<Reports> = admin.map_err(|e| kafka::no_client(topic, &e)).with_context(what)?;
    let new = NewTopic::new(&topic.name, partitions, TopicReplication::Fixed(-1));
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE));
    let created = admin.create_topics(&[new], &options).await;
    let created = created.map_err(|error| error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail));
    for topic_created in created.map_err(|code| kafka::sorted(code, topic)).with_context(what)? {
        match topic_created {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, code)) => return Err(anyhow::Error::new(kafka::sorted(code, topic)).context(what())),
        }
    }
    Ok(())
}
