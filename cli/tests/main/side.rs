//! `--side` from outside: batch and stream agree, a copy can be pinned, and a source that goes away stops nothing.

use std::fs;

use serde_json::Value;

use super::workdir::{Workdir, walk};

const BATCH: &str = "--in impressions=archive/impressions --in plays=archive/plays";
const STREAM: &str = "--in impressions=raw/impressions.jsonl --in plays=raw/plays.jsonl";
const FOLLOW: &str =
    "ingest --in feed --schema impressions --side videos=videos.jsonl --interval 10ms --commit-interval 0s";

/// Made-up events, and of most of their videos the genre, which changes in the second hour.
fn made() -> Workdir {
    let dir = Workdir::new();
    dir.archive("--hours 3 --impressions-per-hour 1500");
    dir.write("videos.csv", videos("news"));
    dir
}

fn videos(later: &str) -> String {
    let of = |video: u64| format!("{video},2016-11-07T00:10:00Z,drama\n{video},2016-11-07T01:30:00Z,{later}\n");
    ["video_id,valid_from,genre\n".to_owned()].into_iter().chain((80_000_000..80_000_060).map(of)).collect()
}

/// The kept copies of a run's side inputs.
fn copies(dir: &Workdir, out: &str) -> Vec<String> {
    let files = walk(&dir.path(&format!("{out}/_rescan/side")));
    files.iter().map(|file| file.strip_prefix(dir.path("")).unwrap().to_string_lossy().into_owned()).collect()
}

#[test]
fn batch_and_stream_join_the_same_copy() {
    let dir = made();
    for (at, command) in ["join --type full", "aggregate --by videos_genre", "attribute"].into_iter().enumerate() {
        let (batch, stream) = (format!("batch-{at}"), format!("stream-{at}"));
        dir.ok(&format!("{command} {BATCH} --side videos=videos.csv --out {batch}"));
        dir.ok(&format!("{command} {STREAM} --side videos=videos.csv --max-rows 700 --out {stream}"));
        let same = dir.run(&format!("reconcile --batch {batch} --stream {stream}"));
        assert!(same.code == Some(0) && same.err.contains(" 0 differences"), "{command}: {}{}", same.out, same.err);
        let [copy] = &copies(&dir, &stream)[..] else { panic!("one copy") };
        assert_eq!(copies(&dir, &batch), [copy.replace(&stream, &batch)]);
        let (_, epoch) = dir.record(&stream).unwrap();
        assert!(copy.contains(epoch["sides"]["videos"]["version"].as_str().unwrap()), "{epoch}");
    }
    let genres: Vec<Value> = dir.rows("batch-1").iter().map(|row| row["videos_genre"].clone()).collect();
    assert!([Value::Null, "drama".into(), "news".into()].iter().all(|genre| genres.contains(genre)), "{genres:?}");
    let of = |time: &str, from: Option<&str>, genre: Option<&str>| {
        time.is_empty()
            || genre.is_none()
            || match from {
                Some("2016-11-07T00:10:00") => time < "2016-11-07T01:30:00" && genre == Some("drama"),
                Some("2016-11-07T01:30:00") => time >= "2016-11-07T01:30:00" && genre == Some("news"),
                _ => false,
            }
    };
    for row in dir.rows("batch-0") {
        let at = |name: &str| row[name].as_str();
        for side in ["impression", "play"] {
            let (from, genre) = (at(&format!("{side}_videos_valid_from")), at(&format!("{side}_videos_genre")));
            assert!(of(at(&format!("{side}_ts")).unwrap_or_default(), from, genre), "{row}");
        }
    }
}

#[test]
fn another_content_makes_hours_stale_and_a_pinned_copy_does_not() {
    let dir = made();
    let line = |side: &str| format!("join {BATCH} --out out --side videos={side}");
    dir.ok(&line("videos.csv"));
    let before = dir.parts("out");
    let [copy] = &copies(&dir, "out")[..] else { panic!("one copy") };
    assert!(dir.ok(&line("videos.csv")).err.contains("up to date"));
    dir.write("videos.csv", videos("comedy"));
    assert!(dir.ok(&line("videos.csv")).err.contains(" in 3 hours"));
    assert_ne!(dir.parts("out"), before);
    assert_eq!(copies(&dir, "out").len(), 2);
    assert!(dir.ok(&line(copy)).err.contains(" in 3 hours"));
    assert_eq!(dir.parts("out"), before);
}

#[test]
fn what_cannot_be_joined_is_refused() {
    let dir = made();
    dir.write("other.csv", "station,name\n1,x\n");
    dir.write("both.csv", "video_id,rank,x\n1,1,x\n");
    dir.write("none.csv", "video_id,genre\n");
    dir.write("broken.jsonl", "{\"video_id\":1,\"genre\":\"x\"}\n{\"video_id\":\n");
    let cases = [
        ("--side videos=away.csv", 66, "away.csv"),
        ("--side videos=none.csv", 65, "none.csv"),
        ("--side videos=broken.jsonl", 65, "row 1"),
        ("--side videos=other.csv", 2, "station"),
        ("--side videos=both.csv", 2, "--side-key videos="),
        ("--side videos=videos.csv --side-key videos=nothing", 2, "nothing"),
        ("--side videos=videos.csv --side-key videos=genre", 2, "genre"),
        ("--side videos=videos.csv --side-key video=video_id", 2, "--side video="),
        ("--side videos=videos.csv --side videos=videos.csv", 2, "twice"),
        ("--side videos=kafka://host/videos", 2, "ingest it"),
        ("--side videos=gs://bucket/videos", 2, "gs is no store for files"),
        ("--side my-videos=videos.csv", 2, "a name is"),
        ("--side videos.csv", 2, "NAME=VALUE"),
    ];
    for (flags, code, said) in cases {
        for inputs in [BATCH, STREAM] {
            let ran = dir.run(&format!("join {inputs} {flags} --out out"));
            assert!(ran.code == Some(code) && ran.err.contains(said), "{flags}: {:?} {}", ran.code, ran.err);
            assert!(!dir.path("out").exists(), "{flags}");
        }
    }
}

#[test]
fn an_archive_is_a_side_input_too() {
    let dir = made();
    dir.ok("ingest --in videos.csv --schema infer --id video_id --time valid_from --dedup 0 --watermark-delay 4h --out videos");
    for (at, inputs) in [BATCH, STREAM].into_iter().enumerate() {
        let run = |side: &str, out: &str| dir.ok(&format!("join {inputs} --side videos={side} --out {out}"));
        let file = run("videos.csv", &format!("file-{at}"));
        assert!(!file.err.contains("side input"), "{}", file.err);
        run("videos", &format!("hours-{at}"));
        assert!(dir.parts(&format!("hours-{at}")) == dir.parts(&format!("file-{at}")), "{inputs}");
    }
    fs::remove_file(dir.path("videos/dt=2016-11-07/hr=01/_SUCCESS")).unwrap();
    let ran = dir.run(&format!("join {BATCH} --side videos=videos --out out"));
    assert!(ran.code == Some(66) && ran.err.contains("2016-11-07T01 is not sealed"), "{}", ran.err);
}

#[test]
fn what_a_side_input_may_not_mean_is_said() {
    let dir = made();
    let join = |side: &str, out: &str| dir.ok(&format!("join {BATCH} --side videos={side} --out {out}")).err;
    dir.write("misspelt.csv", videos("news").replace("valid_from", "validfrom"));
    assert!(
        join("misspelt.csv", "a").contains("side input videos has no column valid_from: its rows hold at all times")
    );
    let again = format!("{}80000001,2016-11-07T01:30:00Z,other\n", videos("news"));
    dir.write("twins.csv", &again);
    let said = join("twins.csv", "b");
    assert!(
        said.contains("two things at once") && said.contains("video_id 80000001, valid_from 2016-11-07T01:30"),
        "{said}"
    );
    dir.write("both.csv", again.replace("valid_from", "validfrom"));
    let said = join("both.csv", "d");
    assert!(said.contains("has no column valid_from") && said.contains("two things at once"), "{said}");
    dir.write("again.csv", again.replace("other", "news"));
    assert!(!join("again.csv", "c").contains("side input"));
}

/// An event of a video in a file of its own, whole at once.
fn feed(dir: &Workdir, event: u32) {
    let row = format!("{{\"event_id\":\"{event}\",\"ts\":\"2016-11-07T00:0{event}:00Z\",\"video_id\":1}}\n");
    fs::create_dir_all(dir.path("feed")).unwrap();
    dir.write("making", row);
    fs::rename(dir.path("making"), dir.path(&format!("feed/{event}.jsonl"))).unwrap();
}

fn said(dir: &Workdir) -> Vec<(String, bool)> {
    let of = |row: &Value| (row["videos_title"].as_str().unwrap().to_owned(), row["videos_stale"].as_bool().unwrap());
    dir.rows("out").iter().map(of).collect()
}

#[test]
fn a_source_that_is_away_stops_nothing() {
    let dir = Workdir::new();
    dir.write("videos.jsonl", "{\"video_id\":1,\"title\":\"old\"}\n");
    feed(&dir, 1);
    let mut fed = 1;
    let killed = dir.kill_when(&format!("{FOLLOW} --side-ttl 0s --out out --follow"), || {
        if dir.epoch("out").1 < u64::from(fed) {
            return false;
        }
        if fed == 1 {
            fs::remove_file(dir.path("videos.jsonl")).unwrap();
        }
        // The second may be in the batch that was begun before; the third is not.
        fed += 1;
        if fed <= 3 {
            feed(&dir, fed);
        }
        fed > 3
    });
    assert!(killed, "the run went on without its source");
    feed(&dir, 4);
    let ran = dir.ok(&format!("{FOLLOW} --side-ttl 0s --out out"));
    assert_eq!(ran.err.matches("side input videos is away").count(), 1, "{}", ran.err);
    let rows = said(&dir);
    assert!(rows.iter().all(|(title, _)| title == "old"), "{rows:?}");
    assert_eq!((rows[0].1, rows[2].1, rows[3].1), (false, true, true));
}

#[test]
fn a_run_goes_on_with_its_copy_until_it_is_too_old() {
    for (ttl, title) in [("10m", "old"), ("0s", "new")] {
        let dir = Workdir::new();
        dir.write("videos.jsonl", "{\"video_id\":1,\"title\":\"old\"}\n");
        feed(&dir, 1);
        let killed = dir.kill_when(&format!("{FOLLOW} --out out --follow"), || dir.epoch("out").1 == 1);
        assert!(killed);
        dir.write("videos.jsonl", "{\"video_id\":1,\"title\":\"new\"}\n");
        feed(&dir, 2);
        dir.ok(&format!("{FOLLOW} --side-ttl {ttl} --out out"));
        assert_eq!(said(&dir), [("old".to_owned(), false), (title.to_owned(), false)]);
    }
}

#[test]
fn a_kept_copy_that_was_touched_is_refused() {
    let dir = Workdir::new();
    dir.write("videos.jsonl", "{\"video_id\":1,\"title\":\"old\"}\n");
    feed(&dir, 1);
    assert!(dir.kill_when(&format!("{FOLLOW} --out out --follow"), || dir.epoch("out").1 == 1));
    let [copy] = &copies(&dir, "out")[..] else { panic!("one copy") };
    dir.write("videos.jsonl", "{\"video_id\":1,\"title\":\"new\"}\n");
    dir.ok(&format!("{FOLLOW} --out other"));
    fs::copy(dir.path(&copies(&dir, "other")[0]), dir.path(copy)).unwrap();
    let ran = dir.run(&format!("{FOLLOW} --out out"));
    assert_eq!(ran.code, Some(65), "{}", ran.err);
    assert!(ran.err.contains("videos was touched"), "{}", ran.err);
}
