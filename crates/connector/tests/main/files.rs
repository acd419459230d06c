//! Files as a stream: every row once, the same ones from any offset, and errors that say what to do.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow::datatypes::{Int64Type, Schema, TimestampMicrosecondType};
use connector::{
    FileOptions, FileSource, Offset, Poll, Sample, Source, SourceError, Written, parse_schema, print_schema,
};
use parquet::arrow::ArrowWriter;
use proptest::prelude::*;
use tempfile::TempDir;

/// A row as the test sees it: file, number, id or what was rejected.
pub type Seen = (String, i64, String);

fn options(follow: bool) -> FileOptions {
    let schema = parse_schema("id text not null\nts timestamp\nn int64").unwrap();
    FileOptions { schema, time: "ts".to_owned(), written: Written::default(), format: None, follow }
}

pub fn open(path: &Path, follow: bool) -> anyhow::Result<FileSource> {
    FileSource::open(path.to_str().unwrap(), options(follow))
}

/// The rows and rejected rows of the next chunk in order, and the offset behind it.
pub async fn chunk(source: &mut FileSource, rows_max: usize) -> anyhow::Result<Option<(Vec<Seen>, Offset)>> {
    let chunk = match source.read(0, rows_max).await? {
        Poll::Chunk(chunk) => chunk,
        Poll::Waiting | Poll::Finished => return Ok(None),
    };
    assert_eq!(chunk.rows.schema(), source.schema());
    let (ids, topics) = (chunk.rows.column(0).as_string_view(), chunk.rows.column(3).as_string_view());
    let offsets = chunk.rows.column(5).as_primitive::<Int64Type>();
    let good = (0..ids.len()).map(|i| (topics.value(i).to_owned(), offsets.value(i), ids.value(i).to_owned()));
    let bad = chunk.rejected.iter().map(|r| (r.topic.clone(), r.offset, String::from_utf8_lossy(&r.raw).into_owned()));
    let mut rows: Vec<Seen> = good.chain(bad).collect();
    rows.sort_by_key(|row| row.1);
    assert!(rows.len() <= rows_max && rows.len() as u64 == chunk.read);
    assert!(rows.windows(2).all(|w| w[0].1 + 1 == w[1].1), "no gap in a chunk");
    Ok(Some((rows, chunk.next)))
}

pub async fn rest(source: &mut FileSource) -> Vec<Seen> {
    let mut all = vec![];
    while let Some((rows, _)) = chunk(source, 1000).await.unwrap() {
        all.extend(rows);
    }
    all
}

pub fn ids(rows: &[Seen]) -> Vec<&str> {
    rows.iter().map(|r| r.2.as_str()).collect()
}

pub fn at(path: &Path, offset: Offset) -> BTreeMap<String, Offset> {
    BTreeMap::from([(path.to_str().unwrap().to_owned(), offset)])
}

pub fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

pub fn parquet(path: &Path, rows: &[(Option<&str>, Option<i64>)]) {
    let ids: StringArray = rows.iter().map(|r| r.0).collect();
    let nanos = TimestampNanosecondArray::from_iter(rows.iter().map(|r| r.1)).with_timezone("UTC");
    let n = Int64Array::from_iter_values(0..rows.len() as i64);
    let columns: [(&str, Arc<dyn Array>); 3] = [("n", Arc::new(n)), ("ts", Arc::new(nanos)), ("id", Arc::new(ids))];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// One file a letter, with what makes rows hard to count.
fn file(directory: &Path, name: char, kind: u8, rows: &[u8]) -> Vec<Seen> {
    let id = |i: usize| format!("{name}{i}");
    let (ending, header) = [("jsonl", ""), ("csv", "n,id,ts\r\n"), ("parquet", "")][kind as usize % 3];
    let file = format!("{name}.{ending}");
    if ending == "parquet" {
        let ids: Vec<String> = (0..rows.len()).map(id).collect();
        parquet(&directory.join(&file), &ids.iter().map(|id| (Some(id.as_str()), Some(0))).collect::<Vec<_>>());
        return ids.into_iter().enumerate().map(|(i, id)| (file.clone(), i as i64, id)).collect();
    }
    let mut text = header.to_owned();
    let mut seen = vec![];
    for (i, row) in rows.iter().enumerate() {
        let mut id = id(i);
        let line = match (ending, row % 4) {
            (_, 0) => {
                id = format!("garbage {i}, é");
                id.clone()
            }
            ("csv", 1) => {
                id.push_str("\"\n,");
                format!("{i},\"{}\",0", id.replace('"', "\"\""))
            }
            ("csv", _) => format!("{i},{id},2026-11-20 05:00:00.5+01"),
            _ => format!(r#"{{"ts":0,"other":[{i}],"id":"{id}"}}"#),
        };
        let end = ["\n", "\r\n", "\n\n", "\n"][usize::from(row / 4 % 4)];
        text.push_str(&line);
        text.push_str(if i + 1 == rows.len() && row / 16 % 2 == 0 { "" } else { end });
        seen.push((file.clone(), i as i64, id));
    }
    fs::write(directory.join(file), text).unwrap();
    seen
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reading_on_from_any_offset_gives_the_same_rows(
        files in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)), 1..5),
        sizes in prop::collection::vec(1_usize..30, 1..8),
        seeks in prop::collection::vec(any::<prop::sample::Index>(), 1..6),
    ) {
        let directory = TempDir::new().unwrap();
        let path = directory.path();
        let written: Vec<Seen> = ('a'..).zip(&files).flat_map(|(name, (kind, rows))| file(path, name, *kind, rows)).collect();
        fs::write(path.join("_hidden.jsonl"), "no data").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut source = open(path, false).unwrap();
            let (mut straight, mut offsets) = (vec![], vec![(0, Offset::default())]);
            for size in sizes.iter().cycle() {
                let Some((rows, next)) = chunk(&mut source, *size).await.unwrap() else { break };
                straight.extend(rows);
                offsets.push((straight.len(), next));
            }
            assert_eq!(straight, written);
            for seek in seeks {
                let (before, offset) = seek.get(&offsets);
                let mut again = open(path, false).unwrap();
                again.seek(&at(path, offset.clone())).await.unwrap();
                assert_eq!(rest(&mut again).await, straight[*before..], "from {offset:?}");
            }
        });
    }
}

#[tokio::test]
async fn parquet_is_cast_without_loss_and_its_bad_rows_are_kept() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("x.parquet");
    parquet(&file, &[(Some("a"), Some(-1)), (None, Some(0)), (Some("b"), None), (Some("c"), Some(1_999))]);
    let mut source = open(&file, false).unwrap();
    let Poll::Chunk(chunk) = source.read(0, 100).await.unwrap() else { panic!("no rows") };
    assert_eq!(chunk.rows.schema(), source.schema());
    let micros = chunk.rows.column(1).as_primitive::<TimestampMicrosecondType>();
    assert_eq!(micros.values(), &[-1, 1], "floored");
    assert_eq!(chunk.rows.column(5).as_primitive::<Int64Type>().values(), &[0, 3]);
    let rejected: Vec<_> = chunk.rejected.iter().map(|r| (r.offset, r.reason.as_str(), r.raw.as_slice())).collect();
    let missing = (1, "missing: id is missing or null", &br#"{"ts":"1970-01-01T00:00:00","n":1}"#[..]);
    let no_time = (2, "no_event_time: ts is missing or null", &br#"{"id":"b","n":2}"#[..]);
    assert_eq!(rejected, [missing, no_time]);
    assert!(chunk.rows.column(6).is_valid(0), "arrived when the file changed");
}

/// A path, a directory, a pattern, a URI: which files each of them means, in reading order.
#[tokio::test]
async fn an_input_is_all_data_below_its_path_or_what_its_pattern_matches() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let line = |id: &str| format!("{{\"id\":\"{id}\",\"ts\":0}}\n");
    for name in [
        "a.jsonl",
        "b/10.jsonl",
        "b/2.jsonl",
        "b/dt=2026-11-20/hr=05/x.json",
        "c d/x.jsonl",
        "_b/x.jsonl",
        "b/.y/x.jsonl",
    ] {
        fs::create_dir_all(path.join(name).parent().unwrap()).unwrap();
        fs::write(path.join(name), line(name)).unwrap();
    }
    fs::write(path.join("z.jsonl.zst"), zstd::encode_all(line("z").as_bytes(), 1).unwrap()).unwrap();
    let two_frames =
        [zstd::encode_all(line("f1").as_bytes(), 1).unwrap(), zstd::encode_all(line("f2").as_bytes(), 1).unwrap()];
    fs::create_dir(path.join("frames")).unwrap();
    fs::write(path.join("frames/x.jsonl.zst"), two_frames.concat()).unwrap();
    symlink(path.join("b/2.jsonl"), path.join("_link.jsonl")).unwrap();
    symlink(path.join("b"), path.join("_b/dir")).unwrap();
    // What is hidden is neither followed nor judged, wherever it leads.
    symlink("nowhere", path.join(".#a.jsonl")).unwrap();
    symlink(path, path.join("b/_loop")).unwrap();
    symlink(path.join("c d"), path.join("b/.again")).unwrap();
    fs::write(path.join("b/2.jsonl.crc"), "x").unwrap();
    let uri = url::Url::from_file_path(path.join("c d")).unwrap().to_string();
    let at = |name: &str| path.join(name).to_str().unwrap().to_owned();
    let in_b = ["b/2.jsonl", "b/10.jsonl", "b/dt=2026-11-20/hr=05/x.json"];
    let all: Vec<&str> = [&["a.jsonl"][..], &in_b, &["c d/x.jsonl", "f1", "f2", "z"]].concat();
    for (input, ids) in [
        (at(""), all.as_slice()),
        (at("a.jsonl"), &["a.jsonl"]),
        (at("b"), &in_b),
        (at("_b/dir"), &in_b),
        (at("_link.jsonl"), &["b/2.jsonl"]),
        (at("*.jsonl"), &["a.jsonl"]),
        (at("b/[0-9]*.jsonl"), &in_b[..2]),
        (at("b/dt=*/hr=0?/*.json"), &in_b[2..]),
        (at("?/dt=*"), &in_b[2..]),
        (at("**/x.json*"), &["b/dt=2026-11-20/hr=05/x.json", "c d/x.jsonl", "f1", "f2"]),
        (at("z*"), &["z"]),
        (uri, &["c d/x.jsonl"]),
        (format!("file://{}", at("b/dt=*/hr=0?/*.json")), &in_b[2..]),
    ] {
        let mut source = FileSource::open(&input, options(false)).unwrap();
        let rows = rest(&mut source).await;
        assert_eq!(rows.iter().map(|row| row.2.as_str()).collect::<Vec<_>>(), ids, "{input}");
    }
    for (input, said) in [("nothing*", "holds no file"), ("b/[", "is no pattern")] {
        let error = FileSource::open(&at(input), options(false)).err().unwrap().to_string();
        assert!(error.contains(said), "{error}");
    }
}

/// What is in an input's place and cannot be read ends the run; nothing of it is passed over.
#[tokio::test]
async fn a_directory_with_what_is_no_data_is_refused() {
    for make in [
        (|path: &Path| fs::write(path.join("more/notes.txt"), "x").unwrap()) as fn(&Path),
        |path| {
            assert!(std::process::Command::new("mkfifo").arg(path.join("more/pipe.jsonl")).status().unwrap().success())
        },
        |path| symlink(path, path.join("more/back")).unwrap(),
        |path| symlink("nowhere.jsonl", path.join("more/x.jsonl")).unwrap(),
        |path| symlink(path.join("z"), path.join("more/again")).unwrap(),
        |path| symlink(path.join("z/b.jsonl"), path.join("more/again.jsonl")).unwrap(),
        |path| {
            symlink("/usr/share", path.join("z/share")).unwrap();
            symlink("/usr/share", path.join("more/share")).unwrap();
        },
    ] {
        let directory = TempDir::new().unwrap();
        fs::create_dir(directory.path().join("more")).unwrap();
        fs::create_dir(directory.path().join("z")).unwrap();
        for file in ["a.jsonl", "z/b.jsonl"] {
            fs::write(directory.path().join(file), "{\"id\":\"a\",\"ts\":0}\n").unwrap();
        }
        make(directory.path());
        let error = open(directory.path(), false).err().unwrap();
        let named = matches!(error.downcast_ref(), Some(SourceError::BadData(text) | SourceError::Missing(text)) if text.contains("/more/"));
        assert!(named, "{error:#}");
    }
}

/// A pattern looks into no directory that cannot hold what it matches: such a one may be anything.
#[tokio::test]
async fn patterns_look_only_where_they_may_match() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    for file in ["2026-11-20/x.jsonl", "2026-11-20/deep/x.jsonl", "other/x.jsonl"] {
        fs::create_dir_all(path.join(file).parent().unwrap()).unwrap();
        fs::write(path.join(file), format!("{{\"id\":\"{file}\",\"ts\":0}}\n")).unwrap();
    }
    symlink(path, path.join("other/loop")).unwrap();
    symlink("nowhere", path.join("other/y.jsonl")).unwrap();
    symlink("nowhere", path.join("3.jsonl")).unwrap();
    for (pattern, ids) in [
        ("2026*/x.jsonl", &["2026-11-20/x.jsonl"][..]),
        ("2026*/**/x.jsonl", &["2026-11-20/deep/x.jsonl", "2026-11-20/x.jsonl"]),
        ("2026*", &["2026-11-20/deep/x.jsonl", "2026-11-20/x.jsonl"]),
        ("2026*/d??p", &["2026-11-20/deep/x.jsonl"]),
    ] {
        let rows = rest(&mut open(&path.join(pattern), false).unwrap()).await;
        assert_eq!(rows.iter().map(|row| row.2.as_str()).collect::<Vec<_>>(), ids, "{pattern}");
    }
    for pattern in ["**/x.jsonl", "other*", "*.jsonl", "o*/x.jsonl/**", "[a-z]*/y*"] {
        assert!(open(&path.join(pattern), false).is_err(), "{pattern}");
    }
}

/// What an input reads is not where an output may go, by whatever name.
#[test]
fn inputs_overlap_with_what_they_read() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().canonicalize().unwrap();
    for made in ["data/a", "out/dt=2026-11-20", "elsewhere"] {
        fs::create_dir_all(path.join(made)).unwrap();
    }
    fs::write(path.join("data/a/x.jsonl"), "").unwrap();
    fs::write(path.join("out/dt=2026-11-20/x.jsonl"), "").unwrap();
    symlink(path.join("out"), path.join("data/link")).unwrap();
    symlink(path.join("out/dt=2026-11-20/x.jsonl"), path.join("elsewhere/file.jsonl")).unwrap();
    symlink(path.join("out"), path.join("data/a/_hidden")).unwrap();
    for (input, overlaps) in [
        ("out", true),
        ("out/dt=2026-11-20", true),
        ("out/dt=2026-11-20/x.jsonl", true),
        (".", true),
        ("o*", true),
        ("**", true),
        ("*/**/*.jsonl", true),
        ("o?t/*/x.jsonl", true),
        ("data", true),
        ("data/link/dt=*", true),
        ("data/*/x.jsonl", true),
        ("data/l*/**", true),
        ("elsewhere", true),
        ("elsewhere/file.jsonl", true),
        ("elsewhere/f*", true),
        ("data/a", false),
        ("data/a/x.jsonl", false),
        ("data/a/*.jsonl", false),
        ("data/[ab]/x.jsonl", false),
        ("d*/a", false),
        ("elsewhere/x*", false),
        ("not-there", false),
    ] {
        let input = path.join(input).to_str().unwrap().to_owned();
        for input in [format!("file://{input}"), input] {
            assert_eq!(connector::overlaps(&input, &path.join("out")).unwrap(), overlaps, "{input}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_named_with_its_kind() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let kind =
        |error: anyhow::Error| error.downcast_ref::<SourceError>().cloned().unwrap_or_else(|| panic!("{error:?}"));
    assert!(matches!(kind(open(&path.join("none"), false).err().unwrap()), SourceError::Missing(_)));
    assert!(matches!(kind(open(path, false).err().unwrap()), SourceError::Missing(_)));

    let first_error = async |name: &str, content: &[u8], said: &str| {
        fs::write(path.join(name), content).unwrap();
        let error = match open(&path.join(name), false) {
            Ok(mut source) => chunk(&mut source, 9).await.unwrap_err(),
            Err(error) => error,
        };
        let text = format!("{error:#}");
        assert!(matches!(kind(error), SourceError::BadData(_)) && text.contains(name) && text.contains(said), "{text}");
    };
    first_error("a.txt", b"", "unknown format").await;
    first_error("a.csv", b"id,x\n", "no column ts, n; it has id, x").await;
    first_error("empty.parquet", b"", "").await;
    first_error("cut.parquet", b"PAR1 and no more PAR1", "").await;
    let columns = [("id", Arc::new(Int64Array::from(vec![1])) as Arc<dyn Array>)];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(vec![], batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    let bytes = writer.into_inner().unwrap();
    first_error("types.parquet", &bytes, "no column ts").await;

    let gone = at(path, Offset { file: "old.jsonl".into(), position: 5, row: 1, ..Offset::default() });
    assert!(open(path, true).is_err(), "a.txt is refused in a directory too");
    fs::remove_file(path.join("a.txt")).unwrap();
    let mut source = open(path, true).unwrap();
    assert!(
        matches!(kind(source.seek(&gone).await.unwrap_err()), SourceError::BadData(text) if text.contains("old.jsonl is gone"))
    );
    let shrunk = at(path, Offset { file: "a.csv".into(), position: 500, row: 9, ..Offset::default() });
    assert!(matches!(kind(source.seek(&shrunk).await.unwrap_err()), SourceError::BadData(_)));
}

/// Flips bits of a Parquet file: whatever comes, it is rows or an error and never the end of the process.
#[tokio::test]
async fn corrupt_parquet_does_not_bring_the_process_down() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("x.parquet");
    let ids: Vec<String> = (0..500).map(|i| format!("id{i}")).collect();
    parquet(&file, &ids.iter().map(|id| (Some(id.as_str()), Some(0))).collect::<Vec<_>>());
    let good = fs::read(&file).unwrap();
    for i in 0..400_usize {
        let mut bytes = good.clone();
        let bit = i.wrapping_mul(2_654_435_761) % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&file, bytes).unwrap();
        if let Ok(mut source) = open(&file, false) {
            let _ =
                chunk(&mut source, 1000).await.map_err(|e| assert!(format!("{e:#}").contains("x.parquet"), "{e:?}"));
        }
    }
}

/// A key or a type that comes late is seen in small inputs, and in large ones where it is not rare.
#[test]
fn schemas_are_inferred_from_all_files() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let of = |name: &str, sample: Sample| {
        let schema = connector::inferred(path.join(name).to_str().unwrap(), None, "", sample);
        schema.map(|schema| print_schema(&schema).trim_end().replace('\n', ", ")).map_err(|e| format!("{e:#}"))
    };
    for made in ["late", "empty", "csv"] {
        fs::create_dir(path.join(made)).unwrap();
    }
    append(&path.join("late/1.jsonl"), &"{\"a\":1}\n".repeat(1500));
    append(&path.join("late/1.jsonl"), &"{\"a\":1.5,\"b\":true}\n".repeat(1500));
    append(&path.join("late/2.jsonl"), "{\"c\":1}\n");
    for (rows, schema) in [
        (Sample::First, "a int64"),
        (Sample::Spread(None), "a float64, b boolean, c int64"),
        (Sample::Spread(Some(50)), "a float64, b boolean, c int64"),
        (Sample::Spread(Some(1)), "a int64"),
    ] {
        assert_eq!(of("late", rows).unwrap(), schema, "{rows:?}");
    }
    append(&path.join("empty/1.jsonl"), "");
    append(&path.join("empty/2.csv"), "");
    for rows in [Sample::First, Sample::Spread(None), Sample::Spread(Some(9))] {
        assert!(of("empty", rows).unwrap_err().contains("1.jsonl: no row to infer"));
    }
    append(&path.join("empty/3.jsonl"), "{\"a\":1}\n");
    // All files of CSV must have the columns of the first.
    append(&path.join("csv/1.csv"), "a,b\n1,1\n");
    append(&path.join("csv/2.csv"), "b,c,a\nx,1,2\n");
    for rows in [Sample::Spread(None), Sample::Spread(Some(9))] {
        assert_eq!(of("empty", rows).unwrap(), "a int64");
        assert_eq!(of("csv", rows).unwrap(), "a int64, b text");
    }
}

#[tokio::test]
async fn schemas_are_inferred_from_the_first_file() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    parquet(&path.join("x.parquet"), &[(Some("a"), Some(0))]);
    let inferred = |schema: Schema| print_schema(&schema);
    let of = |name: &str| connector::inferred(path.join(name).to_str().unwrap(), None, "ts", Sample::First);
    assert_eq!(inferred(of("x.parquet").unwrap()), "n int64\nts timestamp not null\nid text\n");
    append(&path.join("a.csv"), ",ts\n1,2019-11-24 00:00:00.010255+00:00\n");
    assert_eq!(inferred(of("").unwrap()), "column_1 int64\nts timestamp not null\n");
    let schema = of("a.csv").unwrap();
    let options = FileOptions { schema, ..options(false) };
    let mut source = FileSource::open(path.join("a.csv").to_str().unwrap(), options).unwrap();
    let Poll::Chunk(chunk) = source.read(0, 9).await.unwrap() else { panic!("no rows") };
    assert_eq!((chunk.rows.num_rows(), chunk.rejected), (1, vec![]));
}
