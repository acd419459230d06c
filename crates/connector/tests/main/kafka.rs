//! `KafkaSource` and `KafkaTopicWriter` against a real broker.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimestampMicrosecondType};
use connector::{
    Chunk, Decoder, KafkaMessage, KafkaSettings, KafkaSource, KafkaTopic, KafkaTopicWriter, Offset, Poll, Source,
    SourceError, TIME, TextFormat,
};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::util::Timeout;
use rdkafka::{Offset as Upto, TopicPartitionList};

use testkit::broker::new_topic;

/// Between two looks at what the broker's own threads and ours do.
pub const POLLING: Duration = Duration::from_millis(2);

pub type Offsets = BTreeMap<String, Offset>;

/// One topic of a test.
pub struct Topic {
    pub topic: KafkaTopic,
    pub writer: KafkaTopicWriter,
}

impl Topic {
    /// `None` where there is no broker.
    pub async fn new(partitions: i32) -> Option<Self> {
        let topic = KafkaTopic::parse(&new_topic()?).unwrap();
        let writer = KafkaTopicWriter::open(topic.clone(), &KafkaSettings::default(), partitions).await.unwrap();
        Some(Self { topic, writer })
    }

    fn send(&mut self, partition: i32, payload: Option<&[u8]>) {
        let message =
            KafkaMessage { partition: Some(partition), payload, timestamp: Some(1_700), ..Default::default() };
        self.writer.send(message).unwrap();
    }

    /// Writes events with these ids and waits for them.
    pub fn write(&mut self, partition: i32, ids: impl IntoIterator<Item = usize>) {
        for id in ids {
            self.send(partition, Some(event(id).as_bytes()));
        }
        self.writer.flush().unwrap();
    }

    pub async fn open(&self, follow: bool) -> anyhow::Result<KafkaSource> {
        open(&self.topic, follow).await
    }

    pub fn name(&self, partition: i32) -> String {
        format!("{}-{partition}", self.topic.name)
    }

    pub fn offsets(&self, offsets: &[(i32, u64)]) -> Offsets {
        let offset = |position| Offset { position, row: position, ..Offset::default() };
        offsets.iter().map(|&(partition, position)| (self.name(partition), offset(position))).collect()
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.topic.brokers);
        config
    }

    pub fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config().create().unwrap()
    }

    /// Lets the broker forget what stands before `offset`, as retention does.
    pub async fn forget(&self, partition: i32, offset: i64) {
        let mut upto = TopicPartitionList::new();
        upto.add_partition_offset(&self.topic.name, partition, Upto::Offset(offset)).unwrap();
        self.admin().delete_records(&upto, &AdminOptions::new()).await.unwrap();
    }

    /// Another topic in its place, under the same name and with as many partitions.
    pub async fn anew(self) -> Self {
        let Self { topic, writer } = &self;
        let options = AdminOptions::new();
        self.admin().delete_topics(&[&topic.name], &options).await.unwrap();
        let new = NewTopic::new(&topic.name, writer.partitions(), TopicReplication::Fixed(1));
        // The broker may still be at deleting it.
        while self.admin().create_topics([&new], &options).await.unwrap()[0].is_err() {
            tokio::time::sleep(POLLING).await;
        }
        let writer = KafkaTopicWriter::open(topic.clone(), &KafkaSettings::default(), 1).await.unwrap();
        Self { topic: self.topic, writer }
    }

    /// A transaction of these ids, begun and sent but not yet ended.
    fn transaction(&self, id: &str, ids: impl IntoIterator<Item = usize>) -> BaseProducer {
        let id = format!("{}-{id}", self.topic.name);
        let producer: BaseProducer = self.config().set("transactional.id", id).create().unwrap();
        producer.init_transactions(Timeout::Never).unwrap();
        producer.begin_transaction().unwrap();
        for id in ids {
            let payload = event(id);
            let record = BaseRecord::<(), _>::to(&self.topic.name).partition(0).payload(&payload);
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(Timeout::Never).unwrap();
        producer
    }
}

pub fn event(id: usize) -> String {
    format!(r#"{{"event_id": {id}, "ts": {id}}}"#)
}

async fn open(topic: &KafkaTopic, follow: bool) -> anyhow::Result<KafkaSource> {
    let schema = Schema::new(vec![Field::new("event_id", DataType::Int64, false), Field::new("ts", TIME, false)]);
    let decoder = move || Decoder::new(TextFormat::Json, &schema, "ts");
    KafkaSource::open(topic.clone(), &KafkaSettings::default(), follow, decoder).await
}

pub fn ids(rows: &RecordBatch) -> Vec<usize> {
    rows["event_id"].as_primitive::<Int64Type>().values().iter().map(|&id| id as usize).collect()
}

/// The next that a partition has to say which is not `Waiting`.
async fn next(source: &mut KafkaSource, partition: usize, rows_max: usize) -> Poll {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        match source.read(partition, rows_max).await.unwrap() {
            Poll::Waiting => tokio::time::sleep(POLLING).await,
            poll => return poll,
        }
    }
    panic!("partition {partition} has nothing to say")
}

/// The next `rows` rows of a partition, in however many chunks they come.
pub async fn gather(source: &mut KafkaSource, partition: usize, rows: u64) -> Chunk {
    let mut all: Option<Chunk> = None;
    while all.as_ref().map_or(0, |all| all.read) < rows {
        let left = rows - all.as_ref().map_or(0, |all| all.read);
        let Poll::Chunk(mut chunk) = next(source, partition, left as usize).await else {
            panic!("{left} rows too few")
        };
        if let Some(all) = all {
            chunk.rows = concat_batches(&source.schema(), [&all.rows, &chunk.rows]).unwrap();
            chunk.rejected.splice(0..0, all.rejected);
            chunk.read += all.read;
        }
        all = Some(chunk);
    }
    all.unwrap()
}

/// All that a bounded source has, by partition.
async fn drain(source: &mut KafkaSource, rows_max: usize) -> Vec<Vec<usize>> {
    let mut all = vec![];
    for partition in 0..source.partitions().len() {
        let mut rows = vec![];
        while let Poll::Chunk(chunk) = next(source, partition, rows_max).await {
            assert!((1..=rows_max as u64).contains(&chunk.read));
            assert_eq!(chunk.read, (chunk.rows.num_rows() + chunk.rejected.len()) as u64);
            rows.extend(ids(&chunk.rows));
        }
        assert!(matches!(source.read(partition, rows_max).await.unwrap(), Poll::Finished), "finished for good");
        all.push(rows);
    }
    all
}

pub async fn drained(topic: &Topic, offsets: &Offsets) -> Vec<Vec<usize>> {
    let mut source = topic.open(false).await.unwrap();
    source.seek(offsets).await.unwrap();
    drain(&mut source, 50).await
}

pub fn class(error: &anyhow::Error) -> &SourceError {
    error.downcast_ref::<SourceError>().unwrap_or_else(|| panic!("without a class: {error:#}"))
}

#[tokio::test]
async fn bounded_gives_every_message_of_the_start_once_and_in_order() {
    let Some(mut topic) = Topic::new(3).await else { return };
    let expected: Vec<Vec<usize>> = (0..3).map(|p| (0..1000).filter(|id| id % 3 == p).collect()).collect();
    for id in 0..1000 {
        topic.send(id as i32 % 3, Some(event(id).as_bytes()));
    }
    assert_eq!(topic.writer.flush().unwrap(), 1000);
    let mut source = topic.open(false).await.unwrap();
    assert_eq!(source.partitions(), [topic.name(0), topic.name(1), topic.name(2)]);
    topic.write(1, 1000..1100);
    source.seek(&Offsets::new()).await.unwrap();
    assert_eq!(drain(&mut source, 7).await, expected);
}

#[tokio::test]
async fn rows_carry_their_position() {
    let Some(mut topic) = Topic::new(2).await else { return };
    topic.write(1, 0..3);
    let mut source = topic.open(false).await.unwrap();
    source.seek(&Offsets::new()).await.unwrap();
    let chunk = gather(&mut source, 1, 3).await;
    assert_eq!(chunk.rows.schema(), source.schema());
    let column = |name: &str| chunk.rows[name].clone();
    assert_eq!(column("_topic").as_string_view().value(2), topic.topic.name);
    assert_eq!(column("_partition").as_primitive::<arrow::datatypes::Int32Type>().values(), &[1, 1, 1]);
    assert_eq!(column("_offset").as_primitive::<Int64Type>().values(), &[0, 1, 2]);
    assert_eq!(column("_arrived_at").as_primitive::<TimestampMicrosecondType>().values(), &[1_700_000; 3]);
    assert_eq!((chunk.next.position, chunk.next.row), (3, 3));
}

#[tokio::test]
async fn a_run_goes_on_where_the_last_one_stopped() {
    let Some(mut topic) = Topic::new(2).await else { return };
    topic.write(0, 0..100);
    topic.write(1, 100..200);
    let mut offsets = Offsets::new();
    let mut seen = vec![vec![], vec![]];
    for (partition, rows) in [(0, 13), (1, 57), (0, 1), (1, 30)] {
        let mut source = topic.open(false).await.unwrap();
        source.seek(&offsets).await.unwrap();
        let chunk = gather(&mut source, partition, rows).await;
        seen[partition].extend(ids(&chunk.rows));
        offsets.insert(topic.name(partition as i32), chunk.next);
    }
    for (seen, rest) in seen.iter_mut().zip(drained(&topic, &offsets).await) {
        seen.extend(rest);
    }
    assert_eq!(seen, [(0..100).collect::<Vec<_>>(), (100..200).collect()]);
}

#[tokio::test]
async fn a_second_seek_counts() {
    let Some(mut topic) = Topic::new(2).await else { return };
    topic.write(0, 0..50);
    topic.write(1, 50..90);
    let mut source = topic.open(false).await.unwrap();
    source.seek(&Offsets::new()).await.unwrap();
    assert_eq!(drain(&mut source, 8).await, [(0..50).collect::<Vec<_>>(), (50..90).collect()]);
    source.seek(&topic.offsets(&[(0, 45), (1, 40)])).await.unwrap();
    assert_eq!(drain(&mut source, 8).await, [(45..50).collect::<Vec<_>>(), vec![]]);
}

#[tokio::test]
async fn following_never_ends_and_gives_what_comes_later() {
    let Some(mut topic) = Topic::new(2).await else { return };
    topic.write(0, 0..3);
    let mut source = topic.open(true).await.unwrap();
    source.seek(&Offsets::new()).await.unwrap();
    assert_eq!(ids(&gather(&mut source, 0, 3).await.rows), [0, 1, 2]);
    for round in 1..4 {
        for partition in [0, 1, 0, 1] {
            assert!(matches!(source.read(partition, 100).await.unwrap(), Poll::Waiting));
        }
        topic.write(1, [round * 10]);
        assert_eq!(ids(&gather(&mut source, 1, 1).await.rows), [round * 10]);
    }
}

#[tokio::test]
async fn an_empty_topic_is_finished_or_waiting() {
    let Some(topic) = Topic::new(2).await else { return };
    assert_eq!(drained(&topic, &Offsets::new()).await, [[0usize; 0]; 2]);
    let mut source = topic.open(true).await.unwrap();
    source.seek(&Offsets::new()).await.unwrap();
    assert!(matches!(source.read(1, 100).await.unwrap(), Poll::Waiting));
}

#[tokio::test]
async fn transactions_count_once_committed_and_never_hang_the_end() {
    let Some(mut topic) = Topic::new(1).await else { return };
    topic.write(0, 0..3);
    topic.transaction("a", 100..105).abort_transaction(Timeout::Never).unwrap();
    assert_eq!(drained(&topic, &Offsets::new()).await, [[0, 1, 2]], "ends with an aborted transaction");
    topic.transaction("b", 3..7).commit_transaction(Timeout::Never).unwrap();
    let mut source = topic.open(false).await.unwrap();
    topic.write(0, [7]);
    source.seek(&Offsets::new()).await.unwrap();
    assert_eq!(drain(&mut source, 5).await, [[0, 1, 2, 3, 4, 5, 6]], "ends with the mark of a commit");

    let open = topic.transaction("c", 8..10);
    topic.write(0, 10..12);
    let stable: Vec<usize> = (0..8).collect();
    assert_eq!(drained(&topic, &Offsets::new()).await, [&stable[..]], "ends before an open transaction");
    let mut follower = topic.open(true).await.unwrap();
    follower.seek(&Offsets::new()).await.unwrap();
    let seen = gather(&mut follower, 0, 8).await;
    assert_eq!(ids(&seen.rows), stable);
    open.commit_transaction(Timeout::Never).unwrap();
    assert_eq!(ids(&gather(&mut follower, 0, 4).await.rows), [8, 9, 10, 11]);
    let rest = drained(&topic, &[(topic.name(0), seen.next)].into()).await;
    assert_eq!(rest, [[8, 9, 10, 11]], "from the offset before the mark");
}

/// A topic of the same name and with as many messages or more, but not the one that was read.
/// Also where the new topic has more messages than were read: those before the next offset would be lost in silence.
#[tokio::test]
async fn what_is_no_row_is_rejected_whole_and_at_its_offset() {
    let Some(mut topic) = Topic::new(1).await else { return };
    let payloads: [Option<&[u8]>; 6] = [
        Some(br#"{"event_id": 0, "ts": 0}"#),
        Some(b"\xff{broken"),
        None,
        Some(b""),
        Some(br#"{"event_id": 1, "ts": 1}{"event_id": 2, "ts": 2}"#),
        Some(br#"{"event_id": 5, "ts": 5}"#),
    ];
    payloads.iter().for_each(|payload| topic.send(0, *payload));
    topic.writer.flush().unwrap();
    let mut source = topic.open(false).await.unwrap();
    source.seek(&Offsets::new()).await.unwrap();
    let chunk = gather(&mut source, 0, 6).await;
    let found: Vec<_> = chunk.rejected.iter().map(|r| (r.offset, r.raw.clone())).collect();
    let expected: Vec<_> = (1..5).map(|i| (i as i64, payloads[i].unwrap_or_default().to_vec())).collect();
    assert_eq!(found, expected);
    let codes: Vec<_> = chunk.rejected.iter().map(|r| r.reason.split(':').next().unwrap()).collect();
    assert_eq!(codes[1..], ["tombstone", "empty_payload", "multiple_documents"]);
    let first = &chunk.rejected[0];
    assert_eq!((&first.topic, first.partition, first.arrived_at), (&topic.topic.name, 0, Some(1_700_000)));
}

#[tokio::test]
async fn a_key_stays_in_its_partition() {
    let Some(mut topic) = Topic::new(4).await else { return };
    for id in 0..400 {
        let (key, payload) = (format!("key {}", id % 20), event(id));
        let message =
            KafkaMessage { key: Some(key.as_bytes()), payload: Some(payload.as_bytes()), ..Default::default() };
        topic.writer.send(message).unwrap();
    }
    topic.writer.flush().unwrap();
    let all = drained(&topic, &Offsets::new()).await;
    let at = |id: usize| all.iter().position(|ids| ids.contains(&id)).unwrap();
    assert_eq!(all.iter().map(Vec::len).sum::<usize>(), 400);
    assert!((20..400).all(|id| at(id) == at(id % 20)));
    assert!(all.iter().filter(|ids| !ids.is_empty()).count() > 1);
    assert!(all.iter().all(|ids| ids.is_sorted()));
}

#[tokio::test]
async fn what_is_not_there_is_told_apart() {
    let Some(uri) = new_topic() else { return };
    let topic = KafkaTopic::parse(&uri).unwrap();
    let missing = open(&topic, false).await.err().unwrap();
    assert!(matches!(class(&missing), SourceError::Missing(text) if text.contains(&topic.name)), "{missing:#}");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = KafkaTopic { brokers: free.to_string(), ..topic };
    let start = Instant::now();
    let down = open(&nobody, false).await.err().unwrap();
    assert!(matches!(class(&down), SourceError::Unavailable(text) if text.contains(&nobody.brokers)), "{down:#}");
    let down = KafkaTopicWriter::open(nobody, &KafkaSettings::default(), 1).await.err().unwrap();
    assert!(matches!(class(&down), SourceError::Unavailable(_)), "{down:#}");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}
