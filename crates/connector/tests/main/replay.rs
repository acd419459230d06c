//! An archive as the stream it was: by partition, in the order of offsets, from any of them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Int32Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::{Field, Int64Type, Schema};
use connector::{Location, Misfiled, Offset, Poll, ReplaySource, Source, SourceError, TIME, position_fields};
use parquet::arrow::ArrowWriter;
use tempfile::TempDir;

const MEMORY: usize = 64 << 20;

/// Writes an hour as ingest does, sorted by id, the position columns in the middle.
fn hour(root: &Path, hour: u32, rows: &[(&str, i32, i64)], sealed: bool) {
    let mut rows = rows.to_vec();
    rows.sort_by_key(|(topic, partition, offset)| (offset * 7919 % 1000, *partition, topic.to_owned()));
    let ids = rows.iter().map(|(topic, partition, offset)| format!("{topic}/{partition}/{offset}"));
    let columns: [Arc<dyn Array>; 6] = [
        Arc::new(StringViewArray::from_iter_values(ids)),
        Arc::new(StringViewArray::from_iter_values(rows.iter().map(|r| r.0))),
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|r| r.1))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.2))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|r| r.2))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|_| i64::from(hour) * 3_600_000_000))),
    ];
    let mut fields = vec![Field::new("Id", arrow::datatypes::DataType::Utf8View, false)];
    fields.extend(position_fields());
    fields.push(Field::new("ts", TIME, false));
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.to_vec()).unwrap();
    let directory = root.join(format!("dt=1970-01-01/hr={hour:02}"));
    fs::create_dir_all(&directory).unwrap();
    let mut writer =
        ArrowWriter::try_new(File::create(directory.join("part-0.parquet")).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    if sealed {
        fs::write(directory.join("_SUCCESS"), "").unwrap();
    }
}

fn location(root: &Path) -> Location {
    Location::parse(root.to_str().unwrap(), &BTreeMap::new()).unwrap()
}

async fn open(root: &Path) -> anyhow::Result<ReplaySource> {
    ReplaySource::open(&location(root), .., MEMORY, "ts", Misfiled::Refuse).await
}

/// The ids of a partition, and the offset behind each chunk.
async fn rows(source: &mut ReplaySource, partition: usize, rows_max: usize) -> Vec<(String, Offset)> {
    let mut all = vec![];
    loop {
        match source.read(partition, rows_max).await.unwrap() {
            Poll::Chunk(chunk) => {
                assert_eq!(chunk.rows.schema(), source.schema());
                assert!(chunk.rows.num_rows() <= rows_max && chunk.read == chunk.rows.num_rows() as u64);
                let ids = chunk.rows.column(0).as_string_view();
                all.extend(ids.iter().map(|id| (id.unwrap().to_owned(), chunk.next.clone())));
                let last = chunk.rows.column(4).as_primitive::<Int64Type>().values().last().copied();
                assert_eq!(last.map(|l| l as u64 + 1), Some(chunk.next.position));
            }
            Poll::Waiting => {}
            Poll::Finished => return all,
        }
    }
}

#[tokio::test]
async fn rows_come_back_in_the_order_of_their_offsets_from_any_of_them() {
    let root = TempDir::new().unwrap();
    let written: Vec<_> = (0..3000).map(|i| (["plays", "a'b"][i % 5 / 4], (i % 3) as i32, i as i64 * 2)).collect();
    for part in 0..4 {
        let rows: Vec<_> = written.iter().copied().filter(|r| r.2 / 2 * 13 % 4 == part).collect();
        hour(root.path(), part as u32, &rows, true);
    }
    let mut source = open(root.path()).await.unwrap();
    assert_eq!(source.partitions(), ["a'b-0", "a'b-1", "a'b-2", "plays-0", "plays-1", "plays-2"]);
    for (i, name) in source.partitions().to_vec().into_iter().enumerate() {
        let own = |r: &&(&str, i32, i64)| format!("{}-{}", r.0, r.1) == name;
        let expected: Vec<_> = written.iter().filter(own).map(|r| format!("{}/{}/{}", r.0, r.1, r.2)).collect();
        let read = rows(&mut source, i, 77).await;
        let ids: Vec<_> = read.iter().map(|r| r.0.clone()).collect();
        assert_eq!(ids, expected, "{name}");
        assert!(matches!(source.read(i, 77).await.unwrap(), Poll::Finished));
        let mut again = open(root.path()).await.unwrap();
        again.seek(&BTreeMap::from([(name.clone(), read[100].1.clone())])).await.unwrap();
        let rest: Vec<_> = rows(&mut again, i, 1000).await.into_iter().map(|r| r.0).collect();
        assert_eq!(rest, expected[154..], "{name} from the second chunk's end");
    }
}

/// Four partitions side by side, each of several times its share of the memory.
#[tokio::test]
async fn more_rows_than_memory_are_sorted_on_disk() {
    let root = TempDir::new().unwrap();
    let written: Vec<_> = (0..1_600_000).map(|i| ("events-with-a-long-name", (i % 4) as i32, i / 4)).collect();
    hour(root.path(), 0, &written, true);
    let mut source = ReplaySource::open(&location(root.path()), .., 64 << 20, "ts", Misfiled::Refuse).await.unwrap();
    let mut next = [0; 4];
    while next.iter().any(|n| *n < 400_000) {
        for (partition, next) in next.iter_mut().enumerate() {
            let Poll::Chunk(chunk) = source.read(partition, 10_000).await.unwrap() else { continue };
            let offsets = chunk.rows.column(4).as_primitive::<Int64Type>().values();
            assert!(offsets.iter().copied().eq(*next..*next + chunk.read as i64));
            *next += chunk.read as i64;
        }
    }
    for partition in 0..4 {
        assert!(matches!(source.read(partition, 1).await.unwrap(), Poll::Finished));
    }
}

#[tokio::test]
async fn what_is_no_whole_archive_is_refused() {
    let root = TempDir::new().unwrap();
    let kind =
        |error: anyhow::Error| error.downcast_ref::<SourceError>().cloned().unwrap_or_else(|| panic!("{error:?}"));
    assert!(matches!(kind(open(root.path()).await.err().unwrap()), SourceError::Missing(_)));
    hour(root.path(), 0, &[("a", 0, 0)], true);
    hour(root.path(), 1, &[("a", 0, 1)], false);
    let error = kind(open(root.path()).await.err().unwrap());
    assert!(matches!(&error, SourceError::Missing(text) if text.contains("1970-01-01T01 is not sealed")), "{error}");
    let twins = TempDir::new().unwrap();
    hour(twins.path(), 0, &[("a", 0, 0), ("a", 0, 7), ("b", 0, 7)], true);
    hour(twins.path(), 1, &[("a", 0, 7)], true);
    let mut source = open(twins.path()).await.unwrap();
    assert!(matches!(source.read(1, 10).await.unwrap(), Poll::Chunk(chunk) if chunk.read == 1), "b has one");
    let error = kind(source.read(0, 10).await.err().unwrap());
    assert!(matches!(&error, SourceError::BadData(text) if text.contains("offset 7 of partition 0 of a")), "{error}");
    let before = ReplaySource::open(
        &location(root.path()),
        ..connector::Hour::of(3_600_000_000),
        MEMORY,
        "ts",
        Misfiled::Refuse,
    )
    .await
    .unwrap();
    assert_eq!(before.partitions(), ["a-0"]);
}
