//! Regions run their commands alone, and their outputs merge: f again where they hold what it read, else the union.

use serde_json::Value;

use super::merge::regions;
use super::workdir::Workdir;

/// The archives of three regions that share events out by a column, `region-N/NAME`, and of one that has all of them,
/// `whole/NAME`.
fn archives(by: &str) -> Workdir {
    let dir = Workdir::new();
    dir.generate("--hours 3 --impressions-per-hour 1000 --late 0 --malformed 0");
    for name in ["impressions", "plays"] {
        dir.ok(&format!("ingest --in raw/{name}.jsonl --schema {name} --watermark-delay 4h --out whole/{name}"));
        regions(&dir, name, by);
    }
    dir
}

/// Runs a command over the archives of each region, into `region-N/out`.
fn run_regions(dir: &Workdir, command: &str, out: &str) {
    (0..3).for_each(|region| run(dir, command, &format!("region-{region}"), &format!("region-{region}/{out}")));
}

fn run(dir: &Workdir, command: &str, archive: &str, out: &str) {
    dir.ok(&format!("{command} --in impressions={archive}/impressions --in plays={archive}/plays --out {out}"));
}

/// Merges what the regions have in `out`: into `out` in one run, and to the same bytes in any order, grouping, and again.
fn merged(dir: &Workdir, out: &str) {
    let [a, b, c] = [0, 1, 2].map(|region| format!("region-{region}/{out}"));
    dir.ok(&format!("merge {a} {b} {c} --out {out}"));
    let parts = dir.parts(out);
    assert!(!parts.is_empty());
    dir.ok(&format!("merge {c} {a} {b} --out turned/{out}"));
    assert!(dir.parts(&format!("turned/{out}")) == parts, "{out}: another order");
    dir.ok(&format!("merge {b} {c} --out two/{out}"));
    dir.ok(&format!("merge {a} two/{out} --out grouped/{out}"));
    assert!(dir.parts(&format!("grouped/{out}")) == parts, "{out}: another grouping");
    dir.ok(&format!("merge {out} {out} {b} --out again/{out}"));
    assert!(dir.parts(&format!("again/{out}")) == parts, "{out}: again");
    assert!(dir.ok(&format!("merge {a} {b} {c} --out {out}")).err.contains("up to date"));
}

fn refused(dir: &Workdir, words: &str, code: i32, why: &str) {
    let ran = dir.run(&format!("merge {words} --out refused"));
    assert!(ran.code == Some(code) && ran.err.contains(why), "{words}: {:?} {}", ran.code, ran.err);
    // Rows that differ are found when it is decided already whose the output is, and hours without such may be merged.
    assert!(code == 65 || dir.files("refused").is_empty(), "{words}");
    std::fs::remove_dir_all(dir.path("refused")).ok();
}

#[test]
fn full_joins_of_regions_make_every_join_of_all_events() {
    let dir = archives("event_id");
    run_regions(&dir, "join --type full", "full");
    run(&dir, "join --type full", "whole", "whole/full");
    merged(&dir, "full");
    assert!(dir.parts("full") == dir.parts("whole/full"));
    // Most pairs are of an impression and a play that no region has together.
    let pairs = |out: &str| {
        dir.rows(out).iter().filter(|row| row.get("play_ts").is_some() && row.get("impression_ts").is_some()).count()
    };
    assert!((0..3).map(|region| pairs(&format!("region-{region}/full"))).sum::<usize>() < pairs("full") / 2);
    let regions = "region-0/full region-1/full region-2/full";
    for kind in ["inner", "left", "right", "semi", "anti"] {
        run(&dir, &format!("join --type {kind}"), "whole", &format!("whole/{kind}"));
        dir.ok(&format!("merge {regions} --type {kind} --out {kind}"));
        assert!(dir.parts(kind) == dir.parts(&format!("whole/{kind}")), "{kind}");
        assert!(!dir.parts(kind).is_empty(), "{kind}");
    }
    // An hour alone; and a region that runs as a stream.
    run(&dir, "join --type full --replay --watermark-delay 4h", "region-2", "stream/full");
    dir.ok("merge region-0/full region-1/full stream/full --out streamed");
    assert!(dir.parts("streamed") == dir.parts("full"));
    dir.ok(&format!("merge {regions} --hour 2016-11-07T01 --out hour"));
    let hour: Vec<_> = dir.parts("full").into_iter().filter(|(part, _)| part.contains("hr=01")).collect();
    assert!(hour.len() == 1 && dir.parts("hour").into_iter().collect::<Vec<_>>() == hour);
    // What is not there yet may come.
    for hour in ["2016-11-08T01", "2016-11-07T01"] {
        let early = dir.run(&format!("merge {regions} --type inner --hour {hour} --out early-{hour}"));
        assert_eq!(early.code, Some(if hour == "2016-11-08T01" { 66 } else { 0 }), "{}", early.err);
    }
}

#[test]
fn a_pair_of_the_next_hour_tells_of_an_impression_of_this_one() {
    let dir = Workdir::new();
    dir.write("schema", "event_id text\nts timestamp\nrequest_id text\n");
    let region = |region: &str, impression: &str, plays: &[(&str, &str)]| {
        dir.write(&format!("{region}-impressions.jsonl"), impression);
        let play =
            |(id, ts): &(&str, &str)| format!("{{\"event_id\":\"{id}\",\"ts\":\"{ts}\",\"request_id\":\"q1\"}}\n");
        dir.write(&format!("{region}-plays.jsonl"), plays.iter().map(play).collect::<String>());
        let inputs = format!("--in impressions={region}-impressions.jsonl --in plays={region}-plays.jsonl");
        dir.ok(&format!("join --type full --schema schema {inputs} --out {region}"));
    };
    let impression = "{\"event_id\":\"i1\",\"ts\":\"2016-11-07T00:50:00Z\",\"request_id\":\"q1\"}\n";
    region("us", impression, &[("p1", "2016-11-07T02:40:00Z")]);
    region("eu", "", &[("p2", "2016-11-07T01:10:00Z")]);
    // The hour alone: run with its neighbour, it would see that anyway.
    dir.ok("merge us eu --hour 2016-11-07T01 --out all");
    let rows: Vec<(Value, Value)> =
        dir.rows("all").iter().map(|row| (row["impression_event_id"].clone(), row["play_event_id"].clone())).collect();
    assert_eq!(rows, [("i1".into(), "p2".into())]);
}

#[test]
fn counts_with_their_sets_are_those_of_all_events() {
    let dir = archives("event_id");
    for (out, flags) in
        [("counts", ""), ("countries", "--by country,device --epoch 2h"), ("odd", "--by country --epoch 45m")]
    {
        let command = format!("aggregate --sets {flags}");
        run_regions(&dir, &command, out);
        run(&dir, &command, "whole", &format!("whole/{out}"));
        merged(&dir, out);
        assert!(dir.parts(out) == dir.parts(&format!("whole/{out}")), "{out}");
    }
    run_regions(&dir, "aggregate", "bare");
    refused(&dir, "region-0/bare region-1/bare", 2, "--sets");
    // Sets in one hour do not help another.
    for region in ["region-0", "region-1"] {
        let inputs = format!("--in impressions={region}/impressions --in plays={region}/plays");
        dir.ok(&format!("aggregate --sets {inputs} --hour 2016-11-07T00 --force --out {region}/bare"));
    }
    refused(&dir, "region-0/bare region-1/bare --hour 2016-11-07T01", 2, "--sets");
}

#[test]
fn what_does_not_hold_its_input_is_united() {
    // All events of a person are in one region, or in the same two: each knows all that comes of them.
    let dir = archives("profile_id");
    let commands = [
        ("join", "inner"),
        ("join --type semi", "semi"),
        ("attribute --model last,linear", "credits"),
        ("attribute --tuples --context country", "tuples"),
    ];
    for (command, out) in commands {
        run_regions(&dir, command, out);
        run(&dir, command, "whole", &format!("whole/{out}"));
        merged(&dir, out);
        assert!(dir.rows(out) == dir.rows(&format!("whole/{out}")), "{out}");
        let said = dir.ok(&format!("merge region-0/{out} region-1/{out} --out said-{out}")).err;
        assert_eq!(said.matches("each row is what one region knows").count(), 1, "{said}");
    }
    // A script of a user, with a column that says where rows came from.
    let script = dir.ok("sql ingest").out.replace("'key (event_id, ts)", "'key (ts, event_id)");
    dir.write("mine.sql", script);
    for region in ["region-0", "region-1", "region-2", "whole"] {
        dir.ok(&format!("run mine.sql --in events={region}/plays --out {region}/mine"));
    }
    dir.ok("merge region-0/plays region-1/plays region-2/plays --out plays");
    let [a, b, c] = [0, 1, 2].map(|region| format!("region-{region}/mine"));
    refused(&dir, &format!("{a} {b} {c}"), 65, "_offset");
}

#[test]
fn credits_of_regions_are_taken_where_they_agree() {
    let dir = Workdir::new();
    dir.write("schema", "event_id text\nts timestamp\nrequest_id text\nprofile_id int64\nvideo_id int64\nrow text\n");
    let event = |id: &str, minute: u32| {
        format!(
            "{{\"event_id\":\"{id}\",\"ts\":\"2016-11-07T00:{minute:02}:00Z\",\"request_id\":\"q\",\"profile_id\":1,\"video_id\":2,\"row\":\"{id}\"}}\n"
        )
    };
    let region = |region: &str, impressions: &[(&str, u32)]| {
        let impressions: String = impressions.iter().map(|(id, minute)| event(id, *minute)).collect();
        dir.write(&format!("{region}-impressions.jsonl"), impressions);
        dir.write(&format!("{region}-plays.jsonl"), event("p", 30));
        let inputs = format!("--in impressions={region}-impressions.jsonl --in plays={region}-plays.jsonl");
        dir.ok(&format!("attribute --model first,last --schema schema {inputs} --out {region}"));
    };
    region("us", &[("i1", 10), ("i2", 20)]);
    region("eu", &[]);
    region("asia", &[("i3", 15)]);
    merged_as(&dir, "us eu", "us");
    merged_as(&dir, "eu us", "us");
    merged_as(&dir, "eu eu", "eu");
    merged_as(&dir, "eu asia", "asia");
    for places in ["us asia", "asia eu us"] {
        refused(&dir, places, 65, "hour 2016-11-07T00, play_event_id=p");
    }
}

/// Merged, some outputs are as one of them.
fn merged_as(dir: &Workdir, places: &str, one: &str) {
    let out = places.replace(' ', "-");
    dir.ok(&format!("merge {places} --out {out}"));
    assert!(dir.parts(&out) == dir.parts(one) && !dir.parts(one).is_empty(), "{places}");
}

#[test]
fn what_cannot_be_merged_is_refused() {
    let dir = archives("event_id");
    let outputs = [
        ("join --type left", "left"),
        ("join --type anti", "anti"),
        ("join --type full", "full"),
        ("join --type full --within 1h", "other"),
        ("join", "inner"),
        ("attribute", "credits"),
        ("aggregate", "bare"),
    ];
    for (command, out) in outputs {
        run_regions(&dir, command, out);
    }
    for region in 0..2 {
        dir.ok(&format!("stratify --in region-{region}/plays --size 20 --strata device --out region-{region}/sample"));
    }
    let two = |out: &str| format!("region-0/{out} region-1/{out}");
    for (words, code, why) in [
        (two("left"), 2, "joins of --type full"),
        (two("anti"), 2, "joins of --type full"),
        (two("bare"), 2, "--sets"),
        (two("sample"), 2, "draw again"),
        ("region-0/full region-1/inner".to_owned(), 2, "one command line"),
        ("region-0/full region-1/other".to_owned(), 2, "one command line"),
        ("region-0/full region-1/credits".to_owned(), 2, "one command line"),
        ("region-0/plays region-1/full".to_owned(), 2, "one command line"),
        (format!("{} --type inner", two("inner")), 2, "--type full"),
        (format!("{} --type inner", two("plays")), 2, "archives"),
        (format!("{} --dedup 1h", two("full")), 2, "archives"),
        (two("credits"), 65, "regions differ"),
    ] {
        refused(&dir, &words, code, why);
    }
    // Hours of other flags in one output, an event that is another one elsewhere, and an output that does not say how.
    dir.ok("join --type full --within 3h --in impressions=region-0/impressions --in plays=region-0/plays \
            --hour 2016-11-07T02 --force --out region-0/full");
    refused(&dir, &two("full"), 2, "hour 2016-11-07T02");
    let success = "region-0/inner/dt=2016-11-07/hr=00/_SUCCESS";
    let mut said: Value = serde_json::from_str(&dir.read(success)).unwrap();
    ["f", "checksum"].iter().for_each(|field| drop(said.as_object_mut().unwrap().remove(*field)));
    dir.write(success, said.to_string());
    refused(&dir, &two("inner"), 2, "older rescan");
}
