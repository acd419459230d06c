//! Which rows of a batch's input a stream did not take, and why: by what its output has on record.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::DataType;
use connector::{DataFile, Location, Offset, scan};
use datafusion::catalog::TableProvider;
use datafusion::common::{NullEquality, ScalarValue};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{JoinType, LogicalPlanBuilder, col, ident, lit};
use journal::{Epoch, look};
use serde_json::Value;

use crate::batch::evaluate::Inputs;
use crate::input::offsets::Recorded;
use crate::output::layout::{LATE, REJECTED, STREAM_JOURNAL};
use crate::reconcile::matching::{Join, POSITION, Rows, collect, has, matching, view};
use crate::reconcile::report::Cause;
use crate::spec::JobSpec;

/// What a stream's output has on record.
pub(crate) struct Record {
    pub root: PathBuf,
    /// The last epoch.
    pub epoch: Epoch,
    /// The run that decided it; none where an earlier version did.
    pub spec: Option<JobSpec>,
}

/// Rows of a batch's input, by input, that a stream did not take for one reason.
#[derive(Clone, Debug)]
pub(crate) struct Evidence {
    pub cause: Cause,
    pub inputs: BTreeMap<String, Rows>,
    /// The same, told in another way: positions may be those of other rows, and two rows may say the same.
    pub otherwise: Option<BTreeMap<String, Rows>>,
}

/// When the rows of an input happened that can matter, microseconds, half open; and the column that says it.
pub(crate) type Reach = (String, i64, i64);

impl Record {
    /// Of the output at this place, where a stream wrote it.
    ///
    /// # Errors
    /// A journal or a spec that is damaged.
    pub(crate) fn of(root: &Path) -> Result<Option<Record>> {
        let Some(epoch) = look(&root.join(STREAM_JOURNAL), &BTreeMap::new())?.newest else { return Ok(None) };
        let epoch = epoch.map_err(|e| anyhow::anyhow!("{e}"))?;
        let spec = JobSpec::read(root, &epoch.job)?;
        Ok(Some(Record { root: root.to_owned(), epoch, spec }))
    }

    /// The versions of its side inputs.
    pub(crate) fn sides(&self) -> BTreeMap<String, String> {
        self.epoch.sides.iter().map(|(name, facts)| (name.clone(), facts.version.clone())).collect()
    }

    /// The evidence among the rows that make an hour; `reach` says when those of an input happened.
    ///
    /// # Errors
    /// Files of the record, or of the input, that cannot be read.
    pub(crate) async fn evidence(
        &self,
        inputs: &Inputs,
        reach: impl Fn(&str) -> Option<Reach>,
        id: &str,
    ) -> Result<Vec<Evidence>> {
        let context = SessionContext::new();
        let mut all = Vec::new();
        for cause in [Cause::Late, Cause::Rejected, Cause::Gap] {
            let (mut first, mut second) = (BTreeMap::new(), BTreeMap::new());
            for (input, tables) in inputs {
                for table in tables {
                    let ways = match cause {
                        Cause::Late => self.late(input, table, reach(input), &context).await?,
                        Cause::Rejected => self.rejected(input, table, id, &context).await?,
                        _ => self.gap(input, table, &context).await?,
                    };
                    let mut ways = ways.into_iter();
                    let Some(rows) = ways.next() else { continue };
                    add(&mut second, input, ways.next().unwrap_or_else(|| rows.clone()));
                    add(&mut first, input, rows);
                }
            }
            if !first.is_empty() {
                let by = |of: &BTreeMap<String, Rows>| of.values().map(|rows| rows.by.clone()).collect::<Vec<_>>();
                let otherwise = (by(&first) != by(&second)).then_some(second);
                all.push(Evidence { cause, inputs: first, otherwise });
            }
        }
        Ok(all)
    }

    /// The rows that the stream set aside as late.
    async fn late(
        &self,
        input: &str,
        table: &Arc<dyn TableProvider>,
        reach: Option<Reach>,
        context: &SessionContext,
    ) -> Result<Vec<Rows>> {
        let Some(late) = aside(&self.root.join(LATE), input).await? else { return Ok(Vec::new()) };
        let late = match reach.filter(|(time, ..)| has(&late.schema(), time)) {
            Some((time, from, to)) => {
                let at = |us: i64| lit(ScalarValue::TimestampMicrosecond(Some(us), None));
                let rows = LogicalPlanBuilder::scan("late", provider_as_source(late), None)?;
                view(rows.filter(ident(&time).gt_eq(at(from)).and(ident(&time).lt(at(to))))?.build()?)
            }
            None => late,
        };
        let sides: Vec<String> = self.epoch.sides.keys().map(|side| format!("{side}_")).collect();
        matching(table, &late, &sides, context).await
    }

    /// The rows that the stream rejected: by their positions, else by the ids that their text says.
    async fn rejected(
        &self,
        input: &str,
        table: &Arc<dyn TableProvider>,
        id: &str,
        context: &SessionContext,
    ) -> Result<Vec<Rows>> {
        let Some(rejected) = aside(&self.root.join(REJECTED), input).await? else { return Ok(Vec::new()) };
        let (by, mut ways, mut elsewhere) = (POSITION.map(str::to_owned), Vec::new(), true);
        if by.iter().all(|column| has(&table.schema(), column)) {
            ways.push(Rows::by_position(collect(semi().of(table, &rejected, &by)?, context).await?));
            // Another row of the same source may have the same id.
            elsewhere = ways[0].count() > 0 || !self.is_of(table, &rejected, context).await?;
        }
        if elsewhere && has(&table.schema(), id) {
            let raw = LogicalPlanBuilder::scan("rejected", provider_as_source(rejected), None)?;
            let raw = collect(raw.project([ident("raw")])?.build()?, context).await?;
            let ids: ArrayRef = Arc::new(StringViewArray::from_iter_values(raw.iter().flat_map(|rows| ids(rows, id))));
            let ids = RecordBatch::try_from_iter([(id, ids)])?;
            let ids: Arc<dyn TableProvider> = Arc::new(MemTable::try_new(ids.schema(), vec![vec![ids]])?);
            let by = vec![id.to_owned()];
            let rows = collect(semi().of(table, &ids, &by)?, context).await?;
            ways.push(Rows { rows, by, nulls: NullEquality::NullEqualsNothing });
        }
        ways.retain(|rows| rows.count() > 0);
        Ok(ways)
    }

    /// Whether a table has rows of a topic that others are of.
    async fn is_of(
        &self,
        table: &Arc<dyn TableProvider>,
        others: &Arc<dyn TableProvider>,
        context: &SessionContext,
    ) -> Result<bool> {
        let of = semi().of(table, others, &[POSITION[0].to_owned()])?;
        let some = LogicalPlanBuilder::from(of).limit(0, Some(1))?.build()?;
        Ok(collect(some, context).await?.iter().any(|rows| rows.num_rows() > 0))
    }

    /// The rows at positions that the stream did not read, where the table has some that it did read.
    async fn gap(&self, input: &str, table: &Arc<dyn TableProvider>, context: &SessionContext) -> Result<Vec<Rows>> {
        if !POSITION.iter().all(|column| has(&table.schema(), column)) {
            return Ok(Vec::new());
        }
        let read = self.read_to(input)?;
        let read: Arc<dyn TableProvider> = Arc::new(MemTable::try_new(read.schema(), vec![vec![read]])?);
        let by = [POSITION[0].to_owned(), POSITION[1].to_owned()];
        if !self.is_of(table, &read, context).await? {
            return Ok(Vec::new());
        }
        let within = col("rows._offset").lt(col("others.next")).and(col("rows._offset").gt_eq(col("others.first")));
        let unread = Join { kind: JoinType::LeftAnti, filter: Some(within), ..semi() };
        let mut ways = vec![Rows::by_position(collect(unread.of(table, &read, &by)?, context).await?)];
        ways.retain(|rows| rows.count() > 0);
        Ok(ways)
    }

    /// By topic and partition the positions that the stream has read.
    fn read_to(&self, input: &str) -> Result<RecordBatch> {
        let mut read: Vec<(String, i32, u64)> = Vec::new();
        for name in self.epoch.sources.keys() {
            let Some(partition) = name.strip_prefix(input).and_then(|rest| rest.strip_prefix('/')) else { continue };
            let (_, offset) = Recorded::read(&self.root, Some(&self.epoch), name)?;
            let Offset { row, files, .. } = offset.unwrap_or_default();
            if files.is_empty() {
                let (topic, number) = partition.rsplit_once('-').unwrap_or((partition, "0"));
                read.push((topic.to_owned(), number.parse().unwrap_or_default(), row));
            }
            read.extend(files.iter().map(|(file, mark)| (file.clone(), 0, mark.rows())));
        }
        let next = |next: u64| i64::try_from(next).unwrap_or(i64::MAX);
        Ok(RecordBatch::try_from_iter([
            (POSITION[0], Arc::new(StringViewArray::from_iter_values(read.iter().map(|of| &of.0))) as ArrayRef),
            (POSITION[1], Arc::new(Int32Array::from_iter_values(read.iter().map(|of| of.1)))),
            ("first", Arc::new(Int64Array::from(vec![0; read.len()]))),
            ("next", Arc::new(Int64Array::from_iter_values(read.iter().map(|of| next(of.2))))),
        ])?)
    }
}

/// Rows that have a partner.
fn semi() -> Join {
    Join { kind: JoinType::LeftSemi, nulls: NullEquality::NullEqualsNothing, filter: None }
}

/// Adds rows of one more place of an input.
fn add(found: &mut BTreeMap<String, Rows>, input: &str, rows: Rows) {
    match found.get_mut(input) {
        Some(known) if known.by == rows.by => known.rows.extend(rows.rows),
        Some(_) => {}
        None => _ = found.insert(input.to_owned(), rows),
    }
}

/// The rows of an input that a stream set aside below a directory; none where it set none aside.
async fn aside(directory: &Path, input: &str) -> Result<Option<Arc<dyn TableProvider>>> {
    let root = Location::parse(&directory.to_string_lossy(), &BTreeMap::new())?;
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let entry = entry.with_context(|| format!("list {}", directory.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let epoch = name.strip_prefix(input).and_then(|rest| rest.strip_prefix('-'));
        let is_its = epoch.is_some_and(|epoch| epoch.len() > 10 && epoch.bytes().take(10).all(|b| b.is_ascii_digit()));
        if is_its && name.ends_with(".parquet") {
            let bytes = entry.metadata().with_context(|| format!("read {name}"))?.len();
            files.push(DataFile::at(&root, &name, bytes));
        }
    }
    if files.is_empty() {
        return Ok(None);
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    scan(&root, &files).await.map(Some)
}

/// The ids that rejected rows say, as far as their bytes are whole.
fn ids(rows: &RecordBatch, id: &str) -> Vec<String> {
    let raw = rows.column(0);
    let bytes = |row: usize| -> Option<&[u8]> {
        match raw.data_type() {
            _ if raw.is_null(row) => None,
            DataType::Binary => Some(raw.as_binary::<i32>().value(row)),
            DataType::BinaryView => Some(raw.as_binary_view().value(row)),
            _ => None,
        }
    };
    (0..rows.num_rows()).filter_map(|row| id_in(bytes(row)?, id)).collect()
}

/// The value of a key in JSON that may be cut, or wrong behind it: the first text or number that stands there whole.
fn id_in(raw: &[u8], id: &str) -> Option<String> {
    let text = String::from_utf8_lossy(raw);
    let key = Value::from(id).to_string();
    let (_, rest) = text.split_once(&key)?;
    let rest = rest.trim_start().strip_prefix(':')?;
    match serde_json::Deserializer::from_str(rest).into_iter::<Value>().next()?.ok()? {
        Value::String(id) => Some(id),
        // A number that the text ends in may go on.
        Value::Number(id) if rest.trim() != id.to_string() => Some(id.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_out_of_a_row_as_far_as_its_bytes_allow() {
        for (raw, id) in [
            (r#"{"event_id":"a","ts":1}"#, Some("a")),
            (r#"{"ts":1, "event_id" : "a\"b", "x"#, Some("a\"b")),
            (r#"{"event_id":7,"ts"#, Some("7")),
            (r#"{"event_id":7"#, None),
            (r#"{"event_id":"a"#, None),
            (r#"{"event_id":null}"#, None),
            (r#"{"event":"a"}"#, None),
            ("", None),
        ] {
            assert_eq!(id_in(raw.as_bytes(), "event_id").as_deref(), id, "{raw}");
        }
        assert_eq!(id_in(b"\xff{\"id\":\"a\"}\xff", "id").as_deref(), Some("a"));
    }
}
