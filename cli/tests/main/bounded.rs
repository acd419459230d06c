//! Bounded, whatever the data: one key that has most of the rows, columns by the thousand, and expressions as deep as they
//! are long.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::workdir::Workdir;

/// 2026-11-20T00, milliseconds.
const START: u64 = 1_795_132_800_000;

/// Lines of JSON, each made of its number.
fn lines(count: u64, line: impl Fn(u64) -> String) -> String {
    (0..count).fold(String::new(), |mut text, number| {
        writeln!(text, "{}", line(number)).unwrap();
        text
    })
}

#[test]
fn an_id_that_comes_all_the_time_is_one_event() {
    let dir = Workdir::new();
    dir.write("raw.jsonl", lines(60_000, |n| format!(r#"{{"event_id":"a","ts":{}}}"#, START + n)));
    dir.ok("ingest --in raw.jsonl --schema impressions --out stream --max-rows 5000");
    dir.ok("ingest --in raw.jsonl --schema impressions --dedup 0 --out all");
    dir.ok("ingest --in all --out batch");
    dir.ok("ingest --in all --out sorted --memory-limit 16M");
    assert_eq!(dir.ledger("stream")["events"]["duplicate"], 59_999);
    for out in ["stream", "batch", "sorted"] {
        assert_eq!(dir.rows(out).len(), 1, "{out}");
    }
    assert_eq!(dir.rows("all").len(), 60_000);
}

/// One subject has all impressions and plays: a hundred million pairs, which would neither fit in memory nor come to an end
/// in time. What is put out are few rows; batch and stream find the same.
#[test]
fn a_subject_that_has_all_events_is_credited_and_rewarded_by_a_few_of_them() {
    let dir = Workdir::new();
    let (impressions, plays) = (30_000, 3_000);
    // Impressions a third of a second apart, in an order that is none; plays in between and after them.
    let mut shown: Vec<u64> = (0..impressions).map(|n| START + n * 7_919 % impressions * 333).collect();
    let played: Vec<u64> = (0..plays).map(|n| START + n * 7_919 % plays * 3_300 + 100).collect();
    let event = |id: &str, at: u64| {
        format!(
            r#"{{"event_id":"{id}","ts":{at},"request_id":"{id}","profile_id":1,"video_id":1,"row":"r","rank":1,"propensity":0.5}}"#
        )
    };
    dir.write("impressions.jsonl", lines(impressions, |n| event(&format!("i{n}"), shown[n as usize])));
    dir.write("plays.jsonl", lines(plays, |n| event(&format!("p{n}"), played[n as usize])));
    for name in ["impressions", "plays"] {
        dir.ok(&format!("ingest --in {name}.jsonl --schema {name} --out archive/{name}"));
    }
    shown.sort_unstable();
    let credited: BTreeSet<usize> = played.iter().map(|at| shown.partition_point(|shown| shown <= at)).collect();
    for (what, rows, rewards) in [("--model last,first", 6_000, None), ("--tuples", 30_000, Some(credited.len()))] {
        let (batch, stream) = ("--in impressions=archive/impressions --in plays=archive/plays --out batch", "stream");
        dir.ok(&format!("attribute {what} {batch}"));
        let inputs = "--in impressions=impressions.jsonl --in plays=plays.jsonl --max-rows 4000";
        dir.ok(&format!("attribute {what} {inputs} --out {stream}"));
        assert!(dir.parts("batch") == dir.parts(stream), "{what}");
        let found = dir.rows("batch");
        assert_eq!(found.len(), rows, "{what}");
        if let Some(rewards) = rewards {
            assert_eq!(found.iter().filter(|row| row["reward"] == 1.0).count(), rewards);
        }
        ["batch", stream].iter().for_each(|out| std::fs::remove_dir_all(dir.path(out)).unwrap());
    }
}

#[test]
fn rows_of_two_thousand_columns_are_read() {
    let dir = Workdir::new();
    let row = |n: u64, places: &[u64]| {
        let cells = places.iter().map(|place| format!(r#""column_{place}":{}"#, n + place));
        format!(r#"{{"event_id":"{n}","ts":{},{}}}"#, START + n, cells.collect::<Vec<_>>().join(","))
    };
    let (ascending, descending): (Vec<u64>, Vec<u64>) = ((0..2_000).collect(), (0..2_000).rev().collect());
    dir.write("raw.jsonl", lines(20, |n| row(n, if n % 2 == 0 { &ascending } else { &descending })));
    dir.ok("ingest --in raw.jsonl --out out");
    let rows = dir.rows("out");
    assert_eq!(rows.len(), 20);
    assert!(
        rows.iter().all(
            |row| row["column_1999"].as_i64() == row["event_id"].as_str().map(|n| n.parse::<i64>().unwrap() + 1999)
        )
    );
}

/// Most of their columns are named by nothing; some lie between those that are, and rows lack some.
#[test]
fn rows_of_many_columns_pass_through_every_command_as_they_are() {
    let dir = Workdir::new();
    let row = |kind: &str, n: u64| {
        let cell = |c: u64| match (n + c) % 5 {
            0 => "null".to_owned(),
            _ if c.is_multiple_of(3) => format!("{}", n * c),
            _ if c % 3 == 1 => format!("\"v {c} \\\" {n}\""),
            _ => format!("{}.5", n + c),
        };
        let cells = |places: std::ops::Range<u64>| {
            places.map(|c| format!(r#""Column {c}":{}"#, cell(c))).collect::<Vec<_>>().join(",")
        };
        let ids = format!(r#""event_id":"{kind}{n}","request_id":"{}""#, n / 2);
        let others = format!(r#""ts":{},"profile_id":{},"video_id":1"#, START + n * 300_000, n % 3);
        format!("{{{},{ids},{},{others},{}}}", cells(0..150), cells(150..160), cells(160..300))
    };
    for kind in ["impressions", "plays"] {
        dir.write(&format!("{kind}.jsonl"), lines(40, |n| row(kind, n)));
        dir.ok(&format!("ingest --in {kind}.jsonl --out {kind}"));
    }
    dir.write(
        "mine.sql",
        "create schema batch; create schema output;
        create table batch.events (event_id text, ts timestamp); comment on table batch.events is 'time ts';
        create view output.rows as select *, \"Column 7\" as seven from batch.events where \"Column 3\" > 2;
        comment on view output.rows is 'key (event_id, ts), time ts';",
    );
    let both = "--in impressions=impressions --in plays=plays";
    for (name, command) in [
        ("ingested", "ingest --in impressions --replay".to_owned()),
        ("inner", format!("join {both}")),
        ("full", format!("join --type full --within 1m {both}")),
        ("counted", format!("aggregate {both}")),
        ("sampled", "stratify --in impressions --strata video_id --size 9".to_owned()),
        ("mine", "run mine.sql --in events=impressions".to_owned()),
    ] {
        dir.ok(&format!("{command} --out {name}"));
        if !command.contains("--replay") {
            dir.ok(&format!("{command} --out {name}-stream --replay"));
            assert!(dir.parts(name) == dir.parts(&format!("{name}-stream")), "{name}");
        }
        assert!(!dir.rows(name).is_empty(), "{name}");
    }
    let by_id = |out: &str, id: &str| {
        dir.rows(out).into_iter().map(|row| (row[id].to_string(), row)).collect::<std::collections::BTreeMap<_, _>>()
    };
    let impressions = by_id("impressions", "event_id");
    for (out, prefix) in [("ingested", ""), ("inner", "impression_"), ("full", "impression_"), ("mine", "")] {
        for row in dir.rows(out) {
            let Some(of) = impressions.get(&row[format!("{prefix}event_id")].to_string()) else {
                assert!((0..300).all(|c| row[format!("{prefix}Column {c}")].is_null()), "{out}: {row}");
                continue;
            };
            (0..300).for_each(|c| {
                let column = format!("Column {c}");
                assert_eq!(row[format!("{prefix}{column}")], of[&column], "{out}: {column}");
            });
        }
    }
}

#[test]
fn what_is_too_deep_is_an_error() {
    let dir = Workdir::new();
    dir.write("raw.jsonl", lines(1, |_| format!(r#"{{"event_id":"a","ts":{START}}}"#)));
    let chain = |count: usize| vec!["event_id<>'b'"; count].join("/**/and/**/");
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(50_000), close.repeat(50_000));
    let cases = [
        ("--where", chain(5_000), "more than 2,000 operators"),
        ("--where", format!("{}=1", deep("(", ")")), "recursion limit"),
        (
            "--select",
            format!("event_id,ts,{}as/**/c", vec!["1"; 20_000].join("+") + "/**/"),
            "more than 2,000 operators",
        ),
        ("--where", format!("{}event_id='a'", "not/**/".repeat(10_000)), "more than 2,000 operators"),
    ];
    for (flag, text, said) in cases {
        let ran = dir.run(&format!("ingest --in raw.jsonl --schema impressions --out out {flag} {text}"));
        assert!(matches!(ran.code, Some(2 | 65 | 78)), "{flag} {}: {:?} {}", &text[..60], ran.code, ran.err);
        assert!(ran.err.contains(said), "{flag} {}: {}", &text[..60], &ran.err[..ran.err.len().min(400)]);
    }
    dir.write("deep.sql", format!("create view output.a as select {} as x;", vec!["1"; 20_000].join("+")));
    let ran = dir.run("run deep.sql --in events=raw.jsonl --out out");
    assert!(ran.err.contains("more than 2,000 operators") && ran.code == Some(78), "{:?} {}", ran.code, ran.err);
    dir.ok(&format!("ingest --in raw.jsonl --schema impressions --out wide --where {}", chain(1_000)));
    assert_eq!(dir.rows("wide").len(), 1);
}
