//! Every command as a black box: what it prints, what it writes, and what it leaves alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::workdir::{Ran, Workdir, walk};

pub const JOIN: &str = "join --in impressions=archive/impressions --in plays=archive/plays";
pub const STREAM: &str = "join --in impressions=raw/impressions.jsonl --in plays=raw/plays.jsonl";

/// A few hours of everything, raw and as an archive.
pub fn demo() -> Workdir {
    let dir = Workdir::new();
    dir.archive("--hours 3 --impressions-per-hour 1500");
    dir
}

/// When each file below a directory was changed last.
fn changed(dir: &Workdir, name: &str) -> BTreeMap<std::path::PathBuf, SystemTime> {
    let files = walk(&dir.path(name)).into_iter();
    files.map(|file| (file.clone(), fs::metadata(file).unwrap().modified().unwrap())).collect()
}

#[test]
fn a_second_run_is_up_to_date_and_changes_no_file() {
    let dir = demo();
    let aggregate = JOIN.replace("join", "aggregate");
    let ingest = "ingest --in raw/plays.jsonl --schema plays";
    let replay = "ingest --in archive/plays --dedup 2h";
    let script = format!("run mine.sql {}", JOIN.trim_start_matches("join"));
    dir.write("mine.sql", dir.ok("sql join").out);
    for line in [JOIN, STREAM, &aggregate, ingest, replay, &script] {
        let line = format!("{line} --out out");
        assert!(dir.ok(&line).err.contains(" rows in "), "{line}");
        let before = changed(&dir, "out");
        let again = dir.ok(&line);
        let locks = |files: BTreeMap<std::path::PathBuf, SystemTime>| {
            files.into_iter().filter(|(file, _)| !file.ends_with("LOCK")).collect::<Vec<_>>()
        };
        assert_eq!(locks(changed(&dir, "out")), locks(before), "{line}");
        assert!(again.err.contains("up to date"), "{line}: {}", again.err);
        fs::remove_dir_all(dir.path("out")).unwrap();
    }
}

#[test]
fn another_input_makes_an_hour_anew_and_no_other() {
    let dir = demo();
    dir.ok(&format!("{JOIN} --within 1h --out out"));
    let before = changed(&dir, "out");
    let hour = dir.path("archive/plays/dt=2016-11-07/hr=02");
    walk(&hour).iter().filter(|file| file.extension().is_some()).for_each(|part| fs::remove_file(part).unwrap());
    fs::remove_file(hour.join("_SUCCESS")).unwrap();
    fs::remove_dir(&hour).unwrap();
    dir.ok(&format!("{JOIN} --within 1h --out out --hour 2016-11-07T02 --allow-incomplete --force"));
    let after = changed(&dir, "out");
    let same = |hour: &str| {
        before
            .iter()
            .filter(|(file, _)| file.to_string_lossy().contains(hour))
            .all(|(file, time)| after.get(file) == Some(time))
    };
    assert!(same("/hr=00/") && same("/hr=01/"));
    assert!(!same("/hr=02/"));
    let rows = dir.rows("out");
    assert!(rows.iter().all(|row| row["hour"] != "2016-11-07T02"), "plays of that hour are gone");
}

#[test]
fn a_lost_hour_is_neither_empty_nor_pending() {
    let dir = demo();
    dir.ok(&format!("{JOIN} --out batch"));
    dir.ok(&format!("{STREAM} --out stream"));
    std::fs::remove_dir_all(dir.path("stream/dt=2016-11-07/hr=01")).unwrap();
    let ran = dir.run("reconcile --batch batch --stream stream");
    assert!(ran.code == Some(3) && ran.err.contains("unexplained: "), "{}", ran.err);
    std::fs::remove_dir_all(dir.path("archive/impressions/dt=2016-11-07/hr=01")).unwrap();
    let ran = dir.run(&format!("{JOIN} --out holed"));
    let waits = "2016-11-07T01 to 2016-11-07T02 wait for impressions/2016-11-07T01";
    assert!(ran.code == Some(0) && ran.err.contains(waits), "{}", ran.err);
    assert!(!dir.path("holed/dt=2016-11-07/hr=01").exists() && !dir.path("holed/dt=2016-11-07/hr=02").exists());
    let ran = dir.run(&format!("{JOIN} --hour 2016-11-07T02 --out holed"));
    assert!(ran.code == Some(66) && ran.err.contains("impressions has no hour 2016-11-07T01"), "{}", ran.err);
    dir.ok(&format!("{JOIN} --allow-incomplete --out holed"));
}

#[test]
fn reports_are_json() {
    let dir = demo();
    let batch = dir.ok(&format!("{JOIN} --out batch --json")).json();
    let stream = dir.ok(&format!("{STREAM} --out stream --json")).json();
    assert_eq!(batch["rows"], stream["rows"]);
    assert_eq!(batch["sealed"].as_array().unwrap().len(), 3);
    for ledger in stream["ledger"].as_object().unwrap().values() {
        let count = |class: &str| ledger[class].as_u64().unwrap();
        let classes = ["accepted", "duplicate", "late", "rejected", "filtered"].map(count);
        assert_eq!(count("read"), classes.iter().sum::<u64>());
    }
    let inspected = dir.ok("inspect stream --json").json();
    assert_eq!(inspected["ledger"], stream["ledger"]);
    assert_eq!(inspected["watermark"], "the end of input");
    let rows = |partition: &Value| partition["rows"].as_u64().unwrap();
    let partitions = inspected["partitions"].as_array().unwrap();
    assert_eq!(json!(partitions.iter().map(rows).sum::<u64>()), stream["rows"]);
    assert!(partitions.iter().all(|partition| partition["sealed"] == true));
    let words = dir.ok("inspect stream").out;
    assert!(words.contains("2016-11-07T02     yes") && words.contains("impressions"), "{words}");
}

#[test]
fn the_scripts_are_those_in_the_tree() {
    let dir = Workdir::new();
    for (name, sql) in testkit::scripts::scripts() {
        assert_eq!(dir.ok(&format!("sql {name}")).out, sql, "{name}");
    }
}

#[test]
fn a_script_of_ones_own_gives_the_same_bytes() {
    let dir = demo();
    dir.write("mine.sql", dir.ok("sql join").out);
    dir.ok(&format!("{JOIN} --within 1h --type left --out join"));
    let inputs = JOIN.trim_start_matches("join");
    dir.ok(&format!("run mine.sql {inputs} --param within=1h --param type=left --out mine"));
    assert_eq!(dir.parts("mine"), dir.parts("join"));
    dir.write("mine.sql", dir.ok("sql aggregate").out);
    dir.ok(&format!("{} --sets --epoch 1h --out sets", JOIN.replace("join", "aggregate")));
    dir.ok(&format!("run mine.sql {inputs} --param epoch=1h --out my-sets"));
    assert_eq!(dir.parts("my-sets"), dir.parts("sets"));
}

#[test]
fn hours_in_any_order_and_all_at_once_give_the_same_bytes() {
    let dir = demo();
    for line in [format!("{JOIN} --type full"), JOIN.replace("join", "aggregate --epoch 15m")] {
        dir.ok(&format!("{line} --out whole"));
        let whole = dir.parts("whole");
        assert_eq!(whole.len(), 3);
        for (way, hours) in [("forward", [0, 1, 2]), ("backward", [2, 1, 0]), ("mixed", [1, 2, 0])] {
            hours.iter().for_each(|hour| drop(dir.ok(&format!("{line} --hour 2016-11-07T0{hour} --out {way}"))));
            assert!(dir.parts(way) == whole, "{line} {way}");
            fs::remove_dir_all(dir.path(way)).unwrap();
        }
        dir.ok(&format!("{line} --day 2016-11-07 --allow-incomplete --threads 1 --memory-limit 64M --out day"));
        assert!(dir.parts("day") == whole, "{line} --day");
        fs::remove_dir_all(dir.path("whole")).unwrap();
        fs::remove_dir_all(dir.path("day")).unwrap();
    }
}

#[test]
fn batch_and_stream_give_the_same_bytes_however_the_stream_is_cut() {
    let dir = demo();
    let aggregates = ["aggregate --by country,device", "aggregate --sets"];
    for command in ["join --type full", "join --type semi", "join --type anti", "join"].into_iter().chain(aggregates) {
        dir.ok(&format!("{} --out batch", JOIN.replace("join", command)));
        let batch = dir.parts("batch");
        assert!(!batch.is_empty());
        for flags in ["--max-rows 100000", "--max-rows 777 --commit-interval 0s", "--max-rows 97 --threads 1"] {
            dir.ok(&format!("{} {flags} --out stream", STREAM.replace("join", command)));
            assert!(dir.parts("stream") == batch, "{command} {flags}");
            fs::remove_dir_all(dir.path("stream")).unwrap();
        }
        fs::remove_dir_all(dir.path("batch")).unwrap();
    }
}

#[test]
fn an_archive_replayed_gives_the_bytes_of_its_files() {
    let dir = demo();
    dir.ok(&format!("{STREAM} --out files"));
    dir.ok(&format!("{JOIN} --replay --max-rows 500 --out replay"));
    assert!(dir.parts("replay") == dir.parts("files"));
}

/// A retry: the same id a little later. To take one out again that was joined or counted is not in the sets that state is
/// made of, so that only `ingest` knows of a horizon. Anybody else takes rows of one id and one time for one event.
#[test]
fn only_ingest_takes_out_a_repeat_that_has_another_time() {
    let dir = Workdir::new();
    let event = |id: &str, time: &str| {
        format!(
            "{{\"event_id\":\"{id}\",\"ts\":\"2016-11-07T10:{time}:00Z\",\"request_id\":\"r\",\"profile_id\":1,\"video_id\":1}}\n"
        )
    };
    let twice = [event("i", "00"), event("i", "05"), event("j", "06"), event("j", "06")].concat();
    dir.write("impressions.jsonl", twice);
    dir.write("plays.jsonl", [event("p", "10"), event("p", "10"), event("p", "20")].concat());
    for name in ["impressions", "plays"] {
        for dedup in ["0s", "1h"] {
            let out = format!("archive-{dedup}/{name}");
            dir.ok(&format!("ingest --in {name}.jsonl --schema {name} --dedup {dedup} --out {out}"));
        }
    }
    let pair =
        |place: &str, end: &str| format!("--in impressions={place}impressions{end} --in plays={place}plays{end}");
    let one = |place: &str, end: &str| format!("--in events={place}impressions{end} --schema impressions");
    // The key of a pair has no time.
    for (command, inputs, shows) in [
        ("join", &pair as &dyn Fn(&str, &str) -> String, false),
        ("attribute --model linear", &pair, true),
        ("aggregate --epoch 1m", &pair, true),
        ("stratify --size 2", &one, true),
    ] {
        let rows = |line: String| {
            dir.ok(&format!("{command} {line} --out out"));
            let rows = dir.rows("out");
            fs::remove_dir_all(dir.path("out")).unwrap();
            rows.into_iter().map(|mut row| (row["_arrived_at"].take(), row).1).collect::<Vec<_>>()
        };
        let [all, once] = ["0s", "1h"].map(|dedup| {
            let archive = inputs(&format!("archive-{dedup}/"), "");
            let batch = rows(archive.clone());
            assert_eq!(rows(format!("{archive} --replay")), batch, "{command} of what ingest --dedup {dedup} keeps");
            batch
        });
        assert_eq!(rows(inputs("", ".jsonl")), all, "{command} of the files");
        assert_eq!(all != once, shows, "{command}: {all:#?} {once:#?}");
    }
    dir.ok(&format!("stratify {} --size 2 --out sample", one("", ".jsonl")));
    let events = &dir.ledger("sample")["events"];
    assert_eq!((&events["accepted"], &events["duplicate"]), (&json!(3), &json!(1)), "{events}");
}

#[test]
fn reconcile_tells_equal_explained_and_unexplained() {
    let dir = demo();
    dir.ok(&format!("{} --out batch", JOIN.replace("join", "aggregate")));
    dir.ok(&format!("{} --out stream", STREAM.replace("join", "aggregate")));
    let equal = dir.ok("reconcile --batch batch --stream stream --json").json();
    assert_eq!(equal["differences"], json!({}));
    assert_eq!(equal["rows_batch"], equal["rows_equal"]);
    dir.write("plays.jsonl", dir.read("raw/plays.jsonl").lines().skip(1).collect::<Vec<_>>().join("\n"));
    let other = STREAM.replace("join", "aggregate").replace("raw/plays", "plays");
    dir.ok(&format!("{other} --out other"));
    let lines = |ran: &Ran| ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>();
    let differs = dir.run("reconcile --batch batch --stream other --json");
    assert_eq!(differs.code, Some(3), "{}", differs.err);
    let found = lines(&differs);
    let (summary, differences) = found.split_last().unwrap();
    assert_eq!(differences.len() as u64, summary["differences"]["unexplained"].as_u64().unwrap());
    assert!(differences.iter().any(|found| found["column"] == "plays" && found["cause"] == "unexplained"));
    let line = "reconcile --batch batch --stream other --json --tolerance plays=1 --tolerance take_rate=1";
    let near = dir.run(line);
    assert_eq!(near.code, Some(1), "{}", near.out);
    assert!(lines(&near).iter().rev().skip(1).all(|found| found["cause"] == "tolerance"));
}

/// A set of requests is reconciled as any value is: whole, by what is in it.
#[test]
fn requests_that_differ_are_named() {
    let dir = demo();
    dir.ok(&format!("{} --sets --epoch 1h --by country --out batch", JOIN.replace("join", "aggregate")));
    dir.ok(&format!("{} --sets --epoch 1h --by country --out stream", STREAM.replace("join", "aggregate")));
    let equal = dir.ok("reconcile --batch batch --stream stream --key country,epoch --json").json();
    assert_eq!((&equal["differences"], &equal["rows_batch"]), (&json!({}), &equal["rows_equal"]));
    let requests = |row: &Value| row["play_requests"].as_array().map(Vec::len);
    assert!(dir.rows("batch").iter().all(|row| requests(row) == row["plays"].as_u64().map(|count| count as usize)));
    let last: Value = serde_json::from_str(dir.read("raw/plays.jsonl").lines().next_back().unwrap()).unwrap();
    let request = last["request_id"].as_str().unwrap();
    dir.write(
        "plays.jsonl",
        dir.read("raw/plays.jsonl").lines().filter(|line| !line.contains(request)).collect::<Vec<_>>().join("\n"),
    );
    let other = STREAM.replace("join", "aggregate --sets --epoch 1h --by country").replace("raw/plays", "plays");
    dir.ok(&format!("{other} --out other"));
    let differs = dir.run("reconcile --batch batch --stream other --key country,epoch");
    assert_eq!(differs.code, Some(3), "{}", differs.err);
    assert!(
        differs.out.lines().any(|line| line.contains("play_requests") && line.contains(request)),
        "{}",
        differs.out
    );
}

#[test]
fn standard_input_is_an_input_like_any_other() {
    let dir = demo();
    dir.ok("ingest --in raw/plays.jsonl --schema plays --out file");
    let mut command = dir.command("ingest --in - --schema plays --max-rows 50 --out pipe");
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(dir.read("raw/plays.jsonl").as_bytes()).unwrap();
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(dir.ledger("pipe"), dir.ledger("file"));
    let rows = |out: &str| {
        let mut rows = dir.rows(out);
        for row in &mut rows {
            row.as_object_mut().unwrap().retain(|name, _| !["_topic", "_arrived_at"].contains(&name.as_str()));
        }
        rows
    };
    assert_eq!(rows("pipe"), rows("file"));
}

const LOG: &str = "\
id,at,item,note
a,2016-11-07T10:00:00Z,1,\"two, and \"\"more\"\"\"
b,2016-11-07T10:01:00Z,2,
c,2016-11-07T11:00:00Z,3,\"a
line\"
d,2016-11-07T11:01:00Z,4
";

#[test]
fn csv_with_columns_of_its_own() {
    let dir = Workdir::new();
    dir.write("log.csv", LOG);
    let mut command = dir.command("ingest --in log.csv --where item>1 --out log");
    let ran = Ran::of(command.args(["--select", "id as event_id, at as ts, item * 10 as ten, note"]).output().unwrap());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let schema = "id text\nat timestamp not null\nitem int64\nnote text\n";
    assert!(ran.err.contains(schema), "the schema that nobody gave is shown: {}", ran.err);
    let rows: Vec<Value> =
        dir.rows("log").iter().map(|row| json!([row["event_id"], row["ten"], row["note"]])).collect();
    assert_eq!(rows, [json!(["b", 20, null]), json!(["c", 30, "a\nline"])]);
    let ledger = json!({ "read": 4, "accepted": 2, "duplicate": 0, "late": 0, "rejected": 1, "filtered": 1 });
    assert_eq!(dir.ledger("log")["events"], ledger);
}

#[test]
fn a_schema_from_a_file_and_names_of_ones_own() {
    let dir = Workdir::new();
    dir.write("log.csv", LOG);
    dir.write("log.schema", "id text not null\nat timestamp\nitem int32\n");
    let line = "ingest --in events=log.csv --schema events=log.schema --id id --time at --out log";
    let ran = dir.ok(line);
    assert!(!ran.err.contains("inferred"), "{}", ran.err);
    let rows: Vec<Value> = dir.rows("log").iter().map(|row| json!([row["id"], row["item"], row["hour"]])).collect();
    let expected =
        [json!(["a", 1, "2016-11-07T10"]), json!(["b", 2, "2016-11-07T10"]), json!(["c", 3, "2016-11-07T11"])];
    assert_eq!(rows, expected);
}

#[test]
fn an_empty_file_is_an_input_without_rows() {
    let dir = demo();
    dir.write("none.jsonl", "");
    dir.ok("join --type anti --in impressions=raw/impressions.jsonl --in plays=none.jsonl --out alone");
    assert_eq!(dir.rows("alone").len() as u64, dir.ledger("alone")["impressions"]["accepted"].as_u64().unwrap());
}

#[test]
fn mistyped_words_are_guessed() {
    let dir = Workdir::new();
    for (line, guess) in [("jion", "'join'"), ("join --witin 1h", "'--within'"), ("join --type lefft", "'left'")] {
        let ran = dir.run(line);
        assert_eq!(ran.code, Some(2));
        assert!(ran.err.contains(guess), "{line}: {}", ran.err);
    }
}

/// Columns of the built-in schemas that a golden input may leave out.
const BUILT_IN: [&str; 9] =
    ["profile_id", "video_id", "row", "rank", "country", "device", "region", "propensity", "duration_s"];

/// `--help` names each column of a command's golden output that is not a column of its input.
#[test]
fn help_names_inputs_and_output_columns() {
    let dir = Workdir::new();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata");
    for (case, inputs) in [
        ("ingest/dedup", "Input: events"),
        ("join/full_alone", "Inputs: impressions, plays"),
        ("aggregate/sets", "Inputs: impressions, plays"),
        ("attribute/models", "Inputs: impressions, plays"),
        ("attribute/tuples_context", "Inputs: impressions, plays"),
        ("facts/by_request", "Inputs: labels, facts"),
        ("stratify/split", "Input: events"),
    ] {
        let command = case.split('/').next().unwrap();
        let help = dir.ok(&format!("{command} --help")).out;
        assert!(help.contains(inputs), "{command}");
        let output = &help[help.find("Output:").unwrap()..help.find("Examples:").unwrap()];
        let named: BTreeSet<&str> = output.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        let read = fs::read_dir(golden.join(case)).unwrap().map(|entry| entry.unwrap().path());
        let read = read.filter(|path| path.extension().is_some_and(|end| end == "jsonl"));
        let inputs: String = read
            .filter(|path| !path.file_name().unwrap().to_string_lossy().starts_with("expected"))
            .map(|path| fs::read_to_string(path).unwrap())
            .collect();
        for line in fs::read_to_string(golden.join(case).join("expected.columns")).unwrap().lines() {
            let column = line.split(' ').next().unwrap();
            let prefix =
                ["impression_", "play_", "context_", "fact_"].into_iter().find(|prefix| column.starts_with(prefix));
            let of_side = prefix.filter(|prefix| named.contains(format!("{prefix}X").as_str()));
            let read = BUILT_IN.contains(&column) || inputs.contains(&format!("\"{column}\":"));
            let known = read || named.contains(column) || of_side.is_some();
            assert!(known, "{case}: --help names no column {column}");
        }
    }
}

#[test]
fn help_completions_and_manual_pages() {
    let dir = Workdir::new();
    let commands = ["ingest", "join", "aggregate", "run", "reconcile", "inspect", "sql", "generate"];
    for command in commands {
        let help = dir.ok(&format!("{command} --help")).out;
        assert!(help.contains("Examples:\n") && help.contains(&format!("rescan {command} ")), "{command}");
        assert!(dir.ok(&format!("man {command}")).out.contains(".SH"), "{command}");
    }
    let whole = dir.ok("--help").out;
    assert!(commands.iter().all(|command| whole.contains(&format!("\n  {command} "))));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = dir.ok(&format!("completions {shell}")).out;
        assert!(commands.iter().all(|command| script.contains(command)), "{shell}");
    }
    assert!(dir.ok("--version").out.starts_with("rescan "));
}

#[test]
fn nobody_reads_on_and_nothing_breaks() {
    let dir = Workdir::new();
    let mut child = dir.command("sql join").spawn().unwrap();
    drop(child.stdout.take());
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
}
