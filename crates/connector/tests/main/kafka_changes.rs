//! Kafka topics that change: retention, new partitions, and another topic of the same name.

use std::time::{Duration, Instant};

use connector::{KafkaMessage, KafkaSettings, KafkaTopicWriter, Poll, Source, SourceError};
use rdkafka::admin::{AdminOptions, NewPartitions};

use super::kafka::{Offsets, POLLING, Topic, class, drained, event, gather, ids};

#[tokio::test]
async fn offsets_that_are_gone_are_an_error_that_says_which() {
    let Some(mut topic) = Topic::new(2).await else { return };
    topic.write(1, 0..10);
    let mut before = topic.open(false).await.unwrap();
    topic.forget(1, 5).await;
    let mut after = topic.open(false).await.unwrap();
    for (offset, range) in [(4, "holds 5 to 10"), (11, "holds 5 to 10")] {
        let error = after.seek(&topic.offsets(&[(1, offset)])).await.unwrap_err();
        let text = format!("{error:#}");
        assert!(matches!(class(&error), SourceError::BadData(_)), "{text}");
        for part in [&topic.topic.name, "partition 1", &format!("offset {offset} "), range, "--out"] {
            assert!(text.contains(part), "{text}: no {part}");
        }
    }
    before.seek(&topic.offsets(&[(1, 4)])).await.unwrap();
    let late = loop {
        match before.read(1, 100).await {
            Ok(Poll::Waiting) => tokio::time::sleep(POLLING).await,
            other => break other.unwrap_err(),
        }
    };
    assert!(format!("{late:#}").contains("holds 5 to 10") && matches!(class(&late), SourceError::BadData(_)));
    assert_eq!(drained(&topic, &topic.offsets(&[(1, 5)])).await[1], [5, 6, 7, 8, 9]);
    assert_eq!(drained(&topic, &Offsets::new()).await[1], [5, 6, 7, 8, 9], "the beginning is what is left");
}

#[tokio::test]
async fn partitions_may_be_added_but_not_vanish() {
    let Some(mut topic) = Topic::new(1).await else { return };
    topic.write(0, 0..4);
    let mut source = topic.open(false).await.unwrap();
    let error = source.seek(&topic.offsets(&[(0, 2), (1, 2)])).await.unwrap_err();
    assert!(matches!(class(&error), SourceError::BadData(text) if text.contains(&topic.name(1))), "{error:#}");
    let more = NewPartitions::new(&topic.topic.name, 2);
    topic.admin().create_partitions(&[more], &AdminOptions::new()).await.unwrap();
    let mut writer = KafkaTopicWriter::open(topic.topic.clone(), &KafkaSettings::default(), 9).await.unwrap();
    assert_eq!(writer.partitions(), 2, "of the topic there is");
    let payload = event(7);
    let message = KafkaMessage { partition: Some(1), payload: Some(payload.as_bytes()), ..Default::default() };
    writer.send(message).unwrap();
    writer.flush().unwrap();
    assert_eq!(drained(&topic, &topic.offsets(&[(0, 2)])).await, [vec![2, 3], vec![7]]);
}

#[tokio::test]
async fn a_topic_that_was_made_anew_is_named() {
    let Some(mut topic) = Topic::new(2).await else { return };
    topic.write(0, 0..4);
    topic.write(1, 10..12);
    let mut source = topic.open(false).await.unwrap();
    source.seek(&Offsets::new()).await.unwrap();
    let at: Offsets =
        [(topic.name(0), gather(&mut source, 0, 3).await.next), (topic.name(1), gather(&mut source, 1, 2).await.next)]
            .into();
    assert_eq!(drained(&topic, &at).await, [vec![3], vec![]], "the same topic");
    let mut new = topic.anew().await;
    new.write(0, 100..110);
    new.write(1, 200..210);
    let error = new.open(true).await.unwrap().seek(&at).await.unwrap_err();
    let text = format!("{error:#}");
    assert!(matches!(class(&error), SourceError::BadData(_)), "{text}");
    for part in [new.topic.name.as_str(), "partition", "holds another message there now", "made anew", "--out"] {
        assert!(text.contains(part), "{text}: no {part}");
    }
    new.forget(0, 5).await;
    new.forget(1, 5).await;
    let gone = new.open(false).await.unwrap().seek(&at).await.unwrap_err();
    assert!(format!("{gone:#}").contains("rows not read yet were deleted"), "{gone:#}");
}

#[tokio::test]
async fn a_topic_that_is_made_anew_while_it_is_followed_is_named() {
    let Some(mut topic) = Topic::new(2).await else { return };
    topic.write(0, 0..4);
    let mut source = topic.open(true).await.unwrap();
    source.seek(&Offsets::new()).await.unwrap();
    let mut at: Offsets = [(topic.name(0), gather(&mut source, 0, 4).await.next)].into();
    let mut new = topic.anew().await;
    new.write(0, 100..120);
    let since = Instant::now();
    let error = loop {
        match source.read(0, 100).await {
            Ok(Poll::Chunk(chunk)) => _ = at.insert(new.name(0), chunk.next),
            Ok(_) => tokio::time::sleep(POLLING).await,
            Err(error) => break error,
        }
        assert!(since.elapsed() < Duration::from_secs(120), "not seen; the journal says {at:?}");
    };
    let again = new.open(true).await.unwrap().seek(&at).await.expect_err("nor does the next run go on");
    for error in [error, again] {
        let text = format!("{error:#}");
        assert!(matches!(class(&error), SourceError::BadData(_)), "{text}");
        assert!(text.contains(&new.topic.name) && text.contains("made anew") && text.contains("--out"), "{text}");
    }
}

#[tokio::test]
async fn a_partition_that_is_added_is_read_while_following() {
    let Some(mut topic) = Topic::new(1).await else { return };
    topic.write(0, 0..2);
    let mut source = topic.open(true).await.unwrap();
    source.seek(&Offsets::new()).await.unwrap();
    assert_eq!(ids(&gather(&mut source, 0, 2).await.rows), [0, 1]);
    let more = NewPartitions::new(&topic.topic.name, 2);
    topic.admin().create_partitions(&[more], &AdminOptions::new()).await.unwrap();
    topic.writer = KafkaTopicWriter::open(topic.topic.clone(), &KafkaSettings::default(), 9).await.unwrap();
    topic.write(1, 7..9);
    topic.write(0, 2..3);
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut old = vec![];
    while source.partitions().len() < 2 {
        assert!(Instant::now() < deadline, "not found");
        match source.read(0, 100).await.unwrap() {
            Poll::Chunk(chunk) => old.extend(ids(&chunk.rows)),
            _ => tokio::time::sleep(POLLING).await,
        }
    }
    assert_eq!(ids(&gather(&mut source, 1, 2).await.rows), [7, 8]);
    topic.write(0, 3..4);
    while old.len() < 2 {
        old.extend(ids(&gather(&mut source, 0, 1).await.rows));
    }
    assert_eq!(old, [2, 3], "and the others go on");
    assert!(source.warnings()[0].contains("-1 is a new partition"));
}
