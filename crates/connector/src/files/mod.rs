//! Files as a stream: one file, a directory of them, or standard input, each one source partition.

pub(crate) mod ahead;
pub(crate) mod block;
pub(crate) mod input;
pub(crate) mod known;
pub(crate) mod line;
pub(crate) mod listing;
pub(crate) mod names;
pub(crate) mod parquet_file;
pub(crate) mod reading;
pub(crate) mod sample;
pub(crate) mod text_file;
pub(crate) mod tree;
pub(crate) mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use anyhow::{Context, Result, ensure};
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;

use crate::decode::row::timed;
use crate::decode::time::Written;
use crate::decode::unread::Unread;
use crate::files::ahead::{Ahead, Found};
use crate::files::block::Block;
use crate::files::input::FileFormat;
use crate::files::known::mark::FileMark;
use crate::files::reading::Shape;
use crate::files::walk::{Step, Walk};
use crate::position;
use crate::source::{Offset, Poll, Source};

/// How files are to be read.
#[derive(Clone, Debug)]
pub struct FileOptions {
    /// The columns that rows are decoded to.
    pub schema: Schema,
    /// The event time among them; empty, where rows need none.
    pub time: String,
    /// How times are written in it.
    pub written: Written,
    /// Of every file, whatever it is called; `None` for what the names end in, and JSON from standard input.
    pub format: Option<FileFormat>,
    /// Whether to wait for more rows at the end, and for more files; then only whole lines are taken.
    pub follow: bool,
}

/// The rows of files, one after another in reading order. `_topic` is the name that the file had when it was begun,
/// `_partition` how many other files had that name before it, `_offset` the row in it, counted from 0, and `_arrived_at`
/// the file's time of change; standard input is `-` and has none.
///
/// Every file has its own place, and what was read of it is known again. New files are read whenever they come, and files
/// that have grown from where they were; one that rotation has moved, copied or compressed goes on under its new name. A
/// file that is not any more what was read of it is an error, and so is one that goes before its end was read.
pub struct FileSource {
    schema: SchemaRef,
    partitions: [String; 1],
    /// Whether reading on may block.
    pipe: bool,
    follow: bool,
    /// Not yet started.
    walk: Option<Walk>,
    ahead: Option<Ahead>,
    /// What the last block held beyond the rows asked for.
    rest: Option<Block>,
    /// How far each file was given out.
    marks: BTreeMap<String, FileMark>,
    /// The names of those that have changed since that was asked.
    changed: BTreeSet<String>,
    /// Not yet told.
    warnings: Vec<String>,
    /// How many files were passed over.
    skipped: u64,
    /// What rows have besides the columns.
    unread: Unread,
    finished: bool,
}

impl FileSource {
    /// Opens `input`: a path, or `-`.
    ///
    /// # Errors
    /// [`SourceError::Missing`] where there is no such path or the directory is empty (and not followed);
    /// [`SourceError::BadData`] for a file whose format is not known; a schema that cannot be decoded.
    pub fn open(input: &str, options: FileOptions) -> Result<Self> {
        let follow = options.follow;
        // Refused at once, though files are opened later.
        timed(&options.schema, &options.time)?;
        let schema = position::with_positions(&options.schema);
        let unread = Unread::default();
        let shape = Shape {
            schema: options.schema,
            time: options.time,
            format: options.format,
            written: options.written,
            unread: unread.clone(),
        };
        let walk = match input {
            "-" => Walk::pipe(Box::new(io::stdin()), shape),
            path => Walk::new(path, shape, follow)?,
        };
        Ok(Self { unread, ..Self::over(input, schema, walk, follow) })
    }

    fn over(input: &str, schema: SchemaRef, walk: Walk, follow: bool) -> Self {
        let (partitions, pipe) = ([input.to_owned()], input == "-");
        let follow = follow && !pipe;
        let (ahead, rest, warnings, finished) = (None, None, Vec::new(), false);
        let (marks, changed, skipped, unread) = (BTreeMap::new(), BTreeSet::new(), 0, Unread::default());
        let walk = Some(walk);
        Self {
            schema,
            partitions,
            pipe,
            follow,
            walk,
            ahead,
            rest,
            marks,
            changed,
            warnings,
            skipped,
            unread,
            finished,
        }
    }

    /// Waits for rows, and takes note of all that comes before them.
    async fn next(&mut self, rows_max: usize) -> Result<Option<Poll>> {
        let ahead = self.ahead.as_mut().context("files that could not be opened")?;
        while self.rest.is_none() && !self.finished {
            match ahead.next(rows_max, !self.pipe).await? {
                Found::Step(Step::Rows(block)) => self.rest = Some(block),
                Found::Step(Step::Marks(changes)) => {
                    known::apply(&mut self.marks, &changes);
                    self.changed.extend(changes.into_iter().map(|(name, _)| name));
                }
                Found::Step(Step::Warning(warning)) => self.warnings.push(warning),
                Found::Step(Step::Skipped(files)) => self.skipped = files,
                Found::End if self.follow => return Ok(Some(Poll::Waiting)),
                Found::End => self.finished = true,
                Found::NotYet => return Ok(Some(Poll::Waiting)),
            }
        }
        Ok(None)
    }
}

#[async_trait]
impl Source for FileSource {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn partitions(&self) -> &[String] {
        &self.partitions
    }

    async fn seek(&mut self, offsets: &BTreeMap<String, Offset>) -> Result<()> {
        let walk = self.walk.as_mut().context("seek after the first read")?;
        if let Some(offset) = offsets.get(&self.partitions[0]) {
            self.marks = walk.seek(offset)?;
            let is_new = |(name, mark): &(&String, &FileMark)| offset.files.get(*name) != Some(*mark);
            let new = self.marks.iter().filter(is_new).map(|(name, _)| name);
            let gone = offset.files.keys().filter(|name| !self.marks.contains_key(*name));
            self.changed = new.chain(gone).cloned().collect();
        }
        Ok(())
    }

    async fn read(&mut self, partition: usize, rows_max: usize) -> Result<Poll> {
        ensure!(
            partition == 0 && rows_max > 0,
            "{rows_max} rows asked of source partition {partition}; there is only 0"
        );
        if let Some(walk) = self.walk.take() {
            self.ahead = Some(Ahead::start(walk)?);
        }
        if let Some(nothing) = self.next(rows_max).await? {
            return Ok(nothing);
        }
        let Some(block) = &mut self.rest else { return Ok(Poll::Finished) };
        let mark = self.marks.get_mut(block.file());
        if mark.is_some() && !self.changed.contains(block.file()) {
            self.changed.insert(block.file().to_owned());
        }
        let chunk = block.take(rows_max, mark);
        if block.is_empty() {
            self.rest = None;
        }
        Ok(Poll::Chunk(chunk))
    }

    fn keep_to(&mut self, offsets: &BTreeMap<String, Offset>) {
        if let Some((walk, offset)) = self.walk.as_mut().zip(offsets.get(&self.partitions[0])) {
            walk.keep_to(offset);
        }
    }

    fn files(&self, _partition: usize) -> Option<&BTreeMap<String, FileMark>> {
        (!self.pipe).then_some(&self.marks)
    }

    fn changed(&mut self, _partition: usize) -> BTreeSet<String> {
        std::mem::take(&mut self.changed)
    }

    fn skipped(&self) -> u64 {
        self.skipped
    }

    fn warnings(&mut self) -> Vec<String> {
        let mut warnings = std::mem::take(&mut self.warnings);
        if self.follow {
            warnings.extend(self.unread.new_ones(&self.partitions[0]));
        } else if self.finished && self.rest.is_none() {
            warnings.extend(self.unread.counted(&self.partitions[0]));
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::SourceError;
    use crate::schema;
    use std::io::{PipeReader, PipeWriter, Write, pipe};
    use std::time::Duration;

    fn source(reader: PipeReader) -> FileSource {
        let schema = schema::parse("id text\nts timestamp").unwrap();
        let shape = Shape {
            schema: schema.clone(),
            time: "ts".to_owned(),
            format: None,
            written: Written::default(),
            unread: Unread::default(),
        };
        FileSource::over("-", position::with_positions(&schema), Walk::pipe(Box::new(reader), shape), false)
    }

    fn send(writer: &mut PipeWriter, ids: &[&str]) {
        ids.iter().for_each(|id| writeln!(writer, r#"{{"id":"{id}","ts":0}}"#).unwrap());
    }

    const LONG: Duration = Duration::from_secs(60);

    async fn read(source: &mut FileSource) -> Result<Option<crate::Chunk>> {
        let found = async {
            loop {
                match source.read(0, 100).await? {
                    Poll::Chunk(chunk) => return Ok(Some(chunk)),
                    Poll::Waiting => tokio::task::yield_now().await,
                    Poll::Finished => return Ok(None),
                }
            }
        };
        tokio::time::timeout(LONG, found).await.expect("rows or an end")
    }

    #[tokio::test]
    async fn rows_of_an_open_pipe_do_not_wait_for_its_end() {
        let (reader, mut writer) = pipe().unwrap();
        let mut source = source(reader);
        assert!(matches!(source.read(0, 100).await.unwrap(), Poll::Waiting));
        for ids in [["a", "b"], ["c", "d"]] {
            send(&mut writer, &ids);
            let mut read_so_far = 0;
            while read_so_far < 2 {
                read_so_far += read(&mut source).await.unwrap().unwrap().read;
            }
        }
        drop(writer);
        assert!(read(&mut source).await.unwrap().is_none());
        assert!(read(&mut source).await.unwrap().is_none(), "and it stays finished");
    }

    #[tokio::test]
    async fn a_pipe_goes_on_with_the_same_input_only() {
        let begin = |ids: &[&str]| {
            let (reader, mut writer) = pipe().unwrap();
            send(&mut writer, ids);
            source(reader)
        };
        let mut first = begin(&["a", "b", "c"]);
        assert!(matches!(first.read(0, 1).await.unwrap(), Poll::Waiting));
        let chunk = loop {
            if let Poll::Chunk(chunk) = first.read(0, 1).await.unwrap() {
                break chunk;
            }
        };
        let at = BTreeMap::from([("-".to_owned(), chunk.next)]);
        let mut again = begin(&["a", "b", "c"]);
        again.seek(&at).await.unwrap();
        let rest = read(&mut again).await.unwrap().unwrap();
        assert_eq!((rest.read, rest.next.row), (2, 3));
        for (other, said) in [(&["x", "b", "c"][..], "starts with another row"), (&["a"][..], "")] {
            let mut other = begin(other);
            other.seek(&at).await.unwrap();
            match read(&mut other).await {
                Ok(end) => assert!(said.is_empty() && end.is_none()),
                Err(e) => {
                    assert!(
                        matches!(e.downcast_ref(), Some(SourceError::BadData(text)) if text.contains(said)),
                        "{e:#}"
                    );
                }
            }
        }
    }

    /// The pipe's reading end is closed with the thread that held it.
    #[tokio::test]
    async fn dropping_the_source_stops_its_thread() {
        let (reader, mut writer) = pipe().unwrap();
        let mut source = source(reader);
        send(&mut writer, &["a"]);
        read(&mut source).await.unwrap();
        drop(source);
        let (stopped, stop) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            while writeln!(writer, r#"{{"id":"b","ts":0}}"#).is_ok() {}
            stopped.send(())
        });
        stop.recv_timeout(LONG).expect("nobody reads the pipe any more");
    }
}
