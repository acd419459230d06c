//! Golden folders: `testdata/COMMAND/BEHAVIOUR` has a command line in `args`, small inputs, and what has to come of
//! them, whichever way they are run. `UPDATE=1 cargo test --release -p rescan --test main golden` writes the latter.

use std::fs;
use std::path::{Path, PathBuf};

use connector::Hour;
use serde_json::{Map, Value};

use super::workdir::{Workdir, columns, parquet, walk};

/// Every folder by name, each in four ways: a test says which folder failed in which way.
macro_rules! golden {
    ($($command:ident: $($behaviour:ident)*;)*) => {
        golden!(way batch $($command: $($behaviour)*;)*);
        golden!(way at_once $($command: $($behaviour)*;)*);
        golden!(way one_by_one $($command: $($behaviour)*;)*);
        golden!(way resumed $($command: $($behaviour)*;)*);
    };
    (way $way:ident $($command:ident: $($behaviour:ident)*;)*) => {
        mod $way {
            $(mod $command {
                $(#[test] fn $behaviour() { super::super::$way(stringify!($command), stringify!($behaviour)); })*
            })*
        }
    };
}

testkit::golden_folders!(golden);

/// Flags that decide which rows are late, and which columns tell rows and times: where rows become an archive first, that
/// is decided there.
const ARCHIVE_FLAGS: [&str; 6] =
    ["--watermark-delay", "--allowed-lateness", "--max-future", "--time", "--zone", "--id"];

/// What a golden file says of the time at which a file was written.
const ARRIVED: &str = "some time";

/// Seen from the package, where tests run: checkouts share a target directory, so no path is compiled in.
const ROOT: &str = "../testdata";

struct Golden {
    folder: PathBuf,
    words: String,
    inputs: Vec<String>,
    dir: Workdir,
}

impl Golden {
    fn open(command: &str, behaviour: &str) -> Golden {
        let folder = Path::new(ROOT).join(command).join(behaviour);
        let args = fs::read_to_string(folder.join("args")).unwrap();
        let words = args.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join(" ");
        let dir = Workdir::new();
        let mut inputs = Vec::new();
        let script = testkit::scripts::script(command);
        for name in script.lines().filter_map(|line| line.strip_prefix("create table batch.")) {
            let name = name.split([' ', '(']).next().unwrap();
            if let Ok(rows) = fs::read(folder.join(format!("{name}.jsonl"))) {
                dir.write(&format!("{name}.jsonl"), rows);
                inputs.push(name.to_owned());
            }
        }
        assert!(!inputs.is_empty(), "{} has no rows", folder.display());
        // What else the command line names: rules, side inputs, schemas.
        for name in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()) {
            if name != "args" && !name.starts_with("expected") {
                dir.write(&name, fs::read(folder.join(&name)).unwrap());
            }
        }
        Golden { folder, words, inputs, dir }
    }

    /// The command line over the files as they are.
    fn stream(&self, flags: &str) -> String {
        let inputs: String = self.inputs.iter().map(|name| format!(" --in {name}={name}.jsonl")).collect();
        format!("{}{inputs} --out out {flags}", self.words)
    }

    /// What makes a stream of the files where the command line does not: else all of them is there, and nothing late.
    fn delay(&self) -> &'static str {
        let said = ["--watermark-delay", "--allowed-lateness"].iter().any(|flag| self.words.contains(flag));
        if said { "" } else { "--watermark-delay 30m" }
    }

    /// Turns the files into hours of Parquet, each row as it is, and gives the command line over them.
    fn batch(&self) -> String {
        let words: Vec<&str> = self.words.split_whitespace().collect();
        let flags: Vec<&[&str]> = words.windows(2).filter(|pair| ARCHIVE_FLAGS.contains(&pair[0])).collect();
        let mut line = self.words.clone();
        for name in &self.inputs {
            let builtin = if name == "plays" { "plays" } else { "impressions" };
            let own = format!("{name}.schema");
            let schema = if self.dir.path(&own).exists() { &own } else { builtin };
            let archive = format!("archive/{name}");
            let flags = flags.concat().join(" ");
            self.dir.ok(&format!("ingest --in {name}.jsonl --schema {schema} --dedup 0s {flags} --out {archive}"));
            fs::create_dir_all(self.dir.path(&archive)).unwrap();
            line += &format!(" --in {name}={archive}");
        }
        line + &self.range() + " --out out"
    }

    /// All hours that an input or the output has, whatever is missing of them.
    fn range(&self) -> String {
        let of_inputs = walk(&self.dir.path("archive")).into_iter().filter_map(|file| {
            let (_, hour) = file.to_str()?.split_once("/dt=")?;
            hour.get(..16).map(|hour| hour.replace("/hr=", "T"))
        });
        let expected = fs::read_to_string(self.folder.join("expected.jsonl")).unwrap_or_default();
        let of_output = expected.lines().map(|row| serde_json::from_str::<Value>(row).unwrap()["hour"].take());
        let of_output = of_output.map(|hour| hour.as_str().unwrap().to_owned());
        let hours: Vec<Hour> = of_inputs.chain(of_output).map(|hour| hour.parse().unwrap()).collect();
        let ends = hours.iter().min().zip(hours.iter().max());
        ends.map_or_else(String::new, |(from, to)| format!(" --from {from} --to {} --allow-incomplete", to.plus(1)))
    }

    /// The sealed rows, and all their columns with their types: a row does not show those in which it is null.
    fn check_rows(&self) {
        let mut rows = self.dir.rows("out");
        rows.iter_mut().for_each(when_it_arrived);
        self.check("expected.jsonl", rows);
        let files = self.dir.files("out").into_iter().filter(|file| file.ends_with(".parquet"));
        self.check_columns("expected.columns", &files.map(|file| self.dir.path("out").join(file)).collect::<Vec<_>>());
    }

    /// The columns of some files, which must be the same in all of them.
    fn check_columns(&self, name: &str, files: &[PathBuf]) {
        let Some(first) = files.first().map(|file| columns(file)) else { return };
        files.iter().for_each(|file| assert_eq!(columns(file), first, "{}", file.display()));
        self.check_text(name, first);
    }

    /// What became of every row that was read, and the rows that f has not seen.
    fn check_fates(&self) {
        let ledger = self.dir.ledger("out").as_object().unwrap().clone();
        let ledger = ledger.into_iter().map(|(input, counts)| Value::from(Map::from_iter([(input, counts)])));
        self.check("expected.ledger.jsonl", ledger.collect());
        for kind in ["late", "rejected"] {
            let mut files = walk(&self.dir.path(&format!("out/_rescan/{kind}")));
            files.sort();
            let mut rows = Vec::new();
            for mut row in files.iter().flat_map(|file| parquet(file)) {
                if let Some(raw) = row.get("raw").and_then(Value::as_str) {
                    row["raw"] = Value::from(unhex(raw));
                }
                when_it_arrived(&mut row);
                rows.push(row);
            }
            self.check(&format!("expected.{kind}.jsonl"), rows);
            for input in &self.inputs {
                let of = |file: &&PathBuf| file.to_string_lossy().contains(&format!("/{kind}/{input}-"));
                let files: Vec<PathBuf> = files.iter().filter(of).cloned().collect();
                self.check_columns(&format!("expected.{kind}.{input}.columns"), &files);
            }
        }
    }

    fn check(&self, name: &str, rows: Vec<Value>) {
        self.check_text(name, rows.iter().map(|row| format!("{row}\n")).collect());
    }

    fn check_text(&self, name: &str, found: String) {
        let path = self.folder.join(name);
        if !update() {
            let expected = fs::read_to_string(&path).unwrap_or_default();
            assert!(found == expected, "{}\nexpected\n{expected}found\n{found}", path.display());
        } else if found.is_empty() && name != "expected.jsonl" {
            fs::remove_file(&path).ok();
        } else {
            fs::write(&path, found).unwrap();
        }
    }
}

fn update() -> bool {
    std::env::var_os("UPDATE").is_some()
}

/// Each copy of an input is written at a time of its own.
fn when_it_arrived(row: &mut Value) {
    if row.get("_arrived_at").is_some_and(|at| !at.is_null()) {
        row["_arrived_at"] = Value::from(ARRIVED);
    }
}

fn unhex(text: &str) -> String {
    let bytes = text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap());
    String::from_utf8(bytes.collect()).unwrap()
}

fn batch(command: &str, behaviour: &str) {
    if update() {
        return;
    }
    let golden = Golden::open(command, behaviour);
    golden.dir.ok(&golden.batch());
    golden.check_rows();
}

/// The one way that writes what is expected: the others have to agree with it.
fn at_once(command: &str, behaviour: &str) {
    let golden = Golden::open(command, behaviour);
    golden.dir.ok(&golden.stream("--max-rows 100000"));
    golden.check_rows();
    golden.check_fates();
}

fn one_by_one(command: &str, behaviour: &str) {
    if update() {
        return;
    }
    let golden = Golden::open(command, behaviour);
    golden.dir.ok(&golden.stream(&format!("--max-rows 1 --commit-interval 0s {}", golden.delay())));
    golden.check_rows();
    golden.check_fates();
}

/// Killed after each of its first commits: with `--follow`, so that it does not end before.
fn resumed(command: &str, behaviour: &str) {
    if update() {
        return;
    }
    let golden = Golden::open(command, behaviour);
    let texts = golden.inputs.iter().map(|name| golden.dir.read(&format!("{name}.jsonl")));
    let all: usize = texts.map(|text| text.lines().filter(|line| !line.is_empty()).count()).sum();
    let mut done = (0, 0);
    for _ in 0..3 {
        if done.1 == all as u64 {
            break;
        }
        let line = golden.stream("--max-rows 1 --commit-interval 0s --follow");
        let killed = golden.dir.kill_when(&line, || golden.dir.epoch("out").0 > done.0);
        assert!(killed, "{line} ended by itself");
        done = golden.dir.epoch("out");
    }
    golden.dir.ok(&golden.stream("--max-rows 1 --commit-interval 0s"));
    golden.check_rows();
    golden.check_fates();
}
