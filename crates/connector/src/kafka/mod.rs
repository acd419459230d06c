//! A Kafka topic's address, the settings its clients get, and what they report about the brokers.

pub(crate) mod kafka_record;
pub(crate) mod kafka_source;
pub(crate) mod kafka_watch;
pub(crate) mod kafka_writer;

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::fault::SourceError;

/// A topic and the brokers to ask for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaTopic {
    /// `host:port`, with commas between several.
    pub brokers: String,
    /// The topic's name.
    pub name: String,
}

impl KafkaTopic {
    /// Reads `kafka://host:port[,host:port…]/topic`. Nothing is contacted.
    ///
    /// # Errors
    /// [`SourceError::Usage`]: another form, or a name that Kafka does not allow.
    pub fn parse(uri: &str) -> Result<Self> {
        let parts = uri.strip_prefix("kafka://").and_then(|rest| rest.split_once('/'));
        let Some((brokers, name)) = parts.filter(|(brokers, _)| brokers.split(',').all(|host| !host.is_empty())) else {
            bail!(SourceError::Usage(format!("{uri} names no Kafka topic: write kafka://host:port/topic")));
        };
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        ensure!(
            (1..=249).contains(&name.len()) && name.chars().all(allowed) && !matches!(name, "." | ".."),
            SourceError::Usage(format!(
                "{uri}: {name:?} is no topic name: use up to 249 letters, digits, dots, dashes and underscores"
            ))
        );
        Ok(Self { brokers: brokers.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Display for KafkaTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kafka://{}/{}", self.brokers, self.name)
    }
}

/// What reading is right by: offsets of our own and no others, no row skipped, none of an open or aborted transaction.
pub(crate) const READING: [(&str, &str); 7] = [
    ("allow.auto.create.topics", "false"),
    ("auto.offset.reset", "error"),
    ("check.crcs", "true"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "true"),
    ("isolation.level", "read_committed"),
];

/// What writing is right by: every message once, in order.
pub(crate) const WRITING: [(&str, &str); 3] =
    [("acks", "all"), ("allow.auto.create.topics", "false"), ("enable.idempotence", "true")];

/// Other names of settings that are not to be set, and those that the address sets.
const ALIASES: [&str; 4] = ["auto.commit.enable", "bootstrap.servers", "metadata.broker.list", "request.required.acks"];

/// Settings of a user's own for librdkafka, `security.protocol` for one. Their values may be secrets, so they are never
/// shown.
#[derive(Clone, Default)]
pub struct KafkaSettings(Vec<(String, String)>);

impl KafkaSettings {
    /// Reads `KEY=VALUE` pairs; what librdkafka does not know is found here, not when the first row is read.
    ///
    /// # Errors
    /// [`SourceError::Usage`]: no pair, no such key, no fit value, or a key that must keep the value rescan gives it.
    pub fn parse<S: AsRef<str>>(pairs: impl IntoIterator<Item = S>) -> Result<Self> {
        let mut settings = vec![];
        for pair in pairs {
            let Some((key, value)) = pair.as_ref().split_once('=') else {
                bail!(SourceError::Usage("a Kafka setting without a value: write KEY=VALUE".to_owned()));
            };
            let ours = READING.iter().chain(&WRITING).map(|(key, _)| *key);
            ensure!(
                !ours.chain(ALIASES).any(|ours| ours == key),
                SourceError::Usage(format!(
                    "Kafka setting {key} is rescan's own, for what it promises depends on it: leave it out"
                ))
            );
            let known = ClientConfig::new().set(key, value).create_native_config();
            known.map_err(|e| SourceError::Usage(format!("Kafka setting {key}: {}", complaint(&e))))?;
            settings.push((key.to_owned(), value.to_owned()));
        }
        Ok(Self(settings))
    }

    /// The configuration of a client of `topic`: `defaults`, then the user's settings, then `ours`.
    pub(crate) fn config(&self, topic: &KafkaTopic, defaults: &[(&str, &str)], ours: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.extend(defaults.iter().map(|(key, value)| (key.to_string(), value.to_string())));
        config.extend(self.0.iter().cloned());
        config.extend(ours.iter().map(|(key, value)| (key.to_string(), value.to_string())));
        config.set("bootstrap.servers", &topic.brokers);
        config
    }
}

/// What is wrong with a configuration. The whole error would show the value.
pub(crate) fn complaint(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, complaint, _, _) | KafkaError::ClientCreation(complaint) => complaint.clone(),
        other => other.to_string(),
    }
}

/// Why there is no client of a topic: what librdkafka was given does not do, a key file that holds no key for one.
pub(crate) fn no_client(topic: &KafkaTopic, error: &KafkaError) -> SourceError {
    SourceError::Setting(format!("{topic}: {}: correct the Kafka setting", complaint(error)))
}

/// What a client's own threads last said about the brokers. They go on trying for ever; whether to is ours to decide.
#[derive(Default)]
pub(crate) struct Reports(Mutex<Said>);

#[derive(Default)]
struct Said {
    refused: Option<String>,
    trouble: Option<String>,
    all_down: bool,
    end: Option<u64>,
    arrived: u64,
    undelivered: Option<KafkaError>,
}

impl Reports {
    fn said(&self) -> MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// That the brokers refuse us, which trying again does not help.
    pub(crate) fn refused(&self) -> Option<SourceError> {
        let reason = self.said().refused.clone()?;
        Some(SourceError::Denied(format!("{reason}: check the Kafka settings and the topic's permissions")))
    }

    /// Whether, since the last call, no broker was left to talk to.
    pub(crate) fn take_all_down(&self) -> bool {
        std::mem::take(&mut self.said().all_down)
    }

    /// The offset behind which the partition had nothing, of the end reported last.
    pub(crate) fn take_end(&self) -> Option<u64> {
        self.said().end.take()
    }

    /// Counts a message that has arrived, or keeps the reason why it has not.
    pub(crate) fn delivered(&self, result: Result<(), KafkaError>) {
        match result {
            Ok(()) => self.said().arrived += 1,
            Err(error) => self.said().undelivered = Some(error),
        }
    }

    /// How many messages have arrived.
    pub(crate) fn arrived(&self) -> u64 {
        self.said().arrived
    }

    /// Why a message has not arrived and will not.
    pub(crate) fn undelivered(&self) -> Option<KafkaError> {
        self.said().undelivered.clone()
    }
}

impl ClientContext for Reports {
    fn error(&self, error: KafkaError, reason: &str) {
        use RDKafkaErrorCode as Code;
        let mut said = self.said();
        match error.rdkafka_error_code() {
            Some(Code::PartitionEOF) => said.end = end_offset(reason),
            Some(Code::AllBrokersDown) => said.all_down = true,
            Some(code) if is_refusal(code) => said.refused = Some(reason.to_owned()),
            _ => said.trouble = Some(reason.to_owned()),
        }
    }
}

impl ConsumerContext for Reports {}

/// rdkafka hands on the text of this event, but not its offset. A partition can end in offsets without messages (marks
/// of transactions, what compaction left), so the last message's offset does not do.
fn end_offset(reason: &str) -> Option<u64> {
    let (_, rest) = reason.split_once(" at offset ")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn is_refusal(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
    )
}

/// The error of a request about `topic`, in the class that decides the exit code.
pub(crate) fn sorted(code: RDKafkaErrorCode, topic: &KafkaTopic) -> SourceError {
    use RDKafkaErrorCode as Code;
    let what = format!("{topic}: {code}");
    match code {
        code if is_refusal(code) => SourceError::Denied(what),
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {
            SourceError::Missing(format!("{topic}: there is no such topic: create it, or check the name"))
        }
        Code::BadMessage | Code::BadCompression | Code::InvalidMessage | Code::NotImplemented => {
            SourceError::BadData(what)
        }
        _ => SourceError::Unavailable(what),
    }
}

/// How many partitions the topic has. Blocks, about 3 s where no broker can be reached and 9 s where none answers;
/// `listen` lets the client say what it has to say.
pub(crate) fn partitions(client: &Client<Reports>, topic: &KafkaTopic, listen: impl Fn()) -> Result<i32, SourceError> {
    const TRIES: usize = 3;
    const PATIENCE: Duration = Duration::from_secs(3);
    let reports = client.context();
    for _ in 0..TRIES {
        let answer = client.fetch_metadata(Some(&topic.name), PATIENCE);
        listen();
        if let Some(refused) = reports.refused() {
            return Err(refused);
        }
        let Ok(answer) = answer else {
            if reports.take_all_down() {
                break;
            }
            continue;
        };
        let found = answer.topics().iter().find(|t| t.name() == topic.name);
        let error = found.map_or(Some(RDKafkaErrorCode::UnknownTopic), |t| t.error().map(RDKafkaErrorCode::from));
        let count = found.map_or(0, |t| t.partitions().len());
        return match error {
            Some(code) => Err(sorted(code, topic)),
            None => i32::try_from(count).map_err(|_| sorted(RDKafkaErrorCode::Fail, topic)),
        };
    }
    let trouble = reports.said().trouble.clone().unwrap_or_else(|| "no answer".to_owned());
    Err(SourceError::Unavailable(format!(
        "{topic}: {trouble}: does the broker run, is that its address, and does it want other Kafka settings \
         (security.protocol)?"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_whole() {
        let topic = KafkaTopic::parse("kafka://h1:9092,[::1]:9093/a.b_c-D1").unwrap();
        assert_eq!((topic.brokers.as_str(), topic.name.as_str()), ("h1:9092,[::1]:9093", "a.b_c-D1"));
        assert_eq!(topic.to_string(), "kafka://h1:9092,[::1]:9093/a.b_c-D1");
        let long = format!("kafka://h/{}", "t".repeat(250));
        for bad in
            ["kafka:/h/t", "s3://h/t", "kafka://h", "kafka://h/", "kafka:///t", "kafka://h,/t", "kafka://h/a/b", &long]
        {
            assert!(KafkaTopic::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn settings_that_promises_depend_on_are_refused_by_name() {
        for key in READING.iter().chain(&WRITING).map(|(key, _)| *key).chain(ALIASES) {
            let error = KafkaSettings::parse([format!("{key}=true")]).err().unwrap().to_string();
            assert!(error.contains(key) && error.contains("leave it out"), "{error}");
        }
    }

    #[test]
    fn other_settings_are_passed_on_and_typos_found() {
        let settings = KafkaSettings::parse(["sasl.username=a=b", "queued.min.messages=7"]).unwrap();
        let topic = KafkaTopic::parse("kafka://h:1/t").unwrap();
        let config = settings.config(&topic, &[("queued.min.messages", "1"), ("linger.ms", "2")], &READING);
        let expected = [
            ("sasl.username", "a=b"),
            ("queued.min.messages", "7"),
            ("linger.ms", "2"),
            ("auto.offset.reset", "error"),
            ("bootstrap.servers", "h:1"),
        ];
        for (key, value) in expected {
            assert_eq!(config.get(key), Some(value));
        }
        for (bad, reason) in
            [("sasl.pasword=hush", "sasl.pasword"), ("linger.ms=soon", "linger.ms"), ("hush", "KEY=VALUE")]
        {
            let error = KafkaSettings::parse([bad]).err().unwrap().to_string();
            assert!(error.contains(reason) && !error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn the_end_is_read_from_the_report() {
        let text = "Fetch from broker 1 reached end of partition at offset 42 (HighwaterMark 57)";
        let reports = Reports::default();
        reports.error(KafkaError::Global(RDKafkaErrorCode::PartitionEOF), text);
        assert_eq!((reports.take_end(), reports.take_end()), (Some(42), None));
        assert_eq!(end_offset("no more"), None);
    }

    #[test]
    fn a_refusal_is_kept_and_an_outage_told_once() {
        let reports = Reports::default();
        assert!(reports.refused().is_none() && !reports.take_all_down());
        reports.error(KafkaError::Global(RDKafkaErrorCode::AllBrokersDown), "1/1 brokers are down");
        assert!(reports.take_all_down() && !reports.take_all_down());
        reports.error(KafkaError::Global(RDKafkaErrorCode::Authentication), "bad password");
        let refused = reports.refused();
        assert!(
            matches!(&refused, Some(SourceError::Denied(text)) if text.starts_with("bad password: ")),
            "{refused:?}"
        );
    }
}
