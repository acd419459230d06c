//! A directory to run the binary in, and what its runs leave there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::Field;
use arrow::json::LineDelimitedWriter;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use tempfile::TempDir;

/// Longer than anything here takes on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(120);

/// The working directory of the runs of one test, gone at its end.
pub struct Workdir(TempDir);

/// What a run said.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Workdir {
    pub fn new() -> Workdir {
        Workdir(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// The binary with the words of a command line, of which none has a blank.
    pub fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rescan"));
        command.args(words.split_whitespace()).current_dir(self.0.path()).env("RUST_BACKTRACE", "1");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, words: &str) -> Ran {
        Ran::of(self.command(words).output().unwrap())
    }

    /// Runs a command line that succeeds.
    pub fn ok(&self, words: &str) -> Ran {
        let ran = self.run(words);
        assert_eq!(ran.code, Some(0), "rescan {words}\n{}", ran.err);
        ran
    }

    /// Starts a command line and kills it, as the kernel does, once `dead` says so. Whether it was killed before its end.
    pub fn kill_when(&self, words: &str, dead: impl FnMut() -> bool) -> bool {
        let mut command = self.command(words);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let running = wait_for(&mut child, dead);
        child.kill().unwrap();
        child.wait().unwrap();
        running
    }

    /// Made-up impressions and plays in `raw`, as JSON lines.
    pub fn generate(&self, flags: &str) {
        self.ok(&format!("generate --start 2016-11-07T00 --to raw {flags}"));
    }

    /// Made-up hours in `archive`, without late rows.
    pub fn archive(&self, flags: &str) {
        self.generate(&format!("--late 0 {flags}"));
        for name in ["impressions", "plays"] {
            self.ok(&format!("ingest --in raw/{name}.jsonl --schema {name} --out archive/{name}"));
        }
    }

    /// All sealed rows of an output, as canonical JSON with their hour, sorted by it and by key as they stand there.
    pub fn rows(&self, out: &str) -> Vec<Value> {
        let mut rows = Vec::new();
        for part in self.files(out).into_iter().filter(|part| part.ends_with(".parquet")) {
            let hour = part.rsplit_once('/').unwrap().0.replace("dt=", "").replace("/hr=", "T");
            assert!(self.path(&format!("{out}/{part}")).with_file_name("_SUCCESS").is_file(), "{part} is not sealed");
            for mut row in parquet(&self.path(&format!("{out}/{part}"))) {
                row["hour"] = Value::from(hour.clone());
                rows.push(row);
            }
        }
        rows
    }

    /// Every data file of an output with its bytes.
    pub fn parts(&self, out: &str) -> BTreeMap<String, Vec<u8>> {
        let parts = self.files(out).into_iter().filter(|file| !file.ends_with("_SUCCESS"));
        parts.map(|part| (part.clone(), fs::read(self.path(out).join(&part)).unwrap())).collect()
    }

    /// The files below a directory, sorted, without what the runner keeps for itself.
    pub fn files(&self, dir: &str) -> Vec<String> {
        let root = self.path(dir);
        let mut files: Vec<String> = walk(&root)
            .into_iter()
            .map(|file| file.strip_prefix(&root).unwrap().to_string_lossy().into_owned())
            .filter(|file| !file.starts_with("_rescan"))
            .collect();
        files.sort();
        files
    }

    /// The ledger of a stream's last epoch.
    pub fn ledger(&self, out: &str) -> Value {
        let inspected = self.ok(&format!("inspect {out} --json"));
        serde_json::from_str::<Value>(&inspected.out).unwrap()["ledger"].take()
    }

    /// The newest epoch of a stream and the rows it has read; 0 before the first.
    pub fn epoch(&self, out: &str) -> (u64, u64) {
        let Some((_, epoch)) = self.record(out) else { return (0, 0) };
        let ledger = epoch["ledger"].as_object().unwrap();
        let read = ledger.values().map(|ledger| ledger["read"].as_u64().unwrap()).sum();
        (epoch["number"].as_u64().unwrap(), read)
    }

    /// The record of the newest epoch of a stream, and its file.
    pub fn record(&self, out: &str) -> Option<(PathBuf, Value)> {
        let records = fs::read_dir(self.path(&format!("{out}/_rescan/journal/stream"))).into_iter().flatten();
        let records = records.filter_map(|entry| Some(entry.ok()?.path()));
        let newest = records.filter(|path| path.extension().is_some_and(|end| end == "json")).max()?;
        // A run that goes on may have done away with it meanwhile.
        let mut record: Value = serde_json::from_str(&fs::read_to_string(&newest).ok()?).ok()?;
        Some((newest, record["epoch"].take()))
    }
}

impl Ran {
    pub fn of(output: Output) -> Ran {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error} in {}", self.out))
    }
}

/// The rows of a Parquet file as JSON, without columns that are null.
pub fn parquet(path: &Path) -> Vec<Value> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap().build().unwrap();
    let mut writer = LineDelimitedWriter::new(Vec::new());
    reader.for_each(|rows| writer.write(&rows.unwrap()).unwrap());
    writer.finish().unwrap();
    let text = String::from_utf8(writer.into_inner()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The columns of a Parquet file, a line each: name, type, and whether it may be null.
pub fn columns(path: &Path) -> String {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let line = |field: &Arc<Field>| {
        let null = if field.is_nullable() { "" } else { " not null" };
        format!("{} {}{null}\n", field.name(), field.data_type())
    };
    reader.schema().fields().iter().map(line).collect()
}

/// All files below a path.
pub fn walk(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return if path.exists() { vec![path.to_owned()] } else { vec![] };
    }
    fs::read_dir(path).unwrap().flat_map(|entry| walk(&entry.unwrap().path())).collect()
}

/// Looks every millisecond; false where the process ended first.
pub fn wait_for(child: &mut Child, mut dead: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while !dead() {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        assert!(begun.elapsed() < PATIENCE, "the run does not come to where it is to be killed");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.try_wait().unwrap().is_none()
}
