//! A null id is no value: such a row is rejected, by every command and both runners, and repeats no other row.

use serde_json::{Value, json};

use super::workdir::Workdir;

/// Two rows with an id and four without, two of them at one time; `row` identifies all of them.
fn rows(name: &str, more: &str) -> String {
    let ids = [r#""event_id":"a","#, r#""event_id":null,"#, r#""event_id":"b","#, "", r#""event_id":null,"#, ""];
    let row = |(at, id): (usize, &&str)| {
        let time = 1_479_859_200_000_u64 + (at as u64 / 2) * 1000;
        format!(r#"{{{id}"row":"{name}{at}","ts":{time},"request_id":"q","profile_id":1,"video_id":{at}{more}}}"#)
    };
    ids.iter().enumerate().map(row).collect::<Vec<_>>().join("\n") + "\n"
}

fn made() -> Workdir {
    let dir = Workdir::new();
    for name in ["impressions", "plays"] {
        dir.write(&format!("{name}.jsonl"), rows(name, ""));
        // Its ids are other ones, so that it has rows whose event_id is null.
        dir.ok(&format!("ingest --in {name}.jsonl --schema infer --id row --out archive/{name}"));
    }
    dir
}

/// What became of the rows, and why rows were rejected.
fn fate(dir: &Workdir, command: &str) -> (Vec<Value>, Value) {
    let report = dir.ok(&format!("{command} --max-rejected 100% --json --force --out out")).json();
    let ledgers: Vec<Value> = report["ledger"].as_object().unwrap().values().cloned().collect();
    std::fs::remove_dir_all(dir.path("out")).unwrap();
    (ledgers, report)
}

#[test]
fn rows_without_an_id_are_rejected_and_repeat_nothing() {
    let dir = made();
    let pair = |of: &str, end: &str| format!("--in impressions={of}impressions{end} --in plays={of}plays{end}");
    let (batch, stream) = (pair("archive/", ""), pair("", ".jsonl --schema infer"));
    let expected = json!({ "read": 6, "accepted": 2, "duplicate": 0, "late": 0, "rejected": 4, "filtered": 0 });
    for inputs in [&batch, &stream] {
        for command in ["join --type full", "attribute --model linear"] {
            let (ledgers, report) = fate(&dir, &format!("{command} {inputs}"));
            assert!(ledgers.iter().all(|ledger| *ledger == expected), "{command} {inputs}: {report}");
        }
    }
    let one = "--in archive/impressions";
    for command in [
        format!("stratify {one} --size 2"),
        "stratify --in impressions.jsonl --schema infer --size 2".to_owned(),
        "ingest --in impressions.jsonl --schema infer".to_owned(),
        format!("ingest --replay {one}"),
        "facts --on video_id --in labels=archive/plays --in facts=archive/impressions".to_owned(),
    ] {
        let (ledgers, report) = fate(&dir, &command);
        assert!(ledgers.iter().all(|ledger| *ledger == expected), "{command}: {report}");
    }
    // Groups need no id.
    let (ledgers, report) = fate(&dir, &format!("aggregate {batch}"));
    assert!(ledgers.iter().all(|ledger| ledger["accepted"] == 6), "{report}");
}

#[test]
fn why_is_said_with_the_rows() {
    let dir = made();
    let ran = dir.run("ingest --in impressions.jsonl --schema infer --out out");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let reasons: Vec<String> = super::workdir::walk(&dir.path("out/_rescan/rejected"))
        .iter()
        .flat_map(|file| super::workdir::parquet(file))
        .map(|row| row["reason"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(reasons, ["missing_id: the id is null"; 4]);
}
