//! The hourly layout, on a local disk and on S3: what is found, and what is read from it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, StringViewArray,
    TimestampMicrosecondArray, TimestampMillisecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::DataType;
use arrow::util::display::array_value_to_string;
use connector::{
    DataFile, Hour, Location, SealedFile, SourceError, Success, hours_there, is_partitioned, list, listed, read, scan,
};
use datafusion::common::stats::Precision;
use datafusion::physical_plan::displayable;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::scalar::ScalarValue;
use futures::TryStreamExt as _;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use parquet::arrow::ArrowWriter;
use tempfile::TempDir;

use testkit::s3;

fn local() -> (TempDir, Location) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("events");
    let location = Location::parse(&root.to_string_lossy(), &BTreeMap::new()).unwrap();
    (directory, location)
}

async fn put(root: &Location, name: &str, bytes: impl Into<Vec<u8>>) -> DataFile {
    let path = Path::parse(format!("{}/{name}", root.prefix)).unwrap();
    let bytes = bytes.into();
    let length = bytes.len() as u64;
    root.store.put(&path, bytes.into()).await.unwrap();
    DataFile { path, name: String::new(), bytes: length, version: String::new(), sum: None }
}

fn parquet(rows: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, rows.schema(), None).unwrap();
    writer.write(rows).unwrap();
    writer.close().unwrap();
    bytes
}

fn rows(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

fn hour(text: &str) -> Hour {
    text.parse().unwrap()
}

fn text(batch: &RecordBatch) -> Vec<String> {
    let cell = |row| move |column: &ArrayRef| array_value_to_string(column, row).unwrap();
    (0..batch.num_rows()).map(|r| batch.columns().iter().map(cell(r)).collect::<Vec<_>>().join(" ")).collect()
}

async fn query(root: &Location, files: &[DataFile], sql: &str) -> Vec<String> {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    context.register_table("t", scan(root, files).await.unwrap()).unwrap();
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    batches.iter().flat_map(text).collect()
}

fn source_error(error: &anyhow::Error) -> &SourceError {
    error.downcast_ref().unwrap_or_else(|| panic!("untyped: {error:#}"))
}

fn sealed() -> Success {
    let file = SealedFile { name: "part-0.parquet".into(), rows: 2, bytes: 3, checksum: "0f".repeat(16) };
    let key = vec!["event_id".to_string()];
    Success {
        format: 1,
        command: "ingest".into(),
        output: "events".into(),
        key,
        rows: 2,
        files: vec![file],
        ..Success::default()
    }
}

/// Three hours that are there, in each of the states that an hour can be in, among everything that is none.
async fn lay_out(root: &Location) {
    let mut facts = serde_json::to_value(sealed()).unwrap();
    facts["invented_later"] = true.into();
    let mut newer = facts.clone();
    newer["format"] = 2.into();
    let files = [
        ("dt=2026-11-20/hr=05/part-0.parquet", "abc".to_string()),
        ("dt=2026-11-20/hr=05/_SUCCESS", facts.to_string()),
        ("dt=2026-11-20/hr=06/open-2-b.parquet", "b".to_string()),
        ("dt=2026-11-20/hr=06/open-1-a=é.parquet", "ab".to_string()),
        ("dt=2026-11-20/hr=06/_open-3-c.parquet", "hidden".to_string()),
        ("dt=2026-11-20/hr=06/.part-0.parquet.crc", "hidden".to_string()),
        ("dt=2026-11-20/hr=06/.hidden.parquet", "hidden".to_string()),
        ("dt=2026-11-20/hr=06/README.md", "no data".to_string()),
        ("dt=2026-11-20/hr=06/sub/part-0.parquet", "deeper".to_string()),
        ("dt=2026-11-20/hr=06/_temporary/0/part-0.parquet", "hidden".to_string()),
        ("dt=1969-12-31/hr=23/_SUCCESS", String::new()),
        ("dt=1970-01-01/hr=00/_SUCCESS", newer.to_string()),
        ("dt=1970-01-01/hr=00/x.parquet", "x".to_string()),
        ("dt=2026-11-20/hr=7/part-0.parquet", "no zero".to_string()),
        ("dt=2026-11-20/hr=24/part-0.parquet", "bad name".to_string()),
        ("dt=2026-11-31/hr=05/part-0.parquet", "bad name".to_string()),
        ("dt=2026-11-20/part-0.parquet", "too high".to_string()),
        ("dt=2026-11-20/hr=08/_started", "only hidden".to_string()),
        ("dt=2026-11-20/hr=08/notes.csv", "no data".to_string()),
        ("country=US/hr=05/part-0.parquet", "foreign".to_string()),
        ("_rescan/late/dt=2026-11-20/hr=05/part-0.parquet", "ours".to_string()),
        ("part-0.parquet", "too high".to_string()),
    ];
    for (name, content) in files {
        put(root, name, content).await;
    }
    let beside = Location { prefix: Path::from(format!("{}-2", root.prefix)), ..root.clone() };
    put(&beside, "dt=2026-11-20/hr=09/part-0.parquet", "a neighbour").await;
}

async fn layout_is_read(root: &Location) {
    assert!(list(root, ..).await.unwrap().is_empty());
    assert!(!is_partitioned(root).await.unwrap());
    lay_out(root).await;
    assert!(is_partitioned(root).await.unwrap());

    let hours = list(root, ..).await.unwrap();
    let found: Vec<_> = hours
        .iter()
        .map(|(hour, found)| {
            let names: Vec<_> = found.files.iter().map(|f| (f.name.as_str(), f.bytes)).collect();
            (hour.to_string(), names, found.sealed, found.success.clone())
        })
        .collect();
    let open = vec![("open-1-a=é.parquet", 2), ("open-2-b.parquet", 1), ("sub/part-0.parquet", 6)];
    assert_eq!(
        found,
        [
            ("1969-12-31T23".to_string(), vec![], true, None),
            ("1970-01-01T00".to_string(), vec![("x.parquet", 1)], true, None),
            ("2026-11-20T05".to_string(), vec![("part-0.parquet", 3)], true, Some(sealed())),
            ("2026-11-20T06".to_string(), open, false, None),
            ("2026-11-20T07".to_string(), vec![("part-0.parquet", 7)], false, None),
        ]
    );

    let some = list(root, hour("1970-01-01T00")..hour("2026-11-20T06")).await.unwrap();
    assert_eq!(some.keys().map(Hour::to_string).collect::<Vec<_>>(), ["1970-01-01T00", "2026-11-20T05"]);
    assert!(list(root, hour("2026-11-20T08")..).await.unwrap().is_empty());

    put(root, "dt=2026-11-20/hr=05/part-0.parquet", "abd").await;
    let again = list(root, ..).await.unwrap();
    let file = |hours: &BTreeMap<Hour, connector::HourFiles>| hours[&hour("2026-11-20T05")].files[0].clone();
    assert_ne!(file(&again).version, file(&hours).version);
    let written = serde_json::to_string(&file(&again)).unwrap();
    assert_eq!(
        serde_json::from_str::<DataFile>(&written).unwrap(),
        DataFile { sum: None, name: String::new(), ..file(&again) }
    );
}

#[tokio::test]
async fn layout_on_disk() {
    let (_directory, root) = local();
    layout_is_read(&root).await;
}

#[tokio::test]
async fn layout_on_s3() {
    let Some(root) = s3::bucket("layout") else { return };
    layout_is_read(&root).await;
}

#[tokio::test]
async fn a_place_of_files_is_not_partitioned() {
    let (_directory, root) = local();
    put(&root, "events.parquet", "x").await;
    put(&root, "dt=2026-11-20/events.parquet", "x").await;
    put(&root, "dt=today/hr=05/events.parquet", "x").await;
    put(&root, "2026/11/20/05/events.parquet", "x").await;
    put(&root, "dt=2026-11-20/hr=05/events.jsonl", "x").await;
    assert!(!is_partitioned(&root).await.unwrap());
    put(&root, "date=2026-11-20/hour=5/US/events.parquet", "x").await;
    assert!(is_partitioned(&root).await.unwrap());

    let (directory, root) = local();
    std::fs::create_dir_all(directory.path().join("events/dt=2026-11-21/hr=00")).unwrap();
    assert!(is_partitioned(&root).await.unwrap(), "hours that are empty");
}

/// Hours as engines name them, further levels below them, and files that are no data of theirs.
#[tokio::test]
async fn what_is_in_a_place_is_in_an_hour_or_named() {
    for (path, found) in [
        ("dt=2026-11-20/hr=8/x.parquet", Some("2026-11-20T08")),
        ("dt=20261120/hr=08/x.parquet", Some("2026-11-20T08")),
        ("date=2026-11-20/hour=8/US/x.parquet", Some("2026-11-20T08")),
        ("year=2026/month=1/day=2/hour=3/a/b/x.parquet", Some("2026-01-02T03")),
        ("dt=2026-11-20/hr=24/x.parquet", None),
        ("dt=2026-11-20/x.parquet", None),
        ("dt=2026-11-20/hr=08/x.json", None),
        ("other/x.parquet", None),
        ("x.parquet", None),
    ] {
        let (_directory, root) = local();
        for hidden in ["_delta_log/0.json", "dt=2026-11-20/hr=08/_x/x.parquet", "dt=2026-11-20/hr=08/.x.parquet.crc"] {
            put(&root, hidden, "x").await;
        }
        put(&root, path, "x").await;
        let all = listed(&root, ..).await.unwrap();
        let hours: Vec<String> = all.hours.keys().map(Hour::to_string).collect();
        assert_eq!(hours, found.into_iter().collect::<Vec<_>>(), "{path}");
        assert_eq!(all.hours.values().map(|hour| hour.files.len()).sum::<usize>(), hours.len());
        match all.whole(&root, &..) {
            Ok(_) => assert!(found.is_some(), "{path}"),
            Err(e) => assert!(found.is_none() && e.to_string().contains(&format!("{path} is not read")), "{e}"),
        }
        // A run about other hours is not ended by what is in none of them.
        let elsewhere = listed(&root, ..).await.unwrap().whole(&root, &(hour("2027-01-01T00")..));
        assert_eq!(elsewhere.is_err(), found.is_none() && !path.contains("hr=08"), "{path}");
    }
}

/// An hour has one directory, however its name is spelled.
#[tokio::test]
async fn an_hour_in_two_directories_is_refused() {
    for [one, other] in [
        ["dt=2026-11-20/hr=08", "dt=2026-11-20/hr=8"],
        ["dt=2026-11-20/hr=08", "dt=20261120/hr=08"],
        ["dt=2026-11-20/hr=08", "year=2026/month=11/day=20/hour=8"],
    ] {
        for files in [&["a.parquet"][..], &["_SUCCESS"], &["a.parquet", "_SUCCESS"]] {
            let (_directory, root) = local();
            put(&root, &format!("{one}/a.parquet"), "x").await;
            put(&root, &format!("{one}/_SUCCESS"), "").await;
            for file in files {
                put(&root, &format!("{other}/{file}"), "x").await;
            }
            let hours = list(&root, ..).await.unwrap();
            let error = hours[&hour("2026-11-20T08")].data(&root).unwrap_err();
            assert!(matches!(source_error(&error), SourceError::BadData(_)), "{error:#}");
            let said = error.to_string();
            assert!(said.contains(&format!("/{one} ")) && said.contains(&format!("/{other} ")), "{said}");
        }
    }
    let (_directory, root) = local();
    put(&root, "dt=2026-11-20/hr=08/hr=9/a.parquet", "x").await;
    put(&root, "dt=2026-11-20/hr=08/a.parquet", "x").await;
    let hours = list(&root, ..).await.unwrap();
    let files = hours[&hour("2026-11-20T08")].data(&root).unwrap();
    assert_eq!(files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["a.parquet", "hr=9/a.parquet"]);
}

/// What is hidden on the local disk is neither followed nor judged, and what is not must lead somewhere.
#[tokio::test]
async fn hidden_links_beside_hours() {
    let (directory, root) = local();
    let events = directory.path().join("events");
    put(&root, "dt=2026-11-20/hr=08/a.parquet", "x").await;
    for (target, link) in [
        (&events, "_loop"),
        (&events, "dt=2026-11-20/.loop"),
        (&events, "dt=2026-11-20/hr=08/_loop"),
        (&directory.path().join("nowhere"), "dt=2026-11-20/hr=08/.#a.parquet"),
        (&directory.path().join("nowhere"), "_nowhere"),
    ] {
        symlink(target, events.join(link)).unwrap();
    }
    assert!(is_partitioned(&root).await.unwrap());
    assert_eq!(hours_there(&root).await.unwrap().len(), 1);
    let hours = listed(&root, ..).await.unwrap().whole(&root, &..).unwrap();
    assert_eq!(hours[&hour("2026-11-20T08")].files.len(), 1);
    for (target, link) in [("nowhere", "b.parquet"), ("../hr=08", "back"), ("../hr=07", "again")] {
        let link = events.join("dt=2026-11-20/hr=08").join(link);
        std::fs::create_dir_all(events.join("dt=2026-11-20/hr=07")).unwrap();
        symlink(target, &link).unwrap();
        let error = listed(&root, ..).await.unwrap_err();
        assert!(matches!(source_error(&error), SourceError::BadData(_) | SourceError::Missing(_)), "{error:#}");
        assert!(is_partitioned(&root).await.is_err() && hours_there(&root).await.is_err());
        std::fs::remove_file(link).unwrap();
    }
}

/// Consoles of S3 and Hadoop make empty objects for directories.
#[tokio::test]
async fn objects_that_stand_for_directories_are_passed_over() {
    let Some(port) = s3::port("directories on S3") else { return };
    let bucket = "directories";
    s3::put(port, bucket, &[]);
    let root = s3::location(port, &format!("s3://{bucket}/events"));
    let directories =
        ["/", "/dt=2026-11-20/", "/dt=2026-11-20/hr=00/", "/dt=2026-11-20/hr=08/", "/dt=2026-11-20_$folder$"];
    for directory in directories.iter().chain(&["/dt=2026-11-20/hr=08_$folder$", "/dt=2026-11-20/hr=08/country=US/"]) {
        s3::put(port, &format!("{bucket}/events{directory}"), &[]);
    }
    assert!(hours_there(&root).await.unwrap().is_empty());
    assert!(is_partitioned(&root).await.unwrap(), "hours that are empty");
    for file in ["dt=2026-11-20/hr=08/country=US/a.parquet", "dt=2026-11-20/hr=08/_SUCCESS"] {
        s3::put(port, &format!("{bucket}/events/{file}"), if file.ends_with("SUCCESS") { b"" } else { b"x" });
    }
    assert!(is_partitioned(&root).await.unwrap());
    assert_eq!(hours_there(&root).await.unwrap(), BTreeMap::from([(hour("2026-11-20T08"), true)]));
    let hours = listed(&root, ..).await.unwrap().whole(&root, &..).unwrap();
    assert_eq!(hours.keys().map(Hour::to_string).collect::<Vec<_>>(), ["2026-11-20T08"]);
    assert_eq!(hours[&hour("2026-11-20T08")].data(&root).unwrap().len(), 1);
}

/// Three files of one table, as three versions of a writer, or three writers, leave them.
async fn mixed_files(root: &Location) -> Vec<DataFile> {
    let old = rows(vec![
        ("event_id", Arc::new(StringArray::from(vec!["a", "b"]))),
        ("ts", Arc::new(TimestampMillisecondArray::from(vec![-1, 1_000]).with_timezone("UTC"))),
        ("rank", Arc::new(Int32Array::from(vec![Some(1), None]))),
        ("p", Arc::new(Float32Array::from(vec![0.5, -0.0]))),
    ]);
    let new = rows(vec![
        ("p", Arc::new(Float64Array::from(vec![f64::NAN]))),
        ("event_id", Arc::new(StringViewArray::from(vec!["a text of more than twelve bytes"]))),
        ("ts", Arc::new(TimestampMicrosecondArray::from(vec![2_000_001]))),
        ("rank", Arc::new(Int64Array::from(vec![i64::MAX]))),
        ("_offset", Arc::new(Int64Array::from(vec![7]))),
    ]);
    let empty = old.slice(0, 0);
    vec![
        put(root, "a.parquet", parquet(&old)).await,
        put(root, "b.parquet", parquet(&new)).await,
        put(root, "c.parquet", parquet(&empty)).await,
    ]
}

const MIXED: [&str; 3] = [
    "a 1969-12-31T23:59:59.999 1 0.5 ",
    "b 1970-01-01T00:00:01  -0.0 ",
    "a text of more than twelve bytes 1970-01-01T00:00:02.000001 9223372036854775807 NaN 7",
];

async fn files_are_united(root: &Location) {
    let files = mixed_files(root).await;
    let table = scan(root, &files).await.unwrap();
    let columns: Vec<_> = table.schema().fields().iter().map(|f| format!("{} {}", f.name(), f.data_type())).collect();
    assert_eq!(columns, ["event_id Utf8View", "ts Timestamp(µs)", "rank Int64", "p Float64", "_offset Int64"]);
    assert_eq!(query(root, &files, "select * from t order by ts").await, MIXED);
    assert_eq!(
        query(root, &files, "select max(ts), count(_offset), count(*) from t").await,
        ["1970-01-01T00:00:02.000001 1 3"]
    );
    assert_eq!(query(root, &files, "select event_id from t where ts > '1970-01-01T00:00:01.5'").await.len(), 1);
    assert_eq!(query(root, &files, "select event_id from t where rank = 1 and p < 1").await, ["a"]);

    let statistics = table.statistics().unwrap();
    assert_eq!(statistics.num_rows, Precision::Exact(3));
    assert_eq!(statistics.column_statistics[4].null_count, Precision::Exact(2));
    let batches: Vec<RecordBatch> = read(root, &files[0]).await.unwrap().try_collect().await.unwrap();
    let batch = concat_batches(&batches[0].schema(), &batches).unwrap();
    assert_eq!((batch.column(0).data_type(), text(&batch).len()), (&DataType::Utf8View, 2));
    assert_eq!(text(&batch)[0], "a 1969-12-31T23:59:59.999 1 0.5");
}

#[tokio::test]
async fn schemas_united_on_disk() {
    let (_directory, root) = local();
    files_are_united(&root).await;
}

#[tokio::test]
async fn schemas_united_on_s3() {
    let Some(root) = s3::bucket("schemas") else { return };
    files_are_united(&root).await;
}

#[tokio::test]
async fn only_bounds_of_the_tables_own_type_are_statistics() {
    let (_directory, root) = local();
    let milliseconds = rows(vec![("ts", Arc::new(TimestampMillisecondArray::from(vec![1, 2])))]);
    let microseconds = rows(vec![("ts", Arc::new(TimestampMicrosecondArray::from(vec![1, 2]).with_timezone("UTC")))]);
    let files =
        [put(&root, "a.parquet", parquet(&milliseconds)).await, put(&root, "b.parquet", parquet(&microseconds)).await];
    let bounds = async |files: &[DataFile]| {
        let column = scan(&root, files).await.unwrap().statistics().unwrap().column_statistics.remove(0);
        (column.min_value, column.max_value)
    };
    let time = |us| Precision::Exact(ScalarValue::TimestampMicrosecond(Some(us), None));
    assert_eq!(bounds(&files[1..]).await, (time(1), time(2)));
    assert_eq!(bounds(&files).await, (Precision::Absent, Precision::Absent));
    assert_eq!(
        query(&root, &files, "select min(ts), max(ts) from t").await,
        ["1970-01-01T00:00:00.000001 1970-01-01T00:00:00.002"]
    );
    assert_eq!(query(&root, &files, "select ts from t where ts >= '1970-01-01T00:00:00.002'").await.len(), 1);
}

#[tokio::test]
async fn not_a_number_is_read_as_it_is() {
    let (_directory, root) = local();
    let column = Float64Array::from(vec![f64::NAN, 1.5, f64::NAN]);
    let file = put(&root, "a.parquet", parquet(&rows(vec![("x", Arc::new(column))]))).await;
    let files = [file];
    assert_eq!(query(&root, &files, "select x from t").await, ["NaN", "1.5", "NaN"]);
    assert_eq!(query(&root, &files, "select count(*), max(x) from t").await, ["3 NaN"]);
    let batches: Vec<RecordBatch> = read(&root, &files[0]).await.unwrap().try_collect().await.unwrap();
    assert_eq!(batches.iter().flat_map(text).collect::<Vec<_>>(), ["NaN", "1.5", "NaN"]);
}

#[tokio::test]
async fn filters_and_projections_reach_the_reader() {
    let (_directory, root) = local();
    let id: Int64Array = (0..100_000).collect();
    let body: StringArray = (0..100_000).map(|i| Some(format!("body {i}"))).collect();
    let file = put(&root, "a.parquet", parquet(&rows(vec![("id", Arc::new(id)), ("body", Arc::new(body))]))).await;
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    context.register_table("t", scan(&root, &[file]).await.unwrap()).unwrap();
    let plan = context.sql("select body from t where id = 77777").await.unwrap().create_physical_plan().await.unwrap();
    let shown = displayable(plan.as_ref()).indent(false).to_string();
    assert!(!shown.contains("FilterExec") && shown.contains("predicate=id@0 = 77777"), "{shown}");
    assert!(shown.contains("projection=[body]"), "{shown}");
    let rows = datafusion::physical_plan::collect(plan, context.task_ctx()).await.unwrap();
    assert_eq!(text(&rows[0]), ["body 77777"]);
    let count = context.sql("explain select count(*) from t").await.unwrap().collect().await.unwrap();
    assert!(text(&count[0]).concat().contains("PlaceholderRowExec"), "{:?}", text(&count[0]));
}

#[tokio::test]
async fn files_that_cannot_be_read_say_which_and_why() {
    let (_directory, root) = local();
    let good = put(&root, "a.parquet", parquet(&rows(vec![("id", Arc::new(Int64Array::from(vec![1])))]))).await;
    let other = put(&root, "b.parquet", parquet(&rows(vec![("id", Arc::new(StringArray::from(vec!["1"])))]))).await;
    let torn = put(&root, "c.parquet", "PAR1 and then nothing of the kind").await;
    let path = Path::parse("not/there.parquet").unwrap();
    let gone = DataFile { path, name: String::new(), bytes: 100, version: String::new(), sum: None };
    let error = async |files: &[DataFile]| scan(&root, files).await.unwrap_err();

    let clash = error(&[good, other]).await;
    assert!(matches!(source_error(&clash), SourceError::BadData(_)));
    assert!(clash.to_string().contains("column id has no common type: it is Int64 in "), "{clash}");
    let bad = error(&[torn]).await;
    assert!(matches!(source_error(&bad), SourceError::BadData(what) if what.contains("c.parquet")), "{bad:#}");
    assert!(matches!(source_error(&error(&[gone]).await), SourceError::Missing(_)));
    assert!(matches!(source_error(&error(&[]).await), SourceError::Missing(_)));
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_missing() {
    let Some(port) = s3::port("missing buckets") else { return };
    let error = list(&s3::location(port, "s3://not-there/x"), ..).await.unwrap_err();
    assert!(matches!(source_error(&error), SourceError::Missing(_)), "{error:#}");
}

/// A server that answers every request with this status.
fn answering(status: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut line = String::new();
            let mut request = BufReader::new(connection.try_clone().unwrap());
            while request.read_line(&mut line).unwrap() > 2 {
                line.clear();
            }
            write!(connection, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        }
    });
    port
}

#[tokio::test]
async fn a_server_that_refuses_says_so() {
    let denied = list(&s3::location(answering("403 Forbidden"), "s3://bucket/x"), ..).await.unwrap_err();
    assert!(matches!(source_error(&denied), SourceError::Denied(_)), "{denied:#}");
    let signature = is_partitioned(&s3::location(answering("401 Unauthorized"), "s3://bucket/x")).await.unwrap_err();
    assert!(matches!(source_error(&signature), SourceError::Denied(_)), "{signature:#}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = list(&s3::location(port, "s3://bucket/x"), ..).await.unwrap_err();
    assert!(matches!(source_error(&error), SourceError::Unavailable(_)), "{error:#}");
}
