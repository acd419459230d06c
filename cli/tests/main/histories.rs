//! Random histories: inputs appear, vanish, change and break, runs come with and without a range and are killed, and
//! others meddle with the output. After every run each published hour is what it was, or what a clean run over complete
//! input makes, and the exit code says whether something was in the way.
//!
//! `RESCAN_TEST_HISTORIES=500` says how many; `RESCAN_TEST_SEED=7` begins at another seed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::catch_unwind;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::dice::Dice;
use super::pool::{
    FOREIGN, HOURS, INPUTS, JOBS, Pool, Published, Versions, asked, cells, copy, hour, line, pool, published,
};
use super::workdir::{Workdir, walk};

/// How many histories run where nobody asks for more.
const HISTORIES: u64 = 60;

/// What is wrong with an input hour that is there.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    Truncated,
    Flipped,
    Misfiled,
}

/// One history, as far as it has come.
struct History<'a> {
    pool: &'a Pool,
    dir: Workdir,
    job: usize,
    dice: Dice,
    /// The newest version of every hour that ever was, there or not.
    versions: Versions,
    there: [[bool; HOURS]; 2],
    faults: BTreeMap<(usize, usize), Fault>,
    /// A file of somebody else in the output.
    foreign: Option<PathBuf>,
    /// The hour of the output that was damaged since the last run.
    damaged: Option<usize>,
    before: Published,
    said: Vec<String>,
}

#[test]
fn nothing_published_is_lost_or_wrong() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (first, count) = (number("RESCAN_TEST_SEED", 1), number("RESCAN_TEST_HISTORIES", HISTORIES));
    println!("seeds {first} to {}", first + count - 1);
    let (pool, next, wrong) = (pool(), Mutex::new(first..first + count), Mutex::new(Vec::new()));
    let play = || {
        loop {
            let seed = next.lock().unwrap().next();
            let Some(seed) = seed else { break };
            if catch_unwind(|| History::new(pool, seed).play(seed)).is_err() {
                wrong.lock().unwrap().push(seed);
            }
        }
    };
    std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(play))));
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "wrong: {wrong:?}");
}

impl<'a> History<'a> {
    fn new(pool: &'a Pool, seed: u64) -> History<'a> {
        let mut dice = Dice(seed);
        let job = dice.below(JOBS.len() as u64) as usize;
        let dir = Workdir::new();
        INPUTS.iter().for_each(|input| fs::create_dir_all(dir.path(input)).unwrap());
        let mut history = History {
            pool,
            dir,
            job,
            dice,
            versions: [[None; HOURS]; 2],
            there: [[false; HOURS]; 2],
            faults: BTreeMap::new(),
            foreign: None,
            damaged: None,
            before: Published::new(),
            said: vec![format!("seed {seed}: {}", JOBS[job].words)],
        };
        for input in 0..2 {
            (0..2).for_each(|at| history.appear(input, at));
        }
        history
    }

    fn play(mut self, seed: u64) {
        for _ in 0..12 {
            self.change();
            if self.dice.below(3) > 0 {
                self.run();
            }
        }
        // In the end all is well again, and one run makes all of it good.
        self.heal();
        for (input, at) in cells() {
            self.appear(input, at);
        }
        self.run_through(None);
        let (found, clean) = (published(&self.dir.path("out")), self.pool.clean(self.job, self.versions));
        assert!(found == clean && found.len() == HOURS, "seed {seed}: the end differs\n{}", self.said.join("\n"));
    }

    fn input(&self, input: usize, at: usize) -> PathBuf {
        self.dir.path(&format!("{}/{}", INPUTS[input], hour(at)))
    }

    fn appear(&mut self, input: usize, at: usize) {
        let version = *self.versions[input][at].get_or_insert(0);
        let _ = fs::remove_dir_all(self.input(input, at));
        self.faults.remove(&(input, at));
        copy(&self.pool.place(input, version, at), &self.input(input, at));
        self.there[input][at] = true;
        self.said.push(format!("{} has {at}, version {version}", INPUTS[input]));
    }

    fn change(&mut self) {
        let (input, at) = (self.dice.below(2) as usize, self.dice.below(HOURS as u64) as usize);
        match self.dice.below(12) {
            0..5 => self.appear(input, at),
            5 => self.vanish(input, at),
            6 => {
                let next = self.versions[input][at].map_or(0, |version| 1 - version);
                self.versions[input][at] = Some(next);
                self.appear(input, at);
            }
            7 => self.break_input(input, at, Fault::Truncated),
            8 => self.break_input(input, at, Fault::Flipped),
            9 => self.break_input(input, at, Fault::Misfiled),
            10 => self.meddle(at),
            _ => self.heal(),
        }
    }

    fn vanish(&mut self, input: usize, at: usize) {
        let _ = fs::remove_dir_all(self.input(input, at));
        self.there[input][at] = false;
        self.faults.remove(&(input, at));
        self.said.push(format!("{} loses {at}", INPUTS[input]));
    }

    fn break_input(&mut self, input: usize, at: usize, fault: Fault) {
        let files = walk(&self.input(input, at));
        let Some(file) = files.iter().find(|file| file.extension().is_some_and(|e| e == "parquet")) else { return };
        if self.faults.contains_key(&(input, at)) {
            return;
        }
        let mut bytes = fs::read(file).unwrap();
        match fault {
            Fault::Truncated => bytes.truncate(bytes.len() / 2),
            Fault::Flipped => {
                let place = self.dice.below(bytes.len() as u64) as usize;
                bytes[place] ^= 1 << self.dice.below(8);
            }
            Fault::Misfiled => {
                let other = self.pool.place(input, 0, (at + 1) % HOURS);
                fs::remove_dir_all(self.input(input, at)).unwrap();
                copy(&other, &self.input(input, at));
                bytes.clear();
            }
        }
        if !bytes.is_empty() {
            fs::write(file, bytes).unwrap();
        }
        self.faults.insert((input, at), fault);
        self.said.push(format!(
            "{} has {at} broken: {}",
            INPUTS[input],
            ["cut", "flipped", "misfiled"][fault as usize]
        ));
    }

    /// A file of somebody else beside the output's, or a byte of the output's own that turns.
    fn meddle(&mut self, at: usize) {
        let place = self.dir.path(&format!("out/{}", hour(at)));
        let own = walk(&place).into_iter().find(|file| file.extension().is_some_and(|e| e == "parquet"));
        match own.filter(|_| self.foreign.is_none() && self.damaged.is_none()) {
            Some(own) if self.dice.below(2) == 0 => {
                let mut bytes = fs::read(&own).unwrap();
                let place = self.dice.below(bytes.len() as u64) as usize;
                bytes[place] ^= 1;
                fs::write(own, bytes).unwrap();
                self.damaged = Some(at);
                self.before = published(&self.dir.path("out"));
                self.said.push(format!("the output's hour {at} has a byte flipped"));
            }
            Some(_) => {
                let foreign = place.join(FOREIGN);
                fs::copy(walk(&self.pool.place(0, 0, 0)).pop().unwrap(), &foreign).unwrap();
                self.foreign = Some(foreign);
                self.said.push(format!("the output's hour {at} has a file of somebody else"));
            }
            None => {}
        }
    }

    fn heal(&mut self) {
        for (input, at) in self.faults.keys().copied().collect::<Vec<_>>() {
            self.appear(input, at);
        }
        if let Some(foreign) = self.foreign.take() {
            fs::remove_file(foreign).expect("a file of somebody else is theirs to remove");
            self.said.push("the file of somebody else is gone".to_owned());
        }
    }

    /// Any run: with a range or without, to its end or killed.
    fn run(&mut self) {
        let (from, to) = (self.dice.below(HOURS as u64) as usize, 1 + self.dice.below(HOURS as u64) as usize);
        let range = (self.dice.below(3) == 0 && from < to).then_some((from, to));
        match self.dice.below(4) {
            0 => self.run_killed(range),
            _ => self.run_through(range),
        }
    }

    fn run_killed(&mut self, range: Option<(usize, usize)>) {
        let moment = Duration::from_micros(self.dice.below(120_000));
        let words = line(self.job, &asked(range));
        self.said.push(format!("{words}, killed after {moment:?}"));
        let begun = Instant::now();
        self.dir.kill_when(&words, || begun.elapsed() >= moment);
        self.check(None, range);
    }

    fn run_through(&mut self, range: Option<(usize, usize)>) {
        let ran = self.dir.run(&line(self.job, &asked(range)));
        self.said.push(format!("run {}: {:?}\n{}", asked(range), ran.code, ran.err.trim()));
        self.check(ran.code, range);
    }

    /// The input hours that an hour of output needs: its own, and those before it since the input's first.
    fn needed(&self, at: usize) -> Vec<(usize, usize)> {
        let reach = JOBS[self.job].reach;
        let first = |input: usize| (0..HOURS).find(|at| self.versions[input][*at].is_some()).unwrap_or(0);
        let hours = |input: usize| at.saturating_sub(reach[input]).max(first(input).min(at))..=at;
        (0..INPUTS.len()).flat_map(|input| hours(input).map(move |at| (input, at))).collect()
    }

    fn missing(&self, at: usize) -> Vec<(usize, usize)> {
        self.needed(at).into_iter().filter(|(input, at)| !self.there[*input][*at]).collect()
    }

    fn faulty(&self, at: usize) -> bool {
        self.needed(at).iter().any(|cell| self.faults.contains_key(cell))
    }

    /// After a run; `code` is none where it was killed.
    fn check(&mut self, code: Option<i32>, range: Option<(usize, usize)>) {
        let now = published(&self.dir.path("out"));
        let clean = self.pool.clean(self.job, self.versions);
        for (at, files) in &now {
            let same = self.before.get(at) == Some(files) || clean.get(at) == Some(files);
            assert!(same || self.says_what_is_absent(*at), "hour {at} is wrong\n{}", self.told());
        }
        if let Some(foreign) = &self.foreign {
            assert!(foreign.is_file(), "a file of somebody else is gone\n{}", self.told());
        }
        let Some(code) = code else {
            // An hour whose change is decided and not yet published has no `_SUCCESS` until the next run.
            self.before.extend(now);
            return;
        };
        let asked = range.map_or(0..HOURS, |(from, to)| from..to);
        // A damaged hour is taken away before it is made again.
        for at in self.before.keys().filter(|at| asked.contains(at) && Some(**at) != self.damaged) {
            assert!(now.contains_key(at), "hour {at} is lost\n{}", self.told());
        }
        let whole = |at: &usize| self.missing(*at).is_empty();
        match code {
            0 => {
                for at in asked.filter(whole) {
                    assert!(
                        !self.faulty(at),
                        "hour {at} needs what is broken, and the run says nothing\n{}",
                        self.told()
                    );
                    assert!(now.get(&at) == clean.get(&at), "hour {at} is not up to date\n{}", self.told());
                }
                assert!(
                    self.foreign.is_none() || range.is_some(),
                    "a file of somebody else is passed over\n{}",
                    self.told()
                );
                self.damaged = self.damaged.filter(|at| range.is_some() || !self.missing(*at).is_empty());
            }
            65 => {
                let wrong = !self.faults.is_empty() || self.foreign.is_some() || self.damaged.is_some();
                assert!(wrong, "nothing is broken\n{}", self.told());
            }
            66 => assert!(asked.clone().any(|at| !whole(&at)), "nothing is missing\n{}", self.told()),
            other => panic!("exit code {other}\n{}", self.told()),
        }
        self.before.extend(now);
    }

    /// Whether the `_SUCCESS` of an hour names every input hour that it was made without.
    fn says_what_is_absent(&self, at: usize) -> bool {
        let text = self.dir.read(&format!("out/{}/_SUCCESS", hour(at)));
        let said: Value = serde_json::from_str(&text).unwrap();
        let absent = said["inputs"]["absent"].as_array().cloned().unwrap_or_default();
        let named: BTreeSet<&str> = absent.iter().filter_map(Value::as_str).collect();
        let missing = self.missing(at);
        let name = |(input, at): &(usize, usize)| format!("{}/2016-11-07T{at:02}", INPUTS[*input]);
        !missing.is_empty() && missing.iter().all(|cell| cell.1 != at && named.contains(name(cell).as_str()))
    }

    fn told(&self) -> String {
        self.said.join("\n")
    }
}
