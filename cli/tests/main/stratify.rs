//! `stratify` from outside: the same sample however rows are laid out and read, samples that nest, rules that cannot be
//! met.

use std::collections::BTreeSet;
use std::fs::File;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::workdir::Workdir;

/// Made-up impressions, and what ingest keeps of them.
fn made() -> Workdir {
    let dir = Workdir::new();
    dir.generate("--hours 3 --impressions-per-hour 2000 --late 0 --malformed 0 --duplicates 0");
    dir.ok("ingest --in raw/impressions.jsonl --schema impressions --out archive");
    dir
}

fn manifest(dir: &Workdir, out: &str) -> Value {
    serde_json::from_str(&dir.read(&format!("{out}/_rescan/sample.json"))).unwrap()
}

/// What each sealed hour was made of: of a sample all hours of its run, so the same for each of them.
fn made_of(dir: &Workdir, out: &str) -> Vec<Value> {
    let sealed = dir.files(out).into_iter().filter(|file| file.ends_with("_SUCCESS"));
    let success = |file: String| serde_json::from_str::<Value>(&dir.read(&format!("{out}/{file}"))).unwrap();
    sealed.map(|file| success(file)["inputs"]["identity"].take()).collect()
}

fn ids(dir: &Workdir, out: &str) -> BTreeSet<String> {
    dir.rows(out).iter().map(|row| row["event_id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn any_layout_and_any_number_of_threads_give_one_sample() {
    let dir = made();
    let lines: Vec<String> = dir.read("raw/impressions.jsonl").lines().map(str::to_owned).collect();
    let mut found = BTreeSet::new();
    for layout in 0..50 {
        // Files of different sizes, their rows in another order each time.
        let files = 1 + layout % 7;
        let mut shuffled = lines.clone();
        let length = shuffled.len();
        (0..length).for_each(|at| shuffled.swap(at, (at * 7919 + layout * 104_729) % length));
        let name = format!("layout-{layout}");
        std::fs::create_dir(dir.path(&name)).unwrap();
        for (number, part) in shuffled.chunks(length / files + 1).enumerate() {
            dir.write(&format!("{name}/{number}.jsonl"), part.join("\n"));
        }
        let threads = [1, 2, 3, 8][layout % 4];
        let rows = [777, 50_000][layout % 2];
        dir.ok(&format!(
            "stratify --in {name} --schema impressions --size 300 --strata country,device --watermark-delay 4h \
             --threads {threads} --max-rows {rows} --out out-{layout}"
        ));
        found.insert(manifest(&dir, &format!("out-{layout}"))["content"].to_string());
    }
    for threads in [1, 2, 3, 8] {
        let out = format!("batch-{threads}");
        dir.ok(&format!("stratify --in archive --size 300 --strata country,device --threads {threads} --out {out}"));
        found.insert(manifest(&dir, &out)["content"].to_string());
    }
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found.first().unwrap().contains("300"), "{found:?}");
}

#[test]
fn samples_nest() {
    let dir = made();
    let sample = |size: usize| {
        dir.ok(&format!("stratify --in archive --size {size} --out sample-{size}"));
        ids(&dir, &format!("sample-{size}"))
    };
    let (small, middle, large) = (sample(60), sample(300), sample(1200));
    assert_eq!((small.len(), middle.len(), large.len()), (60, 300, 1200));
    assert!(small.is_subset(&middle) && middle.is_subset(&large));
    dir.ok("stratify --in archive --size 60 --seed 1 --out other");
    assert_ne!(ids(&dir, "other"), small);
}

#[test]
fn units_are_whole_and_in_one_split() {
    let dir = made();
    dir.ok("stratify --in archive --size 40 --unit profile_id --split train=0.5,val=0.25,test=0.25 --out out");
    let unit = |row: &Value| row["profile_id"].as_i64().unwrap();
    let chosen = dir.rows("out");
    let units: BTreeSet<i64> = chosen.iter().map(unit).collect();
    assert_eq!(units.len(), 40);
    let of_units = dir.rows("archive").iter().filter(|row| units.contains(&unit(row))).count();
    assert_eq!(chosen.len(), of_units);
    let splits: BTreeSet<(i64, &str)> = chosen.iter().map(|row| (unit(row), row["split"].as_str().unwrap())).collect();
    assert_eq!(splits.len(), 40);
    assert_eq!(splits.iter().map(|(_, split)| split).collect::<BTreeSet<_>>().len(), 3);
    // A profile is seen in more than one row of the screen.
    let torn = dir.run("stratify --in archive --size 40 --unit profile_id --strata row --out torn");
    assert_eq!(torn.code, Some(65), "{}", torn.err);
    assert!(torn.err.contains("more than one stratum"), "{}", torn.err);
    assert!(dir.rows("torn").is_empty());
}

#[test]
fn rules_that_cannot_be_met_are_named_and_nothing_is_written() {
    let dir = made();
    dir.write(
        "rules.toml",
        "size = 100\n[[rule]]\nname = 'big'\nstrata = ['country']\nmin = { US = 80, BR = 40 }\npriority = 2\n",
    );
    for source in ["archive", "raw/impressions.jsonl --schema impressions --watermark-delay 4h"] {
        let ran = dir.run(&format!("stratify --in {source} --rules rules.toml --out out"));
        assert_eq!(ran.code, Some(65), "{}", ran.err);
        assert!(ran.err.contains("big") && ran.err.contains("US") && ran.err.contains("--relax"), "{}", ran.err);
        assert!(dir.files("out").is_empty(), "{:?}", dir.files("out"));
    }
    dir.ok("stratify --in archive --rules rules.toml --relax --out relaxed");
    assert_eq!(dir.rows("relaxed").len(), 100);
    assert!(!manifest(&dir, "relaxed")["relaxed"].as_array().unwrap().is_empty());
    let wrong =
        [("siz = 3", "size"), ("[[rule]]\nstrata = ['nothing']\nmin_each = 1", "nothing"), ("size = -1", "size")];
    for (rules, named) in wrong {
        dir.write("wrong.toml", rules);
        let ran = dir.run("stratify --in archive --rules wrong.toml --out wrong");
        assert!(ran.code == Some(78) && ran.err.contains(named), "{:?} {}", ran.code, ran.err);
    }
}

#[test]
fn what_a_sample_cannot_be_is_refused() {
    let dir = made();
    dir.write("positive.toml", "[[rule]]\nstrata = ['country']\n[negatives]\npositive = 'rank'\nper_positive = 1\n");
    dir.write("window.toml", "size = 9\n[[rule]]\nstrata = ['row_number() over () % 3']\nmax_each = 9\n");
    dir.write("query.toml", "size = 9\n[[rule]]\nstrata = ['(select 1)']\nmax_each = 9\n");
    for (flags, code, why) in [
        ("--rules positive.toml", 78, "true or false"),
        ("--rules window.toml", 78, "window"),
        ("--rules query.toml", 78, "asks a query"),
        ("--size 9 --approx --unit profile_id", 2, "--approx"),
    ] {
        let ran = dir.run(&format!("stratify --in archive {flags} --out out"));
        assert!(ran.code == Some(code) && ran.err.contains(why), "{flags}: {:?} {}", ran.code, ran.err);
    }
    dir.ok("stratify --in archive --size 90 --strata coalesce(country,'x'),device --out sample");
    let again = dir.run("stratify --in sample --size 9 --out again");
    assert!(again.code == Some(2) && again.err.contains("weight"), "{}", again.err);
}

#[test]
fn weights_give_back_the_whole() {
    let dir = made();
    dir.write("rules.toml", "[[rule]]\nstrata = ['country']\n[negatives]\npositive = 'rank = 1'\nper_positive = 3\n");
    dir.ok("stratify --in archive --rules rules.toml --out out");
    let all = dir.rows("archive");
    let chosen = dir.rows("out");
    let positive = |row: &&Value| row["rank"] == 1;
    assert_eq!(chosen.iter().filter(positive).count(), all.iter().filter(positive).count());
    let weights: f64 = chosen.iter().map(|row| row["weight"].as_f64().unwrap()).sum();
    assert!((weights - all.len() as f64).abs() < 1e-6, "{weights} for {}", all.len());
    assert!(chosen.len() < all.len() && chosen.iter().filter(positive).all(|row| row["weight"] == 1.0));
    // What there was is told as it was, and what the proportion to the positives left of it.
    let achieved = manifest(&dir, "out")["achieved"].take();
    let positives = all.iter().filter(positive).count() as u64;
    assert_eq!(achieved["supply"], all.len());
    assert_eq!(achieved["left"], chosen.len());
    let lines = achieved["rules"][0]["lines"].as_array().unwrap();
    for line in lines {
        let there = all.iter().filter(|row| row["country"] == line["stratum"]).count();
        assert_eq!(line["supply"], there, "{line}");
    }
    let by_sign = &achieved["rules"].as_array().unwrap().last().unwrap()["lines"];
    assert_eq!(
        (&by_sign[0]["supply"], &by_sign[1]["supply"]),
        (&(all.len() as u64 - positives).into(), &positives.into())
    );
    let told = dir.ok("inspect out").out;
    assert!(told.contains("left") && told.contains("are left by per_positive"), "{told}");
}

#[test]
fn batch_and_stream_agree_and_inspect_sees_what_was_touched() {
    let dir = made();
    dir.write("rules.toml", "size = 500\n[[rule]]\nstrata = ['device']\nshare = { tv = 0.4, other = 0.6 }\n");
    dir.ok("stratify --in archive --rules rules.toml --out batch");
    dir.ok("stratify --in archive --rules rules.toml --report page.html --out batch");
    dir.ok("stratify --in archive --rules rules.toml --report report.json --out batch");
    let page = dir.read("page.html");
    assert!(page.contains("<svg") && page.contains("40.00 %") && page.contains("chi-square"), "{page}");
    let report: Value = serde_json::from_str(&dir.read("report.json")).unwrap();
    assert_eq!(report["achieved"]["rules"][0]["largest_deviation"], 0.0);
    dir.ok("stratify --in archive --replay --max-rows 777 --rules rules.toml --out stream");
    let same = dir.run("reconcile --batch batch --stream stream");
    assert!(same.code == Some(0) && same.err.contains(" 0 differences"), "{}", same.err);
    assert_eq!(manifest(&dir, "batch")["content"], manifest(&dir, "stream")["content"]);
    assert_eq!(dir.rows("batch").iter().filter(|row| row["device"] == "tv").count(), 200);
    assert!(dir.ok("stratify --in archive --rules rules.toml --out batch").err.contains("up to date"));
    assert!(dir.ok("inspect batch").out.contains("sample verified"));
    let hour = dir.files("batch").into_iter().find(|file| file.ends_with(".parquet")).unwrap();
    std::fs::remove_file(dir.path(&format!("batch/{hour}"))).unwrap();
    let touched = dir.run("inspect batch");
    assert_eq!(touched.code, Some(65), "{}", touched.err);
}

#[test]
fn an_output_holds_the_hours_of_one_sample() {
    let dir = made();
    let line = "stratify --in archive --size 300 --out out";
    dir.ok(&format!("{line} --from 2016-11-07T00 --to 2016-11-07T02"));
    let before = dir.parts("out");
    let other = dir.run(&format!("{line} --from 2016-11-07T01 --to 2016-11-07T03"));
    assert_eq!(other.code, Some(78), "{}", other.err);
    assert!(other.err.contains("2016-11-07T00") && other.err.contains("--force"), "{}", other.err);
    assert!(dir.parts("out") == before && dir.ok("inspect out").out.contains("sample verified"));
    dir.ok(&format!("{line} --from 2016-11-07T01 --to 2016-11-07T03 --force"));
    dir.ok("stratify --in archive --size 300 --out alone --from 2016-11-07T01 --to 2016-11-07T03");
    assert!(dir.parts("out") == dir.parts("alone"), "what was there before shows");
    assert_eq!(made_of(&dir, "out").len(), 2);
    assert!(dir.ok("inspect out").out.contains("sample verified"));
    let replay = "stratify --in archive --replay --size 300 --out replay";
    dir.ok(&format!("{replay} --to 2016-11-07T02"));
    let other = dir.run(&format!("{replay} --from 2016-11-07T01"));
    assert!(other.code == Some(78) && other.err.contains("--to was 2016-11-07T02"), "{:?} {}", other.code, other.err);
    // An archive that grew: all hours that there were are drawn anew.
    dir.ok(line);
    assert_eq!(made_of(&dir, "out").len(), 3);
    let lock = File::options().write(true).open(dir.path("out/_rescan/journal/sample/LOCK")).unwrap();
    lock.lock().unwrap();
    let second = dir.run(&format!("{line} --hour 2016-11-07T01"));
    assert!(second.code == Some(75) && second.err.contains("sample/LOCK"), "{:?} {}", second.code, second.err);
}

/// Two samples of the same twelve hours, and the first again in `out`.
fn two_samples() -> (Workdir, impl Fn(u64, &str) -> String) {
    let dir = Workdir::new();
    dir.generate("--hours 12 --impressions-per-hour 100 --late 0 --malformed 0 --duplicates 0");
    dir.ok("ingest --in raw/impressions.jsonl --schema impressions --out archive");
    let line = |seed: u64, out: &str| format!("stratify --in archive --size 600 --seed {seed} --out {out}");
    [(0, "whole-0"), (1, "whole-1"), (0, "out")].iter().for_each(|(seed, out)| drop(dir.ok(&line(*seed, out))));
    (dir, line)
}

#[track_caller]
fn of_one_sample(dir: &Workdir) -> usize {
    let made_of = made_of(dir, "out");
    assert!(made_of.iter().all(|identity| *identity == made_of[0]), "{made_of:?}");
    made_of.len()
}

/// A directory where `_SUCCESS` is to be stops a run after its decision, at the same place each time.
#[test]
fn hours_of_two_samples_are_never_sealed_beside_one_another() {
    let (dir, line) = two_samples();
    for (draw, hour) in [3, 8, 11].into_iter().enumerate() {
        let (seed, success) = ((draw as u64 + 1) % 2, dir.path(&format!("out/dt=2016-11-07/hr={hour:02}/_SUCCESS")));
        std::fs::remove_file(&success).unwrap();
        std::fs::create_dir(&success).unwrap();
        let stopped = dir.run(&line(seed, "out"));
        assert!(stopped.code == Some(74) && stopped.err.contains("_SUCCESS"), "{:?} {}", stopped.code, stopped.err);
        std::fs::remove_dir(&success).unwrap();
        assert!(of_one_sample(&dir) < 12);
        assert!(dir.ok(&line(seed, "out")).err.contains("up to date"), "what was decided is only published");
        assert!(dir.parts("out") == dir.parts(&format!("whole-{seed}")), "hour {hour}");
        assert!(dir.ok("inspect out").out.contains("sample verified"));
    }
}

/// Killed, as by the kernel, some moments after the decision.
#[test]
fn a_sample_that_takes_the_place_of_another_survives_kills() {
    let (dir, line) = two_samples();
    for kill in 1..=6 {
        let decided = |dir: &Workdir| dir.path(&format!("out/_rescan/journal/sample/{:010}.json", kill + 1)).exists();
        let mut since = None;
        dir.kill_when(&line(kill % 2, "out"), || {
            let since = if decided(&dir) { *since.get_or_insert_with(Instant::now) } else { return false };
            since.elapsed() >= Duration::from_millis(2 * (kill - 1))
        });
        of_one_sample(&dir);
        dir.ok(&line(kill % 2, "out"));
        assert!(dir.parts("out") == dir.parts(&format!("whole-{}", kill % 2)), "kill {kill}");
        assert!(dir.ok("inspect out").out.contains("sample verified"));
    }
}

/// Values with `/` in them, and the text null beside a null.
#[test]
fn different_values_are_different_strata() {
    let dir = Workdir::new();
    let row = |(id, [country, device]): (usize, [&str; 2])| {
        format!("{{\"event_id\":\"{id}\",\"ts\":{id},\"country\":{country},\"device\":{device}}}\n")
    };
    let rows = [[r#""a/b""#, r#""c""#], [r#""a""#, r#""b/c""#], ["null", r#""x""#], [r#""null""#, r#""x""#]];
    dir.write("log.jsonl", rows.into_iter().enumerate().map(row).collect::<String>());
    let line = "stratify --in log.jsonl --schema impressions --size";
    dir.ok(&format!("{line} 4 --strata country,device --out all"));
    let lines = manifest(&dir, "all")["achieved"]["rules"][0]["lines"].take();
    let strata: Vec<&str> = lines.as_array().unwrap().iter().map(|line| line["stratum"].as_str().unwrap()).collect();
    assert_eq!(strata, [r"\\null/x", r"a/b\/c", r"a\/b/c", "null/x"]);
    for (stratum, id) in [(r"a\/b/c", "0"), (r"a/b\/c", "1"), ("null/x", "2"), (r"\\null/x", "3")] {
        dir.write("rules.toml", format!("[[rule]]\nstrata = ['country', 'device']\nmin = {{ '{stratum}' = 1 }}\n"));
        dir.ok(&format!("{line} 1 --rules rules.toml --out one-{id}"));
        assert_eq!(ids(&dir, &format!("one-{id}")), BTreeSet::from([id.to_owned()]), "{stratum}");
    }
}

/// What gives way may ask for more than any rule allowed: no unit may be forgotten before that is known.
#[test]
fn relaxed_rules_find_all_the_units_that_they_need() {
    let dir = made();
    let rules = "[[rule]]\nstrata = ['country']\nmax_each = 2\npriority = 2\n\
                 [[rule]]\nstrata = ['country']\nmin = { US = 10 }\npriority = 1\n";
    dir.write("rules.toml", rules);
    assert_eq!(dir.run("stratify --in archive --rules rules.toml --out out").code, Some(65));
    for (number, source) in ["archive", "archive --replay --max-rows 300"].into_iter().enumerate() {
        dir.ok(&format!("stratify --in {source} --rules rules.toml --relax --out out-{number}"));
        let rows = dir.rows(&format!("out-{number}"));
        assert_eq!(rows.iter().filter(|row| row["country"] == "US").count(), 10);
    }
}

#[test]
fn a_report_is_written_by_runs_alone() {
    let dir = made();
    let line = "stratify --in archive --size 9 --out out";
    dir.ok(line);
    for flag in ["--dry-run", "--explain"] {
        dir.ok(&format!("{line} {flag} --report page.html"));
        assert!(!dir.path("page.html").exists(), "{flag}");
    }
    let ran = dir.run(&format!("{line} --report page.pdf"));
    assert!(ran.code == Some(2) && ran.err.contains("FILE.html nor FILE.json"), "{:?} {}", ran.code, ran.err);
    dir.ok(&format!("{line} --report page.html"));
    assert!(dir.read("page.html").contains("A stratified sample"));
}
