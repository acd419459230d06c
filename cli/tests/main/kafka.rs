//! Streams from a real Kafka give what batch gives.

use connector::{KafkaMessage, KafkaSettings, KafkaTopic, KafkaTopicWriter};

use super::workdir::{Workdir, parquet, walk};
use testkit::broker;

/// The lines of a file as messages of a new topic with three partitions; its URI.
fn produce(dir: &Workdir, file: &str) -> Option<String> {
    let uri = broker::new_topic()?;
    send(dir, file, &uri);
    Some(uri)
}

fn send(dir: &Workdir, file: &str, uri: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let settings = KafkaSettings::parse(Vec::<String>::new()).unwrap();
        let mut topic = KafkaTopicWriter::open(KafkaTopic::parse(uri).unwrap(), &settings, 3).await.unwrap();
        for (number, line) in dir.read(file).lines().enumerate() {
            let partition = Some((number % 3) as i32);
            topic.send(KafkaMessage { partition, payload: Some(line.as_bytes()), ..KafkaMessage::default() }).unwrap();
        }
        topic.flush().unwrap();
    });
}

#[test]
fn three_partitions_a_topic_give_what_batch_gives() {
    let dir = Workdir::new();
    dir.ok("generate --hours 4 --impressions-per-hour 3000 --late 0 --malformed 0.002 --to raw");
    // Malformed bytes that are no UTF-8 are not lines of text: the JSON ones suffice here.
    let lossy = |file: &str| String::from_utf8_lossy(&std::fs::read(dir.path(file)).unwrap()).into_owned();
    for file in ["raw/impressions.jsonl", "raw/plays.jsonl"] {
        dir.write(file, lossy(file));
    }
    let Some(impressions) = produce(&dir, "raw/impressions.jsonl") else { return };
    let Some(plays) = produce(&dir, "raw/plays.jsonl") else { return };
    for topic in ["impressions", "plays"] {
        dir.ok(&format!("ingest --in raw/{topic}.jsonl --schema {topic} --out archive/{topic}"));
    }
    let archive = "--in impressions=archive/impressions --in plays=archive/plays";
    let topics = format!("--in impressions={impressions} --in plays={plays}");
    let mut commands: Vec<String> =
        ["inner", "left", "right", "full", "semi", "anti"].map(|kind| format!("join --type {kind}")).into();
    commands.extend(["aggregate", "attribute --model last,first,linear", "attribute --tuples"].map(str::to_owned));
    commands.push("stratify --size 500 --strata device".to_owned());
    for (number, command) in commands.iter().enumerate() {
        let (batch, stream) = (format!("batch-{number}"), format!("stream-{number}"));
        let (archive, topics) = match command.starts_with("stratify") {
            true => ("--in archive/impressions".to_owned(), format!("--in {impressions} --schema impressions")),
            false => (archive.to_owned(), topics.clone()),
        };
        dir.ok(&format!("{command} {archive} --out {batch}"));
        // Three partitions, each with a third of the rows: the delay must cover what their clocks are apart.
        dir.ok(&format!("{command} {topics} --watermark-delay 2h --max-rows 777 --out {stream}"));
        let same = dir.run(&format!("reconcile --batch {batch} --stream {stream}"));
        assert_eq!(
            same.code,
            Some(0),
            "{command}\n{}\n{}",
            same.err,
            same.out.lines().take(5).collect::<Vec<_>>().join("\n")
        );
        assert!(same.err.contains(" 0 differences"), "{}", same.err);
    }
    let ledger = dir.ledger("stream-0");
    assert!(ledger["impressions"]["rejected"].as_u64() > Some(0), "{ledger}");
    let again = dir.ok(&format!("{} {topics} --watermark-delay 2h --max-rows 777 --out stream-0", commands[0]));
    assert!(again.err.contains("up to date"), "{}", again.err);
}

#[test]
fn messages_that_come_after_the_end_are_not_passed_over() {
    let dir = Workdir::new();
    dir.write("first.jsonl", "{\"event_id\":\"a\",\"ts\":0}\n");
    let Some(topic) = produce(&dir, "first.jsonl") else { return };
    let line = format!("ingest --in {topic} --schema plays --out out");
    dir.ok(&line);
    assert!(dir.ok(&line).err.contains("up to date"));
    dir.write("more.jsonl", "{\"event_id\":\"b\",\"ts\":1}\n");
    send(&dir, "more.jsonl", &topic);
    let more = dir.run(&line);
    assert_eq!(more.code, Some(65), "{}", more.err);
    assert!(more.err.contains("-0 goes on with row 1 of ") && more.err.contains("--follow"), "{}", more.err);
}

/// A compacted topic: a quarter of its messages have a key and no value. They are told apart, and end no run.
#[test]
fn tombstones_are_a_kind_of_their_own() {
    let Some(uri) = broker::new_topic() else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let send = |broken: usize| {
        runtime.block_on(async {
            let settings = KafkaSettings::parse(Vec::<String>::new()).unwrap();
            let mut topic = KafkaTopicWriter::open(KafkaTopic::parse(&uri).unwrap(), &settings, 1).await.unwrap();
            for number in 0..1_200 {
                let play = format!("{{\"event_id\":\"{broken}-{number}\",\"ts\":{number},\"video_id\":1}}");
                let key = format!("key {number}");
                let payload = match number {
                    _ if number % 4 == 0 => None,
                    _ if number % 4 == 1 && number / 4 < broken => Some(&b"{"[..]),
                    _ => Some(play.as_bytes()),
                };
                let message = KafkaMessage { key: Some(key.as_bytes()), payload, ..KafkaMessage::default() };
                topic.send(message).unwrap();
            }
            topic.flush().unwrap();
        });
    };
    send(2);
    let dir = Workdir::new();
    let line = format!("ingest --in {uri} --schema plays --out");
    dir.ok(&format!("{line} first"));
    let ledger = &dir.ledger("first")["events"];
    assert_eq!((&ledger["read"], &ledger["accepted"], &ledger["rejected"]), (&1_200.into(), &898.into(), &302.into()));
    let files = walk(&dir.path("first/_rescan/rejected"));
    let reasons: Vec<String> =
        files.iter().flat_map(|file| parquet(file)).map(|row| row["reason"].to_string()).collect();
    assert_eq!(reasons.iter().filter(|reason| reason.contains("tombstone: key: key ")).count(), 300, "{reasons:?}");
    send(40);
    let ran = dir.run(&format!("{line} second"));
    assert_eq!(ran.code, Some(65), "{}", ran.err);
    assert!(ran.err.contains("42 of 1800 rows were rejected") && !ran.err.contains("tombstone"), "{}", ran.err);
    assert!(dir.files("second").is_empty());
    dir.ok(&format!("{line} second --max-rejected 3%"));
}

#[test]
fn the_readme_runs_on_kafka() {
    let Some(address) = broker::broker() else { return };
    let dir = Workdir::new();
    for command in super::readme::blocks("sh kafka").concat().lines() {
        let words = command.strip_prefix("rescan ").unwrap().replace("127.0.0.1:9092", address);
        dir.ok(&words);
    }
    assert!(dir.rows("from-kafka/joined").len() > 1000);
}
