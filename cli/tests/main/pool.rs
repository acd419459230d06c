//! Inputs of random histories: two versions of every hour of both, and what clean runs make of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use super::workdir::{Workdir, walk};

pub const INPUTS: [&str; 2] = ["impressions", "plays"];
pub const HOURS: usize = 6;

/// What a file of somebody else is called.
pub const FOREIGN: &str = "theirs.parquet";

/// A command, and how many hours before its own an output hour reaches to in each input.
pub struct Job {
    pub words: &'static str,
    pub reach: [usize; 2],
}

pub const JOBS: [Job; 3] = [
    Job { words: "join --within 2h", reach: [2, 0] },
    Job { words: "aggregate --epoch 30m", reach: [0, 0] },
    Job { words: "attribute --model last,first --lookback 3h", reach: [3, 0] },
];

/// The content of every published hour: its files by name.
pub type Published = BTreeMap<usize, BTreeMap<String, Vec<u8>>>;

/// Which version of its hour each input has; `None` where the hour never was.
pub type Versions = [[Option<usize>; HOURS]; 2];

/// Two versions of every hour of both inputs, made once for all tests, and what clean runs made of them.
pub struct Pool {
    dir: Workdir,
    clean: Mutex<BTreeMap<(usize, Versions), Published>>,
}

pub fn hour(hour: usize) -> String {
    format!("dt=2016-11-07/hr={hour:02}")
}

pub fn pool() -> &'static Pool {
    static POOL: OnceLock<Pool> = OnceLock::new();
    POOL.get_or_init(|| {
        let dir = Workdir::new();
        dir.generate(&format!("--hours {HOURS} --impressions-per-hour 200 --late 0 --duplicates 0 --malformed 0"));
        for (version, part) in ["video_id > 0", "video_id % 5 <> 1"].into_iter().enumerate() {
            for name in INPUTS {
                let mut command = dir.command(&format!("ingest --in raw/{name}.jsonl --schema {name}"));
                command.args(["--where", part, "--watermark-delay", "9h", "--out", &format!("{version}/{name}")]);
                assert!(command.status().unwrap().success());
            }
        }
        let pool = Pool { dir, clean: Mutex::default() };
        for (version, (input, at)) in (0..2).flat_map(|version| cells().map(move |cell| (version, cell))) {
            assert!(pool.place(input, version, at).is_dir(), "version {version} of {} has no {at}", INPUTS[input]);
        }
        pool
    })
}

impl Pool {
    pub fn place(&self, input: usize, version: usize, at: usize) -> PathBuf {
        self.dir.path(&format!("{version}/{}/{}", INPUTS[input], hour(at)))
    }

    /// What a clean run makes of all hours that ever were.
    pub fn clean(&self, job: usize, versions: Versions) -> Published {
        if let Some(published) = self.clean.lock().unwrap().get(&(job, versions)) {
            return published.clone();
        }
        let dir = Workdir::new();
        for (input, at) in cells() {
            if let Some(version) = versions[input][at] {
                copy(&self.place(input, version, at), &dir.path(&format!("{}/{}", INPUTS[input], hour(at))));
            }
        }
        dir.run(&line(job, ""));
        let published = published(&dir.path("out"));
        self.clean.lock().unwrap().insert((job, versions), published.clone());
        published
    }
}

pub fn cells() -> impl Iterator<Item = (usize, usize)> {
    (0..INPUTS.len()).flat_map(|input| (0..HOURS).map(move |at| (input, at)))
}

pub fn line(job: usize, flags: &str) -> String {
    let [impressions, plays] = INPUTS;
    format!("{} --in {impressions}={impressions} --in {plays}={plays} --out out {flags}", JOBS[job].words)
}

pub fn asked(range: Option<(usize, usize)>) -> String {
    range.map_or(String::new(), |(from, to)| format!("--from 2016-11-07T{from:02} --to 2016-11-07T{to:02}"))
}

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in walk(from) {
        fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
    }
}

/// The hours that have a `_SUCCESS`, as readers find them.
pub fn published(out: &Path) -> Published {
    let sealed = (0..HOURS).filter(|at| out.join(hour(*at)).join("_SUCCESS").is_file());
    let files = |at: usize| {
        let own = |file: &PathBuf| file.extension().is_some_and(|e| e == "parquet") && !file.ends_with(FOREIGN);
        let data = walk(&out.join(hour(at))).into_iter().filter(own);
        data.map(|file| (file.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&file).unwrap())).collect()
    };
    sealed.map(|at| (at, files(at))).collect()
}
