//! Bytes to chunks: one row of JSON or CSV at a time into columns, with its position beside it. What is no row is kept
//! whole with the reason, and nothing is left out: rows and rejected rows together are the rows read.

pub(crate) mod csv;
pub(crate) mod infer;
pub(crate) mod json;
pub(crate) mod row;
pub(crate) mod text_format;
pub(crate) mod time;
pub(crate) mod unread;

use anyhow::{Context, Result};
use arrow::array::{RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{Schema, SchemaRef};

use crate::decode::csv::Fields;
use crate::decode::row::Row;
use crate::decode::text_format::TextFormat;
use crate::decode::time::Written;
use crate::decode::unread::Unread;
use crate::fault::Fault;
use crate::position;
use crate::source::{Chunk, Offset, Rejected, position_fields};

/// A row of text longer than this is rejected: 16 MiB.
pub const ROW_BYTES_MAX: usize = 16 << 20;

/// Decodes the rows of one source partition, chunk by chunk.
///
/// A row is rejected, with one of these codes first in its reason, where it is not exactly what the schema says:
/// `ambiguous_time`, `bad_encoding`, `csv_malformed`, `csv_truncated`, `duplicate_key`, `empty_payload`, `int_overflow`,
/// `json_malformed`, `json_truncated`, `lossy_number`, `missing`, `multiple_documents`, `no_event_time`, `no_zone`,
/// `non_finite`, `time_out_of_range`, `too_deep`, `too_large`, `wrong_columns`, `wrong_type`. A Kafka message without a
/// value has the code [`TOMBSTONE`](crate::TOMBSTONE).
pub struct Decoder {
    schema: SchemaRef,
    row: Row,
    /// Where a CSV record's fields go; `None` for JSON.
    fields: Option<Fields>,
    offsets: Vec<i64>,
    arrived_at: Vec<Option<i64>>,
    rejected: Vec<Rejected>,
    read: u64,
    unread: Unread,
}

impl Decoder {
    /// A decoder to the columns of `schema`, of which `time` must be a timestamp: the event time, which no row can do
    /// without; where it is empty, rows need none. Columns that are not nullable are required too. CSV fields come in the order of the schema until
    /// [`Decoder::header`] says otherwise.
    ///
    /// # Errors
    /// No such time column, or a type that text is not decoded to.
    pub fn new(format: TextFormat, schema: &Schema, time: &str) -> Result<Self> {
        Ok(Self {
            row: Row::new(schema, time)?,
            fields: (format == TextFormat::Csv).then(|| Fields::in_order(schema.fields().len())),
            schema: position::with_positions(schema),
            offsets: vec![],
            arrived_at: vec![],
            rejected: vec![],
            read: 0,
            unread: Unread::default(),
        })
    }

    /// Reads times as they are written.
    #[must_use]
    pub fn reading(mut self, written: Written) -> Self {
        self.row.set_written(written);
        self
    }

    /// Counts what it leaves out together with the other decoders of its source.
    pub(crate) fn counting(self, unread: &Unread) -> Self {
        Self { unread: unread.clone(), ..self }
    }

    /// The decoded columns, then [`position_fields`].
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Reads one row, without its line end, that stands at `offset` and arrived at `arrived_at` (microseconds).
    pub fn decode(&mut self, bytes: &[u8], offset: i64, arrived_at: Option<i64>) {
        if let Err(fault) = self.columns(bytes) {
            self.row.clear();
            return self.reject(bytes, offset, arrived_at, &fault);
        }
        self.read += 1;
        self.offsets.push(offset);
        self.arrived_at.push(arrived_at);
    }

    fn columns(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if bytes.len() > ROW_BYTES_MAX {
            return Err(Fault::new("too_large", format!("longer than {ROW_BYTES_MAX} bytes")));
        }
        if bytes.trim_ascii().is_empty() {
            return Err(Fault::new("empty_payload", "no bytes"));
        }
        match &mut self.fields {
            Some(fields) => fields.read(bytes, &mut self.row)?,
            None => json::read(bytes, &mut self.row)?,
        }
        self.row.commit()
    }

    /// Counts and keeps a row that is at fault by itself, before any decoding: a tombstone, a huge line.
    pub fn reject(&mut self, bytes: &[u8], offset: i64, arrived_at: Option<i64>, fault: &Fault) {
        self.read += 1;
        let (topic, reason, raw) = (String::new(), fault.to_string(), bytes.to_vec());
        self.rejected.push(Rejected { topic, partition: 0, offset, arrived_at, reason, raw });
    }

    /// Takes the names of the fields from a CSV header. Other columns than the schema's are skipped.
    ///
    /// # Errors
    /// Columns that are missing or there twice, by name.
    pub fn header(&mut self, record: &[u8]) -> Result<()> {
        let decoded = self.schema.fields().len() - position_fields().len();
        let names: Vec<_> = self.schema.fields()[..decoded].iter().map(|f| f.name().as_str()).collect();
        self.fields = Some(Fields::named(record, &names)?);
        Ok(())
    }

    /// Rows read since the last [`Decoder::finish`], good and bad.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// The rows read since the last time, all of this topic and partition; `next` is the position behind them.
    ///
    /// # Errors
    /// More text in one chunk than Arrow can hold.
    pub fn finish(&mut self, topic: &str, partition: i32, next: Offset) -> Result<Chunk> {
        let mut columns = self.row.finish();
        if let Some(fields) = &self.fields {
            fields.unread(self.offsets.len() as u64, &mut self.row);
        }
        self.unread.add(self.row.unread());
        let arrived_at = TimestampMicrosecondArray::from(std::mem::take(&mut self.arrived_at));
        columns.extend(position::columns(topic, partition, std::mem::take(&mut self.offsets), arrived_at)?);
        let mut rejected = std::mem::take(&mut self.rejected);
        for row in &mut rejected {
            (row.topic, row.partition) = (topic.to_owned(), partition);
        }
        let rows = RecordBatch::try_new(self.schema(), columns).context("decoded columns do not fit their schema")?;
        Ok(Chunk { rows, rejected, read: std::mem::take(&mut self.read), next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};

    const SCHEMA: &str = "
        id text not null
        ts timestamp not null
        name text
        big int64
        small int32
        ratio float64
        ok boolean
        seen timestamp";

    fn decoder(format: TextFormat) -> Decoder {
        Decoder::new(format, &schema::parse(SCHEMA).unwrap(), "ts").unwrap()
    }

    fn decode(format: TextFormat, rows: &[&[u8]]) -> Chunk {
        let mut decoder = decoder(format);
        rows.iter().enumerate().for_each(|(i, row)| decoder.decode(row, i as i64, None));
        decoder.finish("t", 3, Offset::default()).unwrap()
    }

    /// The code with which a row is rejected; that nothing of it stays is seen by a good row behind it.
    fn code(format: TextFormat, row: &[u8]) -> String {
        let good: &[u8] = if format == TextFormat::Json { br#"{"id":"good","ts":0}"# } else { b"good,0,,,,,," };
        let chunk = decode(format, &[row, good]);
        assert_eq!((chunk.rows.num_rows(), chunk.rejected.len(), chunk.read), (1, 1, 2), "{:?}", chunk.rejected);
        assert_eq!(chunk.rows.column(0).as_string_view().value(0), "good");
        assert_eq!(chunk.rows.column(2).null_count(), 1);
        let rejected = &chunk.rejected[0];
        assert_eq!((rejected.topic.as_str(), rejected.partition, rejected.offset), ("t", 3, 0));
        assert_eq!(rejected.raw, row);
        rejected.reason.split_once(": ").unwrap().0.to_owned()
    }

    #[test]
    fn json_becomes_columns() {
        let full = br#" {"seen":"1969-12-31T23:59:59.9999999Z","ok":true,"ratio":1,"small":-7,"big":9223372036854775807,
            "name":"\uD840\uDC00 \u00e9\n","ts":1574553604101,"id":"a","more":{"x":[1,{"y":null}],"s":"}]"},"id2":null} "#;
        let escaped = br#"{"i\u0064":"b","ts":"2019-11-24T00:00:04.101\u002B00:00","name":null,"ratio":5e-324}"#;
        let chunk = decode(TextFormat::Json, &[full, escaped]);
        assert_eq!((chunk.rejected, chunk.read), (vec![], 2));
        let rows = chunk.rows;
        assert_eq!(rows.column(2).as_string_view().iter().collect::<Vec<_>>(), [Some("𠀀 é\n"), None]);
        assert_eq!(rows.column(0).as_string_view().value(1), "b");
        let micros = |i: usize| rows.column(i).as_primitive::<TimestampMicrosecondType>();
        assert_eq!((micros(1).value(0), micros(1).value(1)), (1_574_553_604_101_000, 1_574_553_604_101_000));
        assert_eq!((micros(7).value(0), micros(7).is_null(1)), (-1, true));
        assert_eq!(rows.column(3).as_primitive::<Int64Type>().value(0), i64::MAX);
        assert_eq!(rows.column(4).as_primitive::<Int32Type>().value(0), -7);
        assert_eq!(rows.column(5).as_primitive::<Float64Type>().values(), &[1.0, 5e-324]);
        assert!(rows.column(6).as_boolean().value(0));
        assert_eq!(rows.column(8).as_string_view().value(1), "t");
        assert_eq!(rows.column(10).as_primitive::<Int64Type>().values(), &[0, 1]);
    }

    #[test]
    fn what_json_would_bend_is_rejected() {
        let with = |field: &str| format!(r#"{{"id":"a","ts":0,{field}}}"#).into_bytes();
        let deep = "[".repeat(200_000);
        let nested = format!("\"x\":{}{}", "[".repeat(65), "]".repeat(65));
        let cases: &[(&str, Vec<u8>)] = &[
            ("json_truncated", br#"{"id":"a","ts":0,"name":"x"#.to_vec()),
            ("json_truncated", br#"{"id":"a","ts":0"#.to_vec()),
            ("multiple_documents", br#"{"id":"a","ts":0} {"id":"b","ts":0}"#.to_vec()),
            ("empty_payload", b" ".to_vec()),
            ("duplicate_key", with(r#""name":"x","name":"y""#)),
            ("duplicate_key", with(r#""name":null,"n\u0061me":"y""#)),
            ("int_overflow", with(r#""big":9223372036854775808"#)),
            ("int_overflow", with(r#""small":2147483648"#)),
            ("lossy_number", with(r#""small":1.9"#)),
            ("lossy_number", with(r#""big":1e3"#)),
            ("lossy_number", with(r#""big":9007199254740993.0"#)),
            ("non_finite", with(r#""ratio":1e400"#)),
            ("non_finite", with(r#""ratio":NaN"#)),
            ("non_finite", with(r#""ratio":-Infinity"#)),
            ("non_finite", with(r#""ratio":"NaN""#)),
            ("bad_encoding", with(r#""name":"\uD800""#)),
            ("bad_encoding", with(r#""name":"\uD800\u0041""#)),
            ("bad_encoding", [&b"{\"id\":\"\xff\""[..], b",\"ts\":0}"].concat()),
            ("too_deep", with(&nested)),
            ("too_deep", with(&format!("\"x\":{deep}"))),
            ("too_deep", deep.clone().into_bytes()),
            ("wrong_type", with(r#""name":5"#)),
            ("wrong_type", with(r#""name":{"a":1}"#)),
            ("wrong_type", with(r#""big":"5""#)),
            ("wrong_type", with(r#""big":true"#)),
            ("wrong_type", with(r#""ok":1"#)),
            ("wrong_type", with(r#""seen":"yesterday""#)),
            ("wrong_type", b"[1]".to_vec()),
            ("json_malformed", with(r#""name":x"#)),
            ("json_malformed", br#"{"id":"a","ts":0,}"#.to_vec()),
            ("missing", br#"{"ts":0}"#.to_vec()),
            ("missing", br#"{"id":null,"ts":0}"#.to_vec()),
            ("no_event_time", br#"{"id":"a"}"#.to_vec()),
            ("no_event_time", br#"{"id":"a","ts":null}"#.to_vec()),
            ("no_event_time", br#"{"id":"a","ts":true}"#.to_vec()),
            ("no_event_time", br#"{"id":"a","ts":"soon"}"#.to_vec()),
            ("no_zone", br#"{"id":"a","ts":"2019-11-24T00:00:04"}"#.to_vec()),
            ("lossy_number", br#"{"id":"a","ts":1.5}"#.to_vec()),
            ("time_out_of_range", br#"{"id":"a","ts":1000000000000000000}"#.to_vec()),
            ("time_out_of_range", br#"{"id":"a","ts":"0001-01-01T00:00:00Z"}"#.to_vec()),
            ("time_out_of_range", br#"{"id":"a","ts":"2300-01-01T00:00:00Z"}"#.to_vec()),
            ("too_large", with(&format!("\"name\":\"{}\"", "x".repeat(ROW_BYTES_MAX)))),
        ];
        for (expected, row) in cases {
            let shown = String::from_utf8_lossy(&row[..row.len().min(80)]);
            assert_eq!(code(TextFormat::Json, row), *expected, "{shown}");
        }
    }

    #[test]
    fn csv_becomes_columns() {
        let mut decoder = decoder(TextFormat::Csv);
        decoder.header(b",id,name,\"ts\",big,small,ratio,ok,seen,id").unwrap_err();
        decoder.header(b",id,name,\"ts\",big,small,ratio,ok,seen,extra").unwrap();
        decoder.decode(b"7,a,\"say \"\"hi\"\",\nyou\",2019-11-24 00:00:04.101095+00:00,-1,2,.5,True,,", 0, Some(9));
        decoder.decode(b",b,\"\",0,,,,,,x", 1, None);
        let chunk = decoder.finish("t", 0, Offset::default()).unwrap();
        assert_eq!(chunk.rejected, []);
        let names: Vec<_> = chunk.rows.column(2).as_string_view().iter().collect();
        assert_eq!(names, [Some("say \"hi\",\nyou"), Some("")]);
        assert_eq!(chunk.rows.column(1).as_primitive::<TimestampMicrosecondType>().value(0), 1_574_553_604_101_095);
        assert_eq!(chunk.rows.column(3).null_count(), 1);
        assert_eq!(decoder.finish("t", 0, Offset::default()).unwrap().read, 0);
    }

    #[test]
    fn csv_is_as_strict() {
        let cases: &[(&str, &[u8])] = &[
            ("wrong_columns", b"a,0,,,,,"),
            ("wrong_columns", b"a,0,,,,,,,"),
            ("csv_truncated", b"a,0,\"open,,,,,"),
            ("csv_malformed", b"a,0,\"x\"y,,,,,"),
            ("multiple_documents", b"a,0,,,,,,\"\"\nb,0,,,,,,"),
            ("missing", b",0,,,,,,"),
            ("no_event_time", b"a,,,,,,,"),
            ("no_event_time", b"a,2019-11-24,,,,,,"),
            ("no_zone", b"a,2019-11-24 00:00:00,,,,,,"),
            ("lossy_number", b"a,0,,1.0,,,,"),
            ("int_overflow", b"a,0,,,99999999999,,,"),
            ("non_finite", b"a,0,,,,inf,,"),
            ("wrong_type", b"a,0,,,,x,,"),
            ("wrong_type", b"a,0,,,,,1,"),
            ("wrong_type", b"a,0,,\"\",,,,"),
            ("bad_encoding", b"a,0,\xff,,,,,"),
            ("empty_payload", b""),
        ];
        for (expected, row) in cases {
            assert_eq!(code(TextFormat::Csv, row), *expected, "{}", String::from_utf8_lossy(row));
        }
    }

    #[test]
    fn a_header_says_what_is_missing() {
        let error = decoder(TextFormat::Csv).header(b"id,ts,name,other").unwrap_err().to_string();
        assert!(error.contains("no column big, small, ratio, ok, seen; it has id, ts, name, other"), "{error}");
        assert!(Decoder::new(TextFormat::Json, &schema::parse(SCHEMA).unwrap(), "name").is_err());
        assert!(Decoder::new(TextFormat::Json, &schema::parse(SCHEMA).unwrap(), "when").is_err());
    }
}
