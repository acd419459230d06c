//! Outputs to compare, written by hand.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::array::RecordBatch;
use connector::Location;
use journal::Sum;
use parquet::arrow::ArrowWriter;
use runner::{Difference, ReconcileOptions, Summary, reconcile};
use serde_json::json;
use tempfile::TempDir;

/// Two empty outputs, `batch` and `stream`.
pub(super) struct Outputs(pub(super) TempDir);

/// How a partition is left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Seal {
    /// By rescan, with facts.
    Ours,
    /// By an engine that leaves `_SUCCESS` empty.
    Foreign,
    /// Not yet.
    Open,
}

impl Outputs {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Writes an hour of one side; its files are the batches.
    pub(super) fn write(&self, side: &str, hour: u32, files: &[RecordBatch], seal: Seal) {
        let directory = self.0.path().join(side).join(format!("dt=2026-11-20/hr={hour:02}"));
        std::fs::create_dir_all(&directory).unwrap();
        let facts: Vec<_> =
            files.iter().enumerate().map(|(i, rows)| write(&directory, &format!("part-{i}.parquet"), rows)).collect();
        let rows: usize = files.iter().map(RecordBatch::num_rows).sum();
        let success = json!({"format": 1, "command": "join", "output": "joined", "key": ["k", "n"], "rows": rows, "files": facts});
        match seal {
            Seal::Ours => std::fs::write(directory.join("_SUCCESS"), success.to_string()).unwrap(),
            Seal::Foreign => std::fs::write(directory.join("_SUCCESS"), "").unwrap(),
            Seal::Open => {}
        }
    }

    pub(super) fn both(&self, hour: u32, batch: &RecordBatch, stream: &RecordBatch) {
        self.write("batch", hour, std::slice::from_ref(batch), Seal::Ours);
        self.write("stream", hour, std::slice::from_ref(stream), Seal::Ours);
    }

    pub(super) fn location(&self, side: &str) -> Location {
        Location::parse(&self.0.path().join(side).to_string_lossy(), &BTreeMap::new()).unwrap()
    }

    pub(super) async fn try_reconcile(&self, options: &ReconcileOptions) -> anyhow::Result<(Summary, Vec<Difference>)> {
        let mut differences = Vec::new();
        let tell = |difference| {
            differences.push(difference);
            Ok(())
        };
        let summary = reconcile(&self.location("batch"), &self.location("stream"), options, tell).await?;
        Ok((summary, differences))
    }

    pub(super) async fn reconcile(&self, options: &ReconcileOptions) -> (Summary, Vec<String>) {
        let (summary, differences) = self.try_reconcile(options).await.unwrap();
        (summary, differences.iter().map(shown).collect())
    }
}

fn write(directory: &Path, name: &str, rows: &RecordBatch) -> serde_json::Value {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, rows.schema(), None).unwrap();
    writer.write(rows).unwrap();
    writer.close().unwrap();
    std::fs::write(directory.join(name), &bytes).unwrap();
    let checksum = Sum::of(&bytes).checksum;
    json!({"name": name, "rows": rows.num_rows(), "bytes": bytes.len(), "checksum": checksum})
}

/// `05 a/1 v: 1 | 2 unexplained`
pub(super) fn shown(d: &Difference) -> String {
    let key: Vec<_> = d.key.iter().map(|(_, value)| value.as_str()).collect();
    let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_string());
    let hour = d.hour.to_string()[11..].to_string();
    format!("{hour} {} {}: {} | {} {}", key.join("/"), d.column, side(&d.batch), side(&d.stream), d.cause)
}
