//! Rows on which an expression fails: each is rejected with the expression and the reason, and all others go on.

use serde_json::{Value, json};

use super::workdir::{Ran, Workdir, parquet, walk};

/// Impressions a minute apart, each with the text, the number and the propensity that a case wants.
fn impressions(dir: &Workdir, texts: &[&str], ranks: &[i32]) {
    let row = |(at, (text, rank)): (usize, (&&str, &i32))| {
        let event = json!({ "event_id": format!("i{at:02}"), "ts": format!("2016-11-07T10:{at:02}:00Z"),
                            "request_id": format!("r{at}"), "profile_id": 1, "video_id": at, "row": text, "rank": rank,
                            "country": "US", "device": "tv", "propensity": 0.5 });
        format!("{event}\n")
    };
    dir.write("impressions.jsonl", texts.iter().zip(ranks).enumerate().map(row).collect::<String>());
    dir.write("plays.jsonl", "{\"event_id\":\"p\",\"ts\":\"2016-11-07T10:30:00Z\",\"profile_id\":1,\"video_id\":3}\n");
    for name in ["impressions", "plays"] {
        dir.ok(&format!("ingest --in {name}.jsonl --schema {name} --out archive/{name}"));
    }
}

/// Runs a line with more words, of which some have blanks.
fn run(dir: &Workdir, line: &str, words: &[&str]) -> Ran {
    Ran::of(dir.command(line).args(words).output().unwrap())
}

/// By offset: why each row was rejected.
fn rejected(dir: &Workdir, out: &str) -> Vec<(Value, String)> {
    let files = walk(&dir.path(&format!("{out}/_rescan/rejected")));
    let mut rows: Vec<Value> = files.iter().flat_map(|file| parquet(file)).collect();
    rows.sort_by_key(|row| row["_offset"].as_i64());
    rows.into_iter().map(|mut row| (row["_offset"].take(), row["reason"].as_str().unwrap().to_owned())).collect()
}

/// What fails at the fourth and the seventh row, as a condition or in a select list.
const TEXTS: [&str; 9] = ["1", "2", "3", "x", "5", "6", "7z", "8", "9"];
const RANKS: [i32; 9] = [1, 2, 4, 0, 1, 2, 0, 4, 8];

#[test]
fn an_expression_that_fails_rejects_its_row_however_rows_come_and_are_cut() {
    let cases = [
        ("--where", "cast(row as bigint) > 0", "Cast error"),
        ("--where", "10 / rank > 0", "Divide by zero"),
        ("--select", "event_id, ts, cast(row as double) as number", "Cast error"),
        ("--select", "event_id, ts, 100 % rank as rest", "Divide by zero"),
        ("--select", "event_id, ts, cast('2016-11-0' || row as timestamp) as day", "Pars"),
        (
            "--select",
            "event_id, ts, cast(case when rank = 0 then 3000000000 else rank end as int) as small",
            "Cast error",
        ),
    ];
    for (flag, sql, error) in cases {
        let dir = Workdir::new();
        impressions(&dir, &TEXTS, &RANKS);
        let mut all = Vec::new();
        for (input, cuts) in
            [("impressions.jsonl --schema impressions", &["1", "4", "100"][..]), ("archive/impressions", &["3"])]
        {
            for cut in cuts {
                let out = format!("out-{}", all.len());
                let line = format!("ingest --in {input} --max-rows {cut} --commit-interval 0s --out {out}");
                let ran = run(&dir, &line, &[flag, sql]);
                assert_eq!(ran.code, Some(0), "{sql}: {}", ran.err);
                let ledger = dir.ledger(&out)["events"].take();
                assert_eq!((&ledger["accepted"], &ledger["rejected"]), (&json!(7), &json!(2)), "{sql}: {ledger}");
                let mut rows = dir.rows(&out);
                rows.iter_mut().for_each(|row| drop(row["_arrived_at"].take()));
                all.push((rows, rejected(&dir, &out)));
            }
        }
        let expression = sql.rsplit(", ").next().unwrap();
        for (_, reasons) in &all {
            assert_eq!(reasons.iter().map(|(offset, _)| offset.as_i64()).collect::<Vec<_>>(), [Some(3), Some(6)]);
            for (_, reason) in reasons {
                // An item of a select list is told as the parser has it.
                let begins = format!("failed_expression: {flag} {expression}").to_lowercase();
                assert!(reason.to_lowercase().starts_with(&begins) && reason.contains(error), "{reason}");
            }
        }
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "{sql}: {all:#?}");
    }
}

#[test]
fn a_poison_row_from_standard_input_and_csv() {
    let dir = Workdir::new();
    dir.write(
        "log.csv",
        "id,at,item\na,2016-11-07T10:00:00Z,1\nb,2016-11-07T10:01:00Z,none\nc,2016-11-07T10:02:00Z,3\n",
    );
    let select = "id as event_id, at as ts, cast(item as int) as item";
    let schema = "id text\nat timestamp\nitem text\n";
    dir.write("log.schema", schema);
    for input in ["log.csv", "- --format csv"] {
        let out = format!("out-{}", input.len());
        let line = format!("ingest --in {input} --schema log.schema --out {out}");
        let mut command = dir.command(&line);
        command.stdin(std::fs::File::open(dir.path("log.csv")).unwrap());
        let ran = Ran::of(command.args(["--select", select]).output().unwrap());
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        assert_eq!(dir.rows(&out).len(), 2);
        let [(offset, reason)] = &rejected(&dir, &out)[..] else { panic!("one row is rejected") };
        assert_eq!(offset, &json!(1));
        assert!(reason.contains("cast(item as int)") || reason.contains("CAST(item AS INT)"), "{reason}");
    }
}

/// Expressions that commands take into f, over hours and as a stream, however that is cut: the same bytes, and the same
/// rows rejected.
#[test]
fn an_expression_of_a_command_that_fails_rejects_its_row_in_both_runners() {
    let tuples = "attribute --tuples --lookback 1h --in impressions=IMPRESSIONS --in plays=PLAYS";
    let sample = "stratify --in IMPRESSIONS --size 4 --watermark-delay 4h";
    let cases: [(&str, &[&str], &str); 6] = [
        (tuples, &["--action", "cast(row as bigint)"], "row"),
        (tuples, &["--propensity", "cast(row as double) / 10"], "row"),
        (tuples, &["--slot", "100 / rank"], "rank"),
        (tuples, &["--action", "cast(row as int)", "--slot", "8 / rank", "--context", "country"], "r"),
        (sample, &["--strata", "cast(row as bigint) % 2"], "row"),
        (sample, &["--strata", "device,64 / rank"], "rank"),
    ];
    for (line, words, named) in cases {
        let dir = Workdir::new();
        impressions(&dir, &TEXTS, &RANKS);
        let of = |impressions: &str, plays: &str| line.replace("IMPRESSIONS", impressions).replace("PLAYS", plays);
        let batch = of("archive/impressions", "archive/plays");
        let schema = if line == sample { "--schema impressions" } else { "" };
        let stream = format!("{} {schema}", of("impressions.jsonl", "plays.jsonl"));
        let lines = [
            batch.clone(),
            format!("{batch} --threads 1 --memory-limit 64M"),
            format!("{stream} --max-rows 1 --commit-interval 0s"),
            format!("{stream} --max-rows 100"),
        ];
        let mut all = Vec::new();
        for (number, line) in lines.iter().enumerate() {
            let ran = run(&dir, &format!("{line} --json --out out-{number}"), words);
            assert_eq!(ran.code, Some(0), "{words:?}: {}", ran.err);
            let input = if line.starts_with("stratify") { "events" } else { "impressions" };
            let ledger = ran.json()["ledger"][input].take();
            assert_eq!(
                (&ledger["accepted"], &ledger["rejected"]),
                (&json!(7), &json!(2)),
                "{line} {words:?}: {ledger}"
            );
            let mut reasons = rejected(&dir, &format!("out-{number}"));
            for (_, reason) in &mut reasons {
                assert!(reason.starts_with("failed_expression: ") && reason.contains(named), "{reason}");
            }
            all.push((dir.parts(&format!("out-{number}")), reasons));
        }
        assert_eq!(all[0].1.iter().map(|(offset, _)| offset.as_i64()).collect::<Vec<_>>(), [Some(3), Some(6)]);
        assert!(all.windows(2).all(|pair| pair[0].0 == pair[1].0), "{words:?}: files differ");
        assert!(
            all.windows(2).all(|pair| pair[0].1 == pair[1].1),
            "{words:?}: {:#?}",
            all.iter().map(|a| &a.1).collect::<Vec<_>>()
        );
    }
}

#[test]
fn a_script_of_ones_own_rejects_the_rows_on_which_it_fails() {
    let dir = Workdir::new();
    impressions(&dir, &TEXTS, &RANKS);
    let plain = "create schema batch; create schema state; create schema output;
        create table batch.events (event_id text, ts timestamp, row text);
        comment on table batch.events is 'time ts';
        create table state.events as select event_id, ts from batch.events;
        comment on table state.events is 'key (event_id, ts), time ts, keep interval ''0''';
        create view number as select event_id, ts, cast(row as bigint) as number from batch.events;
        create view output.numbers as select event_id, ts, number from number where number > 1;
        comment on view output.numbers is 'key (event_id, ts), time ts';";
    dir.write("plain.sql", plain);
    let mut all = Vec::new();
    for (out, line) in [
        ("batch", "--in events=archive/impressions"),
        ("stream", "--in events=archive/impressions --replay --max-rows 2"),
    ] {
        let ran = dir.ok(&format!("run plain.sql {line} --json --out {out}"));
        let ledger = ran.json()["ledger"]["events"].take();
        assert_eq!(ledger["rejected"], 2, "{out}: {ledger}");
        all.push((dir.parts(out), rejected(&dir, out)));
    }
    assert!(all[0].0 == all[1].0);
    assert_eq!(all[0].1, all[1].1);
    assert!(all[0].1[0].1.contains("CAST(row AS Int64)"), "{:?}", all[0].1);
}

/// A row whose guard is false is a good one, in whatever company it comes: with 'x' beside numbers, and one row on which
/// the guarded part does fail.
#[test]
fn a_guard_keeps_its_row_whatever_rows_are_beside_it() {
    let dir = Workdir::new();
    let text = |at: usize| if at == 100 { "7z".to_owned() } else { format!("{}", at % 9) };
    let text = |at: usize| if at.is_multiple_of(3) { "x".to_owned() } else { text(at) };
    let row = |at: usize| {
        let ts = format!("2016-11-07T10:{:02}:{:02}Z", at / 60, at % 60);
        format!("{}\n", json!({ "event_id": format!("e{at:03}"), "ts": ts, "row": text(at) }))
    };
    dir.write("log.jsonl", (0..300).map(row).collect::<String>());
    dir.write("log.schema", "event_id text\nts timestamp\nrow text\n");
    dir.ok("ingest --in log.jsonl --schema log.schema --out archive");
    let (x, bad) = (|at: &usize| at.is_multiple_of(3), |at: &usize| *at == 100);
    let great = |at: &usize| !x(at) && !bad(at) && at % 9 > 3;
    let great_rows = (0..300).filter(great).count();
    for (condition, kept, lost) in [
        ("row <> 'x' and cast(row as int) > 3", great_rows, 1),
        ("case when row <> 'x' then cast(row as int) > 3 else false end", great_rows, 1),
        ("case when row = 'x' then true else cast(row as int) > 3 end", great_rows + 100, 1),
        ("row = 'x' or cast(row as int) > 3", great_rows + 100, 1),
        // The first operand is asked of every row.
        ("cast(row as int) > 3 and row <> 'x'", great_rows, 101),
        ("cast(row as int) > 3 or row = 'x'", great_rows, 101),
    ] {
        let head = "create schema batch; create schema state; create schema output;
            create table batch.events (event_id text, ts timestamp, row text);
            comment on table batch.events is 'time ts';
            create table state.events as select event_id, ts from batch.events;
            comment on table state.events is 'key (event_id, ts), time ts, keep interval ''0''';";
        dir.write(
            "where.sql",
            format!(
                "{head} create view output.rows as select event_id, ts from batch.events where {condition};
                comment on view output.rows is 'key (event_id, ts), time ts';"
            ),
        );
        dir.write(
            "sums.sql",
            format!(
                "{head} create view output.rows as
                    select event_id, ts, sum(case when {condition} then 1 else 0 end) as n
                    from batch.events group by event_id, ts;
                comment on view output.rows is 'key (event_id, ts), time ts';"
            ),
        );
        let ways = [
            ("--in archive", "--in events=archive"),
            (
                "--in log.jsonl --schema log.schema --max-rows 7 --commit-interval 0s",
                "--in events=archive --replay --max-rows 7",
            ),
            ("--in log.jsonl --schema log.schema", "--in events=archive --replay"),
        ];
        let mut all = Vec::new();
        for (number, (input, events)) in ways.iter().enumerate() {
            for line in [format!("ingest {input}"), format!("run where.sql {events}"), format!("run sums.sql {events}")]
            {
                let words: &[&str] = if line.starts_with("ingest") { &["--where", condition] } else { &[] };
                let out = format!("out-{number}-{}", line.split([' ', '.']).nth(1).unwrap());
                let _ = std::fs::remove_dir_all(dir.path(&out));
                let ran = run(&dir, &format!("{line} --out {out}"), words);
                assert_eq!(ran.code, Some(0), "{line}: {condition}: {}", ran.err);
                let rows = dir.rows(&out);
                let sum: i64 = rows.iter().map(|row| row["n"].as_i64().unwrap_or(1)).sum();
                let reasons = rejected(&dir, &out);
                assert_eq!((sum, reasons.len()), (kept as i64, lost), "{line}: {condition}");
                assert!(reasons.iter().all(|(_, why)| why.contains("Cannot cast string")), "{reasons:?}");
                let mut ids: Vec<String> = rows.iter().map(|row| row["event_id"].to_string()).collect();
                ids.sort_unstable();
                all.push((line.contains("sums"), ids));
            }
        }
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 2, "{condition}");
    }
}
