//! Columns of every type that Parquet files commonly have: the same values through files as through hours, as a stream
//! as at once, and as keys.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow::array::types::{Int32Type, Int64Type};
use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use arrow::util::display::array_value_to_string;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use datafusion::parquet::data_type::{ByteArray, ByteArrayType, Int96, Int96Type};
use datafusion::parquet::file::writer::SerializedFileWriter;
use datafusion::parquet::schema::parser::parse_message_type;

use super::workdir::{Workdir, walk};

/// 2026-11-20T05:00:00.
const HOUR: i64 = 1_795_150_800;
const IDS: [&str; 4] = ["a", "b", "c", "d"];

/// A column of four values for each type: two that are the same, another, and none.
fn columns() -> Vec<(&'static str, ArrayRef)> {
    let (item, times) = (|of| Arc::new(Field::new("item", of, true)), [Some(HOUR), Some(HOUR), Some(HOUR + 1), None]);
    let text = [Some("x"), Some("x"), Some("y"), None];
    let bytes = [Some(&b"\x00\xff"[..]), Some(b"\x00\xff"), Some(b"a longer one than twelve"), None];
    let ints = Int64Array::from(vec![Some(3), Some(3), Some(4), None]);
    let list = || {
        let rows = [Some(vec![Some(1), None]), Some(vec![Some(1), None]), Some(vec![]), None];
        ListArray::from_iter_primitive::<Int32Type, _, _>(rows)
    };
    let structure = StructArray::from(vec![
        (Arc::new(Field::new("n", DataType::Int64, true)), Arc::new(ints.clone()) as ArrayRef),
        (Arc::new(Field::new("s", DataType::Utf8, true)), Arc::new(StringArray::from(text.to_vec())) as ArrayRef),
    ]);
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    for key in text {
        key.into_iter().for_each(|key| {
            map.keys().append_value(key);
            map.values().append_value(7);
        });
        map.append(key.is_some()).unwrap();
    }
    let structs = ListArray::new(
        item(structure.data_type().clone()),
        OffsetBuffer::from_lengths([1, 1, 2, 0]),
        Arc::new(structure.clone()),
        None,
    );
    let zoned = TimestampMillisecondArray::from(times.map(|t| t.map(|t| t * 1000)).to_vec()).with_timezone("UTC");
    vec![
        ("boolean", Arc::new(BooleanArray::from(vec![Some(true), Some(true), Some(false), None]))),
        ("int8", Arc::new(Int8Array::from(vec![Some(-128), Some(-128), Some(127), None]))),
        ("int16", Arc::new(Int16Array::from(vec![Some(-32768), Some(-32768), Some(32767), None]))),
        ("int32", Arc::new(Int32Array::from(vec![Some(1), Some(1), Some(i32::MIN), None]))),
        ("int64", Arc::new(Int64Array::from(vec![Some(1), Some(1), Some(i64::MIN), None]))),
        ("uint8", Arc::new(UInt8Array::from(vec![Some(255), Some(255), Some(0), None]))),
        ("uint16", Arc::new(UInt16Array::from(vec![Some(65535), Some(65535), Some(0), None]))),
        ("uint32", Arc::new(UInt32Array::from(vec![Some(u32::MAX), Some(u32::MAX), Some(0), None]))),
        ("uint64", Arc::new(UInt64Array::from(vec![Some(u64::MAX), Some(u64::MAX), Some(u64::MAX - 1), None]))),
        ("float16", Arc::new(arrow::compute::cast(&ints, &DataType::Float16).unwrap())),
        ("float32", Arc::new(Float32Array::from(vec![Some(0.1), Some(0.1), Some(-1e30), None]))),
        ("float64", Arc::new(Float64Array::from(vec![Some(0.1), Some(0.1), Some(-1e300), None]))),
        (
            "decimal",
            Arc::new(
                Decimal128Array::from(vec![Some(123), Some(123), Some(-99), None])
                    .with_precision_and_scale(5, 2)
                    .unwrap(),
            ),
        ),
        (
            "wide_decimal",
            Arc::new(
                Decimal128Array::from(vec![Some(10_i128.pow(37)), Some(10_i128.pow(37)), Some(-99), None])
                    .with_precision_and_scale(38, 10)
                    .unwrap(),
            ),
        ),
        ("decimal256", arrow::compute::cast(&ints, &DataType::Decimal256(60, 3)).unwrap()),
        ("date", Arc::new(Date32Array::from(vec![Some(-1), Some(-1), Some(20_000), None]))),
        ("time_ms", Arc::new(Time32MillisecondArray::from(vec![Some(1), Some(1), Some(86_399_999), None]))),
        ("time_us", Arc::new(Time64MicrosecondArray::from(vec![Some(1), Some(1), Some(86_399_999_999), None]))),
        ("time_ns", Arc::new(Time64NanosecondArray::from(vec![Some(1), Some(1), Some(86_399_999_999_999), None]))),
        (
            "timestamp_ns",
            Arc::new(TimestampNanosecondArray::from(times.map(|t| t.map(|t| t * 1_000_000_000)).to_vec())),
        ),
        ("timestamp_zone", Arc::new(zoned)),
        ("text", Arc::new(StringArray::from(text.to_vec()))),
        ("large_text", Arc::new(LargeStringArray::from(text.to_vec()))),
        ("text_view", Arc::new(StringViewArray::from(text.to_vec()))),
        ("dictionary", Arc::new(text.into_iter().collect::<DictionaryArray<Int32Type>>())),
        ("dictionary_of_64", Arc::new(text.into_iter().collect::<DictionaryArray<Int64Type>>())),
        ("binary", Arc::new(BinaryArray::from(bytes.to_vec()))),
        ("large_binary", Arc::new(LargeBinaryArray::from(bytes.to_vec()))),
        ("binary_view", Arc::new(BinaryViewArray::from(bytes.to_vec()))),
        (
            "fixed_binary",
            Arc::new(
                FixedSizeBinaryArray::try_from_sparse_iter_with_size(
                    [Some([0, 1]), Some([0, 1]), Some([9, 9]), None].into_iter(),
                    2,
                )
                .unwrap(),
            ),
        ),
        ("list", Arc::new(list())),
        ("large_list", arrow::compute::cast(&list(), &DataType::LargeList(item(DataType::Int32))).unwrap()),
        ("struct", Arc::new(structure)),
        ("structs", Arc::new(structs)),
        ("map", Arc::new(map.finish())),
    ]
}

fn write(to: &Path, rows: &RecordBatch) {
    let mut writer = ArrowWriter::try_new(File::create(to).unwrap(), rows.schema(), None).unwrap();
    writer.write(rows).unwrap();
    writer.close().unwrap();
}

/// Events with these columns, as a file and as an hour.
fn events(dir: &Workdir, columns: &[(&str, ArrayRef)]) {
    let text = |texts: [&str; 4]| Arc::new(StringArray::from(texts.to_vec())) as ArrayRef;
    let times = TimestampMicrosecondArray::from((0..4).map(|n| HOUR * 1_000_000 + n).collect::<Vec<_>>());
    let mut all =
        vec![("event_id", text(IDS)), ("ts", Arc::new(times)), ("request_id", text(["r1", "r1", "r2", "r3"]))];
    all.extend(columns.iter().cloned());
    let nullable = all.into_iter().map(|(name, column)| (name, column, true));
    let rows = RecordBatch::try_from_iter_with_nullable(nullable).unwrap();
    fs::create_dir_all(dir.path("hours/dt=2026-11-20/hr=05")).unwrap();
    dir.write("hours/dt=2026-11-20/hr=05/_SUCCESS", "");
    write(&dir.path("e.parquet"), &rows);
    write(&dir.path("hours/dt=2026-11-20/hr=05/e.parquet"), &rows);
}

fn shown(column: &dyn Array, row: usize) -> String {
    // Times have no zone in outputs: they are UTC.
    array_value_to_string(column, row).unwrap().trim_end_matches('Z').to_owned()
}

/// The rows of an output as text, by the columns that are asked for, in order.
fn read(dir: &Workdir, out: &str, columns: &[&str]) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let parts = walk(&dir.path(out)).into_iter().filter(|file| {
        let name = file.to_string_lossy();
        name.ends_with(".parquet") && !name.contains("/_rescan") && name.contains("dt=")
    });
    for part in parts {
        for batch in ParquetRecordBatchReaderBuilder::try_new(File::open(part).unwrap()).unwrap().build().unwrap() {
            let batch = batch.unwrap();
            let column = |name: &&str| batch.column_by_name(name).unwrap_or_else(|| panic!("{out} has no {name}"));
            let held: Vec<_> = columns.iter().map(column).collect();
            rows.extend((0..batch.num_rows()).map(|row| held.iter().map(|c| shown(c, row)).collect::<Vec<_>>()));
        }
    }
    rows.sort();
    rows
}

const FILE: &str = "--in impressions=e.parquet --in plays=e.parquet --schema infer";
const HOURS: &str = "--in impressions=hours --in plays=hours";

/// 0.0 and -0.0 are one key, and so are all NaN: at once and as a stream, however it is cut.
#[test]
fn floats_that_are_equal_are_one_key() {
    let nan = |bits: u64| f64::from_bits(bits);
    let (some, other) = (nan(0x7ff8_0000_0000_0001), nan(0xfff8_0000_0000_0000));
    let scores = |of: [f64; 4]| Arc::new(Float64Array::from(of.to_vec())) as ArrayRef;
    let single = |of: [f64; 4]| Arc::new(Float32Array::from(of.map(|x| x as f32).to_vec())) as ArrayRef;
    for (kind, zeros, nans) in [
        ("float64", scores([0.0, -0.0, 0.0, -0.0]), scores([some, other, f64::NAN, some])),
        ("float32", single([0.0, -0.0, 0.0, -0.0]), single([some, other, f64::NAN, some])),
    ] {
        for (score, shown) in [(zeros, "0.0"), (nans, "NaN")] {
            let dir = Workdir::new();
            events(&dir, &[("score", score.clone()), ("other", score.clone())]);
            let cuts = ["--max-rows 1", "--max-rows 2", "--max-rows 100"].map(|cut| format!("{FILE} {cut}"));
            let pairs =
                (0..4).flat_map(|i| (i..4).map(move |p| vec![IDS[i].to_owned(), IDS[p].to_owned(), shown.to_owned()]));
            let pairs: Vec<_> = pairs.collect();
            for (at, inputs) in cuts.iter().map(String::as_str).chain([HOURS]).enumerate() {
                println!("{kind} {shown} {inputs}");
                dir.ok(&format!("join {inputs} --on score --out j{at}"));
                let columns = ["impression_event_id", "play_event_id", "score"];
                assert_eq!(read(&dir, &format!("j{at}"), &columns), pairs);
                dir.ok(&format!("aggregate {inputs} --by score --out c{at}"));
                let group = vec![vec![shown.to_owned(), "3".to_owned(), "3".to_owned()]];
                assert_eq!(read(&dir, &format!("c{at}"), &["score", "impressions", "plays"]), group);
            }
            for at in 0..3 {
                dir.ok(&format!("reconcile --batch j3 --stream j{at}"));
                dir.ok(&format!("reconcile --batch c3 --stream c{at}"));
            }
            // What nothing compares stays as it is.
            dir.ok("ingest --in e.parquet --out kept");
            let as_it_was: Vec<_> = (0..4).map(|row| vec![self::shown(&score, row)]).collect();
            let mut kept = read(&dir, "kept", &["event_id", "other"]);
            kept.iter_mut().for_each(|row| drop(row.remove(0)));
            assert_eq!(kept, as_it_was);
        }
    }
}

#[test]
fn every_type_passes_from_files_as_from_hours() {
    let (dir, columns) = (Workdir::new(), columns());
    events(&dir, &columns);
    dir.ok("ingest --in e.parquet --out from_file");
    dir.ok("ingest --in hours --out from_hours");
    dir.ok("ingest --in from_file --replay --out again");
    dir.ok("ingest --in e.parquet --max-rows 1 --where event_id<>'z' --out by_one");
    dir.ok(&format!("join {FILE} --out stream"));
    dir.ok(&format!("join {FILE} --max-rows 1 --out stream_by_one"));
    dir.ok(&format!("join {HOURS} --out batch"));
    dir.ok("join --in impressions=from_file --in plays=again --replay --out replayed");
    let mut wrong = BTreeMap::new();
    for (name, column) in &columns {
        let expected: Vec<_> =
            IDS.iter().enumerate().map(|(row, id)| vec![(*id).to_owned(), shown(column, row)]).collect();
        for out in ["from_file", "from_hours", "again", "by_one"] {
            let got = read(&dir, out, &["event_id", name]);
            if got != expected {
                wrong.insert((*name, out), (got, expected.clone()));
            }
        }
        // Each pair has the columns of both rows; b meets a too.
        let of = |id: &str| expected.iter().find(|row| row[0] == id).unwrap()[1].clone();
        let pair = |(i, p): (&str, &str)| vec![i.to_owned(), p.to_owned(), of(i), of(p)];
        let expected: Vec<_> = [("a", "a"), ("a", "b"), ("b", "b"), ("c", "c"), ("d", "d")].map(pair).into();
        for out in ["stream", "stream_by_one", "batch", "replayed"] {
            let (i, p) = (format!("impression_{name}"), format!("play_{name}"));
            let got = read(&dir, out, &["impression_event_id", "play_event_id", &i, &p]);
            if got != expected {
                wrong.insert((*name, out), (got, expected.clone()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    dir.ok("reconcile --batch batch --stream stream_by_one");
}

/// A key of any type but nested ones is a key; these are refused with the flag.
#[test]
fn every_type_is_a_key_or_is_refused() {
    let (dir, mut columns) = (Workdir::new(), columns());
    // What differs from another by its width alone.
    let twins = ["int8", "int16", "uint8", "uint16", "time_us", "text_view", "large_binary", "binary_view"];
    columns.retain(|(name, _)| !twins.contains(name));
    events(&dir, &columns);
    let mut wrong = Vec::new();
    for (name, column) in &columns {
        let mut grouped = BTreeMap::<String, Vec<usize>>::new();
        (0..4).for_each(|row| grouped.entry(shown(column, row)).or_default().push(row));
        let groups: Vec<_> = grouped.keys().map(|value| vec![value.clone()]).collect();
        for (at, inputs) in [FILE, HOURS].into_iter().enumerate() {
            let (counts, joined) = (format!("c-{name}-{at}"), format!("j-{name}-{at}"));
            let lines = [
                (format!("aggregate {inputs} --by {name} --out {counts}"), "--by"),
                (format!("join {inputs} --on {name} --out {joined}"), "--on"),
            ];
            for (line, flag) in &lines {
                let ran = dir.run(line);
                let ok = match ran.code {
                    Some(0) => true,
                    Some(2 | 65) => column.data_type().is_nested() && ran.err.contains(flag) && ran.err.contains(name),
                    _ => false,
                };
                if !ok {
                    wrong.push(format!("{line}: {:?} {}", ran.code, ran.err));
                }
            }
            if dir.path(&counts).exists() && read(&dir, &counts, &[name]) != groups {
                wrong.push(format!("{counts}: {:?} and not {groups:?}", read(&dir, &counts, &[name])));
            }
            // What is null meets nothing.
            let mut pairs = vec![["a", "a"], ["a", "b"], ["b", "b"], ["c", "c"]];
            pairs.extend(column.is_valid(3).then_some(["d", "d"]));
            let pairs: Vec<_> = pairs.into_iter().map(|pair| pair.map(str::to_owned).to_vec()).collect();
            if dir.path(&joined).exists() {
                let got = read(&dir, &joined, &["impression_event_id", "play_event_id"]);
                if got != pairs {
                    wrong.push(format!("{joined}: {got:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Times as Spark and Impala wrote them for long.
#[test]
fn times_of_96_bits_are_read() {
    let dir = Workdir::new();
    let message = "message events { required binary event_id (UTF8); required int96 ts; optional int96 at; }";
    let schema = Arc::new(parse_message_type(message).unwrap());
    fs::create_dir_all(dir.path("hours/dt=2026-11-20/hr=05")).unwrap();
    dir.write("hours/dt=2026-11-20/hr=05/_SUCCESS", "");
    for file in ["e.parquet", "hours/dt=2026-11-20/hr=05/e.parquet"] {
        let mut writer =
            SerializedFileWriter::new(File::create(dir.path(file)).unwrap(), schema.clone(), Default::default())
                .unwrap();
        let mut group = writer.next_row_group().unwrap();
        let day = 2_440_588 + HOUR / 86_400;
        let moment = |us: i64| {
            let nanos = (HOUR % 86_400) * 1_000_000_000 + us * 1000;
            let mut time = Int96::new();
            time.set_data(nanos as u32, (nanos >> 32) as u32, day as u32);
            time
        };
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&["a", "b"].map(ByteArray::from), None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int96Type>().write_batch(&[moment(0), moment(1)], None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int96Type>().write_batch(&[moment(5)], Some(&[1, 0]), None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
    }
    let expected: Vec<Vec<String>> =
        [["a", "2026-11-20T05:00:00", "2026-11-20T05:00:00.000005"], ["b", "2026-11-20T05:00:00.000001", ""]]
            .map(|row| row.map(str::to_owned).into())
            .into();
    for (input, out) in [("e.parquet", "file"), ("hours", "batch")] {
        dir.ok(&format!("ingest --in {input} --out {out}"));
        assert_eq!(read(&dir, out, &["event_id", "ts", "at"]), expected, "{out}");
    }
}
