//! Killed at any moment, as by the kernel, and started again: the same bytes and the same account of rows. As a stream,
//! and over history, where memory is too short for all rows, so that most of them wait for their hour on disk.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::dice::Dice;
use super::workdir::{Workdir, parquet, walk};

const KILLS: usize = 10;

/// Late and rejected rows by kind and input, without the names of the files that they stand in.
fn aside(dir: &Workdir, out: &str) -> BTreeMap<String, Vec<Value>> {
    let mut rows: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for kind in ["late", "rejected"] {
        let mut files = walk(&dir.path(&format!("{out}/_rescan/{kind}")));
        files.sort();
        for file in files {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            let input = name.split('-').next().unwrap().to_owned();
            rows.entry(format!("{kind} {input}")).or_default().extend(parquet(&file));
        }
    }
    rows
}

const STREAM: &str = "--watermark-delay 30m";
const HISTORY: &str = "--memory-limit 16M";

fn survives(line: &str, seed: u64) {
    for flags in [STREAM, HISTORY] {
        survives_as(&format!("{line} {flags}"), flags == STREAM, seed);
    }
}

/// Kills a run a few commits and a random moment after it went on, again and again.
fn survives_as(line: &str, stream: bool, seed: u64) {
    println!("seed {seed}");
    let dir = Workdir::new();
    let mut dice = Dice(seed);
    dir.generate("--hours 3 --impressions-per-hour 60000 --late 0.02 --duplicates 0.02 --malformed 0.002");
    dir.ok(&format!("{line} --out whole"));
    let line = format!("{line} --out out --max-rows 2000 --commit-interval 0s");
    let mut done = 0;
    for kill in 0..KILLS {
        let (commits, moment) = (1 + dice.below(4), Duration::from_micros(dice.below(20_000)));
        let mut there: Option<Instant> = None;
        let killed = dir.kill_when(&line, || {
            if there.is_none() && dir.epoch("out").0 >= done + commits {
                there = Some(Instant::now());
            }
            there.is_some_and(|since| since.elapsed() >= moment)
        });
        assert!(killed, "the run ended before kill {kill}: make it longer");
        done = dir.epoch("out").0;
    }
    dir.ok(&line);
    assert_eq!(dir.ledger("out"), dir.ledger("whole"));
    assert!(dir.parts("out") == dir.parts("whole"), "other bytes");
    let aside = [aside(&dir, "out"), aside(&dir, "whole")];
    assert_eq!(aside[0], aside[1]);
    assert_eq!(aside[0].keys().any(|kind| kind.starts_with("late ")), stream);
    assert!(!aside[0].is_empty());
    assert!(dir.ok(&line).err.contains("up to date"));
}

#[test]
fn join() {
    survives("join --type full --in impressions=raw/impressions.jsonl --in plays=raw/plays.jsonl", 11);
}

#[test]
fn aggregate() {
    survives("aggregate --epoch 15m --in impressions=raw/impressions.jsonl --in plays=raw/plays.jsonl", 12);
}

#[test]
fn ingest() {
    survives("ingest --in raw/impressions.jsonl --schema impressions", 13);
}
