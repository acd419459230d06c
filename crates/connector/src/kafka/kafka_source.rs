//! A Kafka topic as a source: one source partition a Kafka partition, read from offsets that the run keeps itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset as Start, TopicPartitionList};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::decode::Decoder;
use crate::decode::unread::Unread;
use crate::fault::{Fault, SourceError};
use crate::kafka::kafka_record::{self, ANSWER, ask_held};
use crate::kafka::kafka_watch::{self, Records, Seen, Watch};
use crate::kafka::{self, KafkaSettings, KafkaTopic, READING, Reports};
use crate::source::{Offset, Poll, Source};

/// At most so much of each partition is held before it is asked for, and a fetch more. librdkafka's own answer to a
/// full queue is to look again after a second; after 10 ms a reader that outruns the broker does not starve.
const PREFETCH: [(&str, &str); 4] = [
    ("group.id", "rescan"),
    ("queued.min.messages", "20000"),
    ("queued.max.messages.kbytes", "8192"),
    ("fetch.queue.backoff.ms", "10"),
];

/// A chunk ends early where its messages are longer than this together.
const CHUNK_BYTES: usize = 64 << 20;

/// Between two questions whether a topic that is gone is there again.
const PAUSE: Duration = Duration::from_millis(100);

/// Tries, of 3 to 9 s each, to reach any broker again before a run gives up.
const OUTAGE_TRIES: u32 = 6;

/// The messages of one topic, a row each.
pub struct KafkaSource {
    topic: KafkaTopic,
    names: Vec<String>,
    lanes: Vec<Lane>,
    schema: SchemaRef,
    consumer: Arc<BaseConsumer<Reports>>,
    outage: Option<Outage>,
    config: ClientConfig,
    /// Where the topic is followed.
    watch: Option<Watch>,
    /// Makes the decoder of a partition.
    decoder: Box<dyn Fn() -> Result<Decoder> + Send>,
    /// Not yet told.
    warnings: Vec<String>,
    /// What rows have besides the columns.
    unread: Unread,
    follow: bool,
}

/// One partition.
struct Lane {
    partition: i32,
    /// What the topic held when it was opened: the first offset, and the one behind the last.
    held: (u64, u64),
    bounded: bool,
    decoder: Decoder,
    /// `None` until [`Source::seek`].
    queue: Option<PartitionQueue<Reports>>,
    next: u64,
    /// The last message before that, and one that was read of the same topic for certain: an epoch records it, so that a
    /// topic that was made anew in between is named by the next run too.
    record: Option<String>,
    known: Option<String>,
    finished: bool,
}

/// All brokers are gone, and somebody asks for them.
struct Outage {
    tries: u32,
    asked: JoinHandle<Result<i32, SourceError>>,
}

impl KafkaSource {
    /// Opens a topic. Bounded, unless it is to `follow`, by what the topic holds now; messages that come later are
    /// another run's. `decoder` makes one for each partition, and for those that a topic which is followed gets later.
    /// Needs a tokio runtime.
    ///
    /// # Errors
    /// [`SourceError`]: no such topic, no broker answers (after 3 to 9 s), or it refuses us.
    pub async fn open(
        topic: KafkaTopic,
        settings: &KafkaSettings,
        follow: bool,
        decoder: impl Fn() -> Result<Decoder> + Send + 'static,
    ) -> Result<Self> {
        let config = settings.config(&topic, &PREFETCH, &READING);
        let consumer = config.create_with_context(Reports::default());
        let consumer: BaseConsumer<Reports> = consumer.map_err(|e| kafka::no_client(&topic, &e))?;
        let consumer = Arc::new(consumer);
        let (asked, of) = (consumer.clone(), topic.clone());
        let held = spawn_blocking(move || held(&asked, &of)).await??;
        let unread = Unread::default();
        let lane = |(partition, held)| Ok(Lane::new(partition, held, !follow, decoder()?.counting(&unread)));
        let lanes = (0..).zip(held).map(lane).collect::<Result<Vec<_>>>()?;
        let schema = lanes.first().with_context(|| format!("{topic} has no partitions"))?.decoder.schema();
        let names = lanes.iter().map(|lane| format!("{}-{}", topic.name, lane.partition)).collect();
        let watch = follow.then(|| Watch::new(consumer.clone(), config.clone(), topic.clone()));
        let (decoder, outage, warnings) = (Box::new(decoder), None, Vec::new());
        Ok(Self { topic, names, lanes, schema, consumer, outage, config, watch, decoder, warnings, unread, follow })
    }

    /// Lets the client say what happened, and decides whether to go on.
    async fn listen(&mut self) -> Result<()> {
        if let Some(Ok(message)) = self.consumer.poll(Duration::ZERO) {
            bail!("{}: a message of partition {} came astray", self.topic, message.partition());
        }
        let reports = self.consumer.client().context();
        if let Some(refused) = reports.refused() {
            return Err(refused.into());
        }
        let tries = match &mut self.outage {
            None if !reports.take_all_down() => return Ok(()),
            None => 0,
            Some(outage) if !outage.asked.is_finished() => return Ok(()),
            Some(outage) => match (&mut outage.asked).await? {
                Err(error) if outage.tries + 1 >= OUTAGE_TRIES => return Err(error.into()),
                Err(_) => outage.tries + 1,
                Ok(_) => {
                    self.outage = None;
                    return Ok(());
                }
            },
        };
        let (consumer, topic) = (self.consumer.clone(), self.topic.clone());
        let asked = spawn_blocking(move || kafka::partitions(consumer.client(), &topic, || ()));
        self.outage = Some(Outage { tries, asked });
        Ok(())
    }

    /// Looks now and then whether the topic is still the one that was read, and has more partitions, which it begins to
    /// read.
    async fn look(&mut self) -> Result<()> {
        let Some(watch) = &mut self.watch else { return Ok(()) };
        let records = |lane: &Lane| {
            let (known, last) = (lane.known.clone()?, lane.record.clone()?);
            Some((lane.partition, Records { known, last }))
        };
        let compared = self.lanes.iter().filter(|_| watch.compares());
        let records = compared.filter_map(records).collect();
        let Some(Seen { partitions, known }) = watch.look(records).await? else { return Ok(()) };
        for (partition, record) in known {
            if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.partition == partition) {
                lane.known = Some(record);
            }
        }
        for partition in self.lanes.len() as i32..partitions {
            self.begin(partition)?;
        }
        Ok(())
    }

    /// Begins to read a partition that the topic did not have, from its first message.
    fn begin(&mut self, partition: i32) -> Result<()> {
        let mut lane = Lane::new(partition, (0, 0), false, (self.decoder)()?.counting(&self.unread));
        let queue = self.consumer.split_partition_queue(&self.topic.name, partition);
        let name = format!("{}-{partition}", self.topic.name);
        lane.queue = Some(queue.with_context(|| format!("no queue for {name}"))?);
        let mut more = TopicPartitionList::new();
        more.add_partition_offset(&self.topic.name, partition, Start::Beginning)?;
        self.consumer.incremental_assign(&more).with_context(|| format!("read {name}"))?;
        self.warnings.push(format!("{name} is a new partition, and is read from its beginning"));
        self.names.push(name);
        self.lanes.push(lane);
        Ok(())
    }

    /// That these messages are still there.
    async fn compare(&mut self, records: BTreeMap<i32, String>) -> Result<(), SourceError> {
        let (consumer, config, topic) = (self.consumer.clone(), self.config.clone(), self.topic.clone());
        let compared = spawn_blocking(move || kafka_watch::compare(&consumer, &config, &topic, records)).await;
        compared.unwrap_or_else(|e| Err(SourceError::Unavailable(format!("{}: {e}", self.topic))))
    }

    /// Why this partition cannot be read on.
    async fn failed(&mut self, partition: usize, error: &KafkaError) -> anyhow::Error {
        use RDKafkaErrorCode as Code;
        match error.rdkafka_error_code() {
            Some(
                Code::AutoOffsetReset
                | Code::UnknownTopic
                | Code::UnknownTopicId
                | Code::UnknownTopicOrPartition
                | Code::UnknownPartition,
            ) => self.lost(partition).await.into(),
            Some(code) => kafka::sorted(code, &self.topic).into(),
            None => anyhow!("{}: {error}", self.topic),
        }
    }

    /// Why the broker does not know a partition any more, or the next offset of it.
    async fn lost(&mut self, at: usize) -> SourceError {
        let Lane { partition, next, .. } = self.lanes[at];
        let since = Instant::now();
        let held = loop {
            // A topic that is deleted may be about to be made anew.
            match ask_held(&self.consumer, &self.topic, partition) {
                Err(SourceError::Missing(_)) if since.elapsed() < ANSWER => tokio::time::sleep(PAUSE).await,
                held => break held,
            }
        };
        let records = self.lanes.iter().filter_map(|lane| Some((lane.partition, lane.known.clone()?))).collect();
        let in_range = held.and_then(|held| in_range(&self.topic, partition, next, held));
        let lost = match in_range {
            Ok(()) => self.compare(records).await,
            lost => lost,
        };
        lost.err().unwrap_or_else(|| kafka::sorted(RDKafkaErrorCode::OffsetNotAvailable, &self.topic))
    }
}

#[async_trait]
impl Source for KafkaSource {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn partitions(&self) -> &[String] {
        &self.names
    }

    async fn seek(&mut self, offsets: &BTreeMap<String, Offset>) -> Result<()> {
        if let Some(gone) = offsets.keys().find(|name| !self.names.contains(name)) {
            return Err(SourceError::BadData(format!(
                "{} has {} partitions and no {gone}, of which rows were read before: the topic was made anew, so start \
                 anew too, with another --out",
                self.topic,
                self.names.len()
            ))
            .into());
        }
        let record = |(lane, name): (&Lane, &String)| {
            let record = offsets.get(name)?.record.clone()?;
            let there = kafka_record::offset(&record).is_some_and(|at| at < lane.held.1);
            there.then_some((lane.partition, record))
        };
        let records = self.lanes.iter().zip(&self.names).filter_map(record).collect();
        self.compare(records).await?;
        let mut assignment = TopicPartitionList::with_capacity(self.lanes.len());
        for (lane, name) in self.lanes.iter_mut().zip(&self.names) {
            let recorded = offsets.get(name).map(|offset| offset.position);
            if let Some(position) = recorded {
                in_range(&self.topic, lane.partition, position, lane.held)?;
            }
            let start = recorded.map(i64::try_from).transpose()?.map_or(Start::Beginning, Start::Offset);
            assignment.add_partition_offset(&self.topic.name, lane.partition, start)?;
            lane.next = recorded.unwrap_or(lane.held.0);
            lane.record = offsets.get(name).and_then(|offset| offset.record.clone());
            lane.known = lane.record.clone();
            lane.finished = lane.bounded && lane.next >= lane.held.1;
            // Before the assignment: with it the first messages would go to the common queue.
            let queue = self.consumer.split_partition_queue(&self.topic.name, lane.partition);
            lane.queue = Some(queue.with_context(|| format!("no queue for {name}"))?);
        }
        self.consumer.assign(&assignment).with_context(|| format!("read {}", self.topic))
    }

    async fn read(&mut self, partition: usize, rows_max: usize) -> Result<Poll> {
        self.listen().await?;
        self.look().await?;
        let reports = self.consumer.client().context();
        let lane = self.lanes.get_mut(partition).context("no such source partition")?;
        ensure!(lane.queue.is_some(), "{}: seek before the first read", self.topic);
        match lane.fill(rows_max, reports) {
            Ok(()) => lane.poll(&self.topic.name),
            Err(error) => Err(self.failed(partition, &error).await),
        }
    }

    fn warnings(&mut self) -> Vec<String> {
        let mut warnings = std::mem::take(&mut self.warnings);
        if self.follow {
            warnings.extend(self.unread.new_ones(&self.topic.name));
        } else if self.lanes.iter().all(|lane| lane.finished) {
            warnings.extend(self.unread.counted(&self.topic.name));
        }
        warnings
    }
}

impl Lane {
    fn new(partition: i32, held: (u64, u64), bounded: bool, decoder: Decoder) -> Self {
        Self { partition, held, bounded, decoder, queue: None, next: 0, record: None, known: None, finished: false }
    }

    /// Decodes what has come.
    fn fill(&mut self, rows_max: usize, reports: &Reports) -> Result<(), KafkaError> {
        let Self { queue, decoder, held: (_, end), .. } = self;
        let Some(queue) = queue else { return Ok(()) };
        let mut bytes = 0;
        let mut last = None;
        while !self.finished && decoder.read() < rows_max as u64 && bytes < CHUNK_BYTES {
            match queue.poll(Duration::ZERO) {
                None => break,
                Some(Ok(message)) if self.bounded && offset(&message) >= *end => self.finished = true,
                Some(Ok(message)) => {
                    let arrived_at = message.timestamp().to_millis().and_then(|millis| millis.checked_mul(1000));
                    match message.payload() {
                        Some(payload) => decoder.decode(payload, message.offset(), arrived_at),
                        None => decoder.reject(&[], message.offset(), arrived_at, &Fault::tombstone(message.key())),
                    }
                    bytes += message.payload_len();
                    self.next = offset(&message) + 1;
                    self.finished = self.bounded && self.next >= *end;
                    last = Some(message);
                }
                // A replica that is behind has an end of its own, which is not ours yet.
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    let at = reports.take_end().ok_or(KafkaError::PartitionEOF(self.partition))?;
                    self.finished = self.bounded && at >= *end;
                }
                Some(Err(error)) => return Err(error),
            }
        }
        if let Some(message) = last {
            self.record = Some(kafka_record::record(&message));
            if self.bounded || self.known.is_none() {
                self.known = self.record.clone();
            }
        }
        Ok(())
    }

    /// The rows decoded so far, or why there are none.
    fn poll(&mut self, topic: &str) -> Result<Poll> {
        if self.decoder.read() > 0 {
            let record = self.known.clone();
            let next = Offset { position: self.next, row: self.next, record, ..Offset::default() };
            return Ok(Poll::Chunk(self.decoder.finish(topic, self.partition, next)?));
        }
        Ok(if self.finished { Poll::Finished } else { Poll::Waiting })
    }
}

/// Offsets of messages are not negative.
fn offset(message: &BorrowedMessage<'_>) -> u64 {
    message.offset().unsigned_abs()
}

/// What each partition of the topic holds now.
fn held(consumer: &BaseConsumer<Reports>, topic: &KafkaTopic) -> Result<Vec<(u64, u64)>, SourceError> {
    let listen = || while consumer.poll(Duration::from_millis(20)).is_some() {};
    let partitions = kafka::partitions(consumer.client(), topic, listen)?;
    (0..partitions).map(|partition| ask_held(consumer, topic, partition)).collect()
}

fn in_range(topic: &KafkaTopic, partition: i32, next: u64, held: (u64, u64)) -> Result<(), SourceError> {
    let (first, end) = held;
    let why = match next {
        _ if next < first => "rows not read yet were deleted, so keep them longer (retention.ms)",
        _ if next > end => "the topic was made anew, or lost rows",
        _ => return Ok(()),
    };
    Err(SourceError::BadData(format!(
        "{topic} partition {partition}: offset {next} is to be read next, but it holds {first} to {end}: {why}; to go \
         on with what is there, start anew with another --out"
    )))
}
