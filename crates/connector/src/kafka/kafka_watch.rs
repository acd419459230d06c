//! What becomes of a topic while it is followed: it may get more partitions, or be deleted and made anew.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::fault::SourceError;
use crate::kafka::kafka_record::{self, ask_held};
use crate::kafka::{self, KafkaTopic, Reports};

/// The partitions are counted this often.
const COUNT_EVERY: Duration = Duration::from_secs(3);

/// Records of partitions that have given rows are compared this often, and those of all partitions so much more rarely.
const COMPARE_EVERY: Duration = Duration::from_secs(10);
const COMPARE_ALL: u32 = 6;

/// Of a partition: the record that is to be compared, and the last one that was read.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    pub known: String,
    pub last: String,
}

/// Looks at a topic now and then, beside reading it.
pub(crate) struct Watch {
    consumer: Arc<BaseConsumer<Reports>>,
    config: ClientConfig,
    topic: KafkaTopic,
    looked: Instant,
    compared: Instant,
    comparisons: u32,
    looking: Option<JoinHandle<Result<Seen, SourceError>>>,
}

/// What a look has found.
#[derive(Default)]
pub(crate) struct Seen {
    pub partitions: i32,
    /// By partition, records that were read of this very topic: an older one still stood at its place after they were.
    pub known: BTreeMap<i32, String>,
}

impl Watch {
    pub(crate) fn new(consumer: Arc<BaseConsumer<Reports>>, config: ClientConfig, topic: KafkaTopic) -> Self {
        let now = Instant::now();
        Self { consumer, config, topic, looked: now, compared: now, comparisons: 0, looking: None }
    }

    /// Whether the next look is to compare records.
    pub(crate) fn compares(&self) -> bool {
        self.looking.is_none() && self.looked.elapsed() >= COUNT_EVERY && self.compared.elapsed() >= COMPARE_EVERY
    }

    /// Looks where it is time for that. What a look has found is answered by a later call.
    ///
    /// # Errors
    /// [`SourceError::BadData`]: the topic was made anew.
    pub(crate) async fn look(&mut self, records: BTreeMap<i32, Records>) -> Result<Option<Seen>> {
        match &mut self.looking {
            None if self.looked.elapsed() < COUNT_EVERY => Ok(None),
            None => {
                let records = if self.compares() { self.due(records) } else { BTreeMap::new() };
                let (consumer, config, topic) = (self.consumer.clone(), self.config.clone(), self.topic.clone());
                self.looking = Some(spawn_blocking(move || see(&consumer, &config, &topic, records)));
                Ok(None)
            }
            Some(looking) if !looking.is_finished() => Ok(None),
            Some(looking) => {
                let seen = looking.await?;
                (self.looking, self.looked) = (None, Instant::now());
                match seen {
                    Ok(seen) => Ok(Some(seen)),
                    Err(anew @ SourceError::BadData(_)) => Err(anew.into()),
                    // A broker that does not answer is an outage, which is looked at elsewhere.
                    Err(_) => Ok(None),
                }
            }
        }
    }

    fn due(&mut self, mut records: BTreeMap<i32, Records>) -> BTreeMap<i32, Records> {
        self.compared = Instant::now();
        self.comparisons += 1;
        if !self.comparisons.is_multiple_of(COMPARE_ALL) {
            records.retain(|_, records| records.known != records.last);
        }
        records
    }
}

fn see(
    consumer: &BaseConsumer<Reports>,
    config: &ClientConfig,
    topic: &KafkaTopic,
    records: BTreeMap<i32, Records>,
) -> Result<Seen, SourceError> {
    let partitions = kafka::partitions(consumer.client(), topic, || ())?;
    let known = records.iter().map(|(partition, records)| (*partition, records.known.clone())).collect();
    compare(consumer, config, topic, known)?;
    Ok(Seen { partitions, known: records.into_iter().map(|(partition, records)| (partition, records.last)).collect() })
}

/// That records of partitions are still at their places; what retention has deleted cannot be compared. Blocks.
///
/// # Errors
/// As [`kafka_record::compare`].
pub(crate) fn compare(
    consumer: &BaseConsumer<Reports>,
    config: &ClientConfig,
    topic: &KafkaTopic,
    mut records: BTreeMap<i32, String>,
) -> Result<(), SourceError> {
    for partition in records.keys().copied().collect::<Vec<_>>() {
        let (first, _) = ask_held(consumer, topic, partition)?;
        records.retain(|of, record| *of != partition || kafka_record::offset(record).is_some_and(|at| at >= first));
    }
    if records.is_empty() { Ok(()) } else { kafka_record::compare(config, topic, &records) }
}
