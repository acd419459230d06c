//! Values that would move a cursor or forge a line, through every command that prints; and secrets, which none prints.

use serde_json::json;

use super::workdir::{Ran, Workdir, walk};

/// Clears a screen, overwrites a line, begins another, turns text around, and what old terminals take for an escape.
const HOSTILE: &str = "\u{1b}[2J\rno\nrows\u{202e}\u{9b}31m\u{7f}<b>";

/// Whether nothing that a run printed does anything but show text; and that it showed the value.
fn is_plain(ran: &Ran, what: &str) {
    for text in [&ran.out, &ran.err] {
        let acts = |c: &char| c.is_control() && *c != '\n' || matches!(c, '\u{202a}'..='\u{202e}');
        assert_eq!(text.chars().find(acts), None, "{what}: {text:?}");
    }
    assert!(ran.err.contains("\\u001b[2J") || ran.out.contains("\\u001b[2J"), "{what}: {:?} {:?}", ran.out, ran.err);
}

fn run(dir: &Workdir, line: &str, words: &[&str]) -> Ran {
    Ran::of(dir.command(line).args(words).output().unwrap())
}

/// An hour of which every text is hostile.
fn hostile() -> Workdir {
    let dir = Workdir::new();
    let row = |at: usize| {
        json!({ "event_id": format!("{at}{HOSTILE}"), "ts": format!("2016-11-07T10:{at:02}:00Z"),
                "request_id": format!("r{HOSTILE}"), "profile_id": 1, "video_id": 1, "row": HOSTILE, "rank": at,
                "country": format!("{HOSTILE}{}", at % 3), "device": HOSTILE, "propensity": 0.5 })
    };
    let lines = |from: usize, to: usize| (from..to).map(|at| format!("{}\n", row(at))).collect::<String>();
    dir.write("impressions.jsonl", lines(0, 9));
    dir.write("plays.jsonl", lines(9, 12).replace(",\"propensity\":0.5", ""));
    dir.write("fewer.jsonl", lines(0, 8));
    for name in ["impressions", "plays"] {
        dir.ok(&format!("ingest --in {name}.jsonl --schema {name} --out archive/{name}"));
    }
    dir.ok("ingest --in fewer.jsonl --schema impressions --out fewer");
    dir
}

const PAIR: &str = "--in impressions=archive/impressions --in plays=archive/plays";

#[test]
fn no_value_acts_on_a_terminal_or_forges_a_line() {
    let dir = hostile();
    for json in ["", "--json"] {
        let ran = dir.run(&format!("reconcile --batch archive/impressions --stream fewer {json}"));
        assert_eq!(ran.code, Some(3));
        is_plain(&ran, "reconcile");
        assert_eq!(ran.out.lines().count(), if json.is_empty() { 5 } else { 2 }, "{}", ran.out);
        let play = format!("9{HOSTILE}");
        let ran = run(&dir, &format!("attribute {PAIR} {json}"), &["--explain-play", &play]);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        is_plain(&ran, "explain-play");
        let sample = format!("stratify --in archive/impressions --size 4 --strata country {json} --force --out sample");
        is_plain(&dir.ok(&sample), "stratify");
        is_plain(&dir.ok(&format!("inspect sample {json}")), "inspect");
        let tuples = format!("attribute --tuples {PAIR} --slot row --policy other=0.5 {json} --force --out tuples");
        is_plain(&dir.ok(&tuples), "policies");
    }
    let wrong = "wrong=cast(context_device as double)";
    let ran = run(&dir, &format!("attribute {PAIR} --context device --out context"), &["--tuples", "--policy", wrong]);
    assert_eq!(ran.code, Some(65), "{}", ran.err);
    is_plain(&ran, "a policy that fails");
}

#[test]
fn nor_does_one_in_an_error_or_a_name() {
    let dir = Workdir::new();
    let bad = json!({ "event_id": "a", "ts": 0, "video_id": HOSTILE });
    dir.write("plays.jsonl", format!("{bad}\n"));
    let ran = dir.run("ingest --in plays.jsonl --schema plays --out out");
    assert_eq!(ran.code, Some(65), "{}", ran.err);
    is_plain(&ran, "what is rejected");
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    let select = "event_id, ts, cast(row as int) as number";
    let poison = json!({ "event_id": "a", "ts": 0, "row": HOSTILE });
    dir.write("impressions.jsonl", format!("{poison}\n"));
    let ran = run(&dir, "ingest --in impressions.jsonl --schema impressions --out out", &["--select", select]);
    assert_eq!(ran.code, Some(65), "{}", ran.err);
    is_plain(&ran, "where an expression fails");
    let keys = json!({ "event_id": "a", "ts": "2016-11-07T10:00:00Z", HOSTILE: 1 });
    dir.write("keys.jsonl", format!("{keys}\n"));
    is_plain(&dir.run("ingest --in keys.jsonl --out inferred"), "an inferred schema");
    for line in ["inspect", "ingest --out out --in"] {
        let ran = run(&dir, line, &[HOSTILE]);
        assert_ne!(ran.code, Some(0));
        is_plain(&ran, line);
    }
}

#[test]
fn a_page_shows_hostile_text_as_text() {
    let dir = hostile();
    dir.ok("stratify --in archive/impressions --size 4 --strata country --report page.html --out sample");
    let page = dir.read("page.html");
    assert!(!page.chars().any(|c| c.is_control() && c != '\n') && !page.contains("<b>"));
}

/// A secret given in every way that there is, and errors on the way: it stands in nothing that is printed or written.
#[test]
fn secrets_are_not_shown() {
    let dir = Workdir::new();
    dir.write("plays.jsonl", "{\"event_id\":\"a\",\"ts\":0}\n");
    dir.write("typo.properties", "# of the cluster\n\nsasl.pasword = hush\n");
    dir.write("bare.properties", "sasl.password=hush\nhush\n");
    dir.write("good.properties", "sasl.password = hush\n");
    dir.write("s3.properties", "secret_access_key = hush\nregion=us-east-1\nenpoint=hush\n");
    let kafka = "ingest --in kafka://127.0.0.1:1/t --schema plays --out out";
    let s3 = "ingest --in s3://bucket/plays --out out";
    for (line, code, said) in [
        (format!("{kafka} --kafka-config typo.properties"), 2, "--kafka-config typo.properties: Kafka setting sasl.pasword"),
        (format!("{kafka} --kafka-config bare.properties"), 2, "bare.properties, line 2: is no setting"),
        (format!("{kafka} --kafka-config none.properties"), 66, "read --kafka-config none.properties"),
        (format!("{kafka} --kafka hush"), 2, "write KEY=VALUE"),
        (format!("{s3} --s3-config s3.properties"), 2, "no S3 option enpoint"),
        (format!("{s3} --s3 hush"), 2, "write KEY=VALUE"),
        ("ingest --in kafka://user:hush@127.0.0.1:1/t --schema plays --out out".to_owned(), 2, "--in: an address with a user"),
        ("ingest --in plays.jsonl --schema plays --out s3://key:hush@bucket/out".to_owned(), 2, "--out: an address"),
        ("inspect s3://key:hush@bucket/out".to_owned(), 2, "an address with a user"),
        ("ingest --in plays.jsonl --schema plays --kafka-config good.properties --s3 secret_access_key=hush --out out --json".to_owned(), 0, "1 rows"),
        ("ingest --in plays.jsonl --schema plays --kafka-config good.properties --explain".to_owned(), 0, ""),
    ] {
        let ran = dir.run(&line);
        assert_eq!(ran.code, Some(code), "{line}: {}", ran.err);
        assert!(ran.err.contains(said), "{line}: {}", ran.err);
        assert!(!ran.err.contains("hush") && !ran.out.contains("hush"), "{line}: {} {}", ran.out, ran.err);
    }
    for file in walk(&dir.path("out")) {
        let text = String::from_utf8_lossy(&std::fs::read(&file).unwrap()).into_owned();
        assert!(!text.contains("hush"), "{}", file.display());
    }
}

#[test]
fn the_environment_gives_what_the_command_line_does_not() {
    let dir = Workdir::new();
    dir.write("plays.jsonl", "{\"event_id\":\"a\",\"ts\":0}\n");
    dir.write("bare.properties", "hush\n");
    let with = |line: &str, name: &str, value: &str| Ran::of(dir.command(line).env(name, value).output().unwrap());
    let ran = with("ingest --in plays.jsonl --schema plays", "RESCAN_OUT", "out");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(dir.rows("out").len(), 1);
    let ran = with("ingest --in plays.jsonl --schema plays --out over", "RESCAN_OUT", "under");
    assert!(ran.code == Some(0) && dir.path("over").exists() && !dir.path("under").exists());
    let kafka = "ingest --in kafka://127.0.0.1:1/t --schema plays --out x";
    let ran = with(kafka, "RESCAN_KAFKA_CONFIG", "bare.properties");
    assert!(ran.code == Some(2) && ran.err.contains("bare.properties, line 1"), "{}", ran.err);
    let ran = with(kafka, "RESCAN_KAFKA", "sasl.pasword=hush");
    assert!(ran.code == Some(2) && ran.err.contains("sasl.pasword") && !ran.err.contains("hush"), "{}", ran.err);
    let ran = with("ingest --schema plays --out y", "RESCAN_IN", "kafka://u:hush@h/t");
    assert!(ran.code == Some(2) && ran.err.contains("RESCAN_IN: ") && !ran.err.contains("hush"), "{}", ran.err);
    let ran = with("ingest --in plays.jsonl --schema plays --out z", "RESCAN_DRY_RUN", "1");
    assert!(ran.code == Some(0) && ran.err.contains("would run") && !dir.path("z").exists(), "{}", ran.err);
    let ran = with("ingest --help", "RESCAN_KAFKA", "sasl.password=hush");
    assert!(ran.out.contains("--kafka-config") && !ran.out.contains("hush"), "{}", ran.out);
}
