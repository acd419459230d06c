//! Rows as JSON lines, a file a topic.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};

use crate::event::{Event, Topic};
use crate::generate::Sink;
use crate::hidden::Hidden;

const BUFFER_BYTES: usize = 1 << 20;
/// More than any line has.
const LINE_BYTES: usize = 1 << 10;

pub(crate) struct JsonLines([Lines; 2]);

struct Lines {
    file: Hidden,
    buffer: Vec<u8>,
}

impl JsonLines {
    /// Begins `impressions.jsonl` and `plays.jsonl`.
    pub(crate) fn create(directory: &Path) -> Result<Self> {
        let [impressions, plays] = Topic::ALL.map(|topic| Lines::create(directory, topic));
        Ok(Self([impressions?, plays?]))
    }

    pub(crate) fn finish(self) -> Result<()> {
        self.0.into_iter().try_for_each(|mut lines| {
            lines.flush()?;
            lines.file.publish()
        })
    }
}

impl Sink for JsonLines {
    fn row(&mut self, event: &Event, _partition: u32) -> Result<()> {
        let lines = &mut self.0[event.topic() as usize];
        event.write_json(&mut lines.buffer);
        lines.end()
    }

    fn malformed(&mut self, beside: &Event, _partition: u32, line: &[u8]) -> Result<()> {
        let lines = &mut self.0[beside.topic() as usize];
        lines.buffer.extend_from_slice(line);
        lines.end()
    }
}

impl Lines {
    fn create(directory: &Path, topic: Topic) -> Result<Self> {
        let file = Hidden::create(directory, &format!("{}.jsonl", topic.name()))?;
        Ok(Self { file, buffer: Vec::with_capacity(BUFFER_BYTES) })
    }

    fn end(&mut self) -> Result<()> {
        self.buffer.push(b'\n');
        if self.buffer.len() > BUFFER_BYTES - LINE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.file.write_all(&self.buffer).context("cannot write JSON lines")?;
        self.buffer.clear();
        Ok(())
    }
}
