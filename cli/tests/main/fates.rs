//! Rows that are not accepted, batch and stream: refused by a script, or without an event time.

use serde_json::{Value, json};

use super::workdir::{Workdir, parquet, walk};

/// `ingest` that refuses what ends in zero.
fn picky(dir: &Workdir) {
    let ingest = dir.ok("sql ingest").out;
    let reject = "reject case when event_id like ''%0'' then ''zero: ends in it'' ";
    let picky = ingest.replace("reject case ", reject);
    assert_ne!(picky, ingest);
    dir.write("picky.sql", picky);
}

#[test]
fn a_script_with_state_may_refuse_rows_in_batch() {
    let dir = Workdir::new();
    dir.generate("--hours 2 --impressions-per-hour 2000 --late 0 --malformed 0 --duplicates 0.05");
    dir.ok("ingest --in raw/plays.jsonl --schema plays --dedup 0s --out archive");
    picky(&dir);
    let batch = dir.ok("run picky.sql --in events=archive --out batch --json").json();
    let stream = dir.ok("run picky.sql --in events=archive --replay --out stream --json").json();
    let ledger = &batch["ledger"]["events"];
    assert_eq!(ledger, &stream["ledger"]["events"]);
    assert_eq!(ledger["accepted"], batch["rows"]);
    assert!(ledger["rejected"].as_u64() > Some(0) && ledger["duplicate"].as_u64() >= Some(0), "{ledger}");
    assert_eq!(dir.rows("batch").len(), dir.rows("stream").len());
}

#[test]
fn a_row_that_select_leaves_without_a_time_is_rejected() {
    let dir = Workdir::new();
    dir.write("log.schema", "id text\nts timestamp\nitem int64\n");
    let row = |id: &str, item: u32| format!("{{\"id\":\"{id}\",\"ts\":1000,\"item\":{item}}}\n");
    dir.write("log.jsonl", row("a", 1) + &row("b", 2) + &row("c", 3));
    let mut command = dir.command("ingest --in log.jsonl --schema log.schema --id id --out out");
    let select = "id, case when item <> 2 then ts end as ts, item";
    let ran = super::workdir::Ran::of(command.args(["--select", select]).output().unwrap());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let ids: Vec<Value> = dir.rows("out").iter().map(|row| row["id"].clone()).collect();
    assert_eq!(ids, ["a", "c"]);
    let ledger = json!({ "read": 3, "accepted": 2, "duplicate": 0, "late": 0, "rejected": 1, "filtered": 0 });
    assert_eq!(dir.ledger("out")["events"], ledger);
    let files = walk(&dir.path("out/_rescan/rejected"));
    let [file] = files.as_slice() else { panic!("{files:?}") };
    let [row] = &parquet(file)[..] else { panic!("one row") };
    assert_eq!((&row["_topic"], &row["_offset"]), (&json!("log.jsonl"), &json!(1)));
    assert_eq!(row["reason"], "no_event_time: ts is null");
    let raw: String = b"{\"id\":\"b\",\"item\":2}".iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(row["raw"], raw.as_str());
}

/// What a script calls its parameters is its own business.
#[test]
fn a_parameter_that_is_called_epoch() {
    let dir = Workdir::new();
    dir.archive("--hours 2 --impressions-per-hour 300");
    let join = dir.ok("sql join").out;
    let mine = join.replacen("as within", "as within, interval '1 hour' as epoch", 1);
    assert_ne!(mine, join);
    dir.write("mine.sql", mine);
    let inputs = "--in impressions=archive/impressions --in plays=archive/plays";
    dir.ok(&format!("join {inputs} --out join"));
    dir.ok(&format!("run mine.sql {inputs} --param epoch=0s --out mine"));
    assert_eq!(dir.parts("mine"), dir.parts("join"));
}
