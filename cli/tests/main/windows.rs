//! Output that lives in another hour than the events it is made of: windows that a range cuts, and scripts of users.

use super::complete::TWO;
use super::errors::failed;
use super::workdir::Workdir;

/// Hours that begin in the middle of a day.
fn from_five(hours: u32) -> Workdir {
    let dir = Workdir::new();
    let flags = format!("--start 2016-11-07T05 --hours {hours} --impressions-per-hour 300 --late 0 --malformed 0");
    dir.ok(&format!("generate {flags} --to raw"));
    for name in ["impressions", "plays"] {
        dir.ok(&format!("ingest --in raw/{name}.jsonl --schema {name} --out archive/{name}"));
    }
    dir.write("mine.sql", dir.ok("sql aggregate").out);
    dir
}

fn impressions(dir: &Workdir, out: &str) -> u64 {
    dir.rows(out).iter().map(|row| row["impressions"].as_u64().unwrap()).sum()
}

#[test]
fn a_window_is_written_where_it_begins() {
    let dir = from_five(3);
    let command = format!("aggregate {TWO} --by country");
    for epoch in ["6h", "12h", "24h", "90m"] {
        let out = format!("whole-{epoch}");
        dir.ok(&format!("{command} --epoch {epoch} --out {out}"));
        let whole = dir.parts(&out);
        assert!(impressions(&dir, &out) > 0, "{epoch}");
        // A range that cuts the window.
        dir.ok(&format!("{command} --epoch {epoch} --from 2016-11-07T05 --to 2016-11-07T08 --out range-{epoch}"));
        assert!(dir.parts(&format!("range-{epoch}")) == whole, "{epoch}");
        for hour in ["07", "05", "06"] {
            dir.ok(&format!("{command} --epoch {epoch} --hour 2016-11-07T{hour} --out hours-{epoch}"));
        }
        assert!(dir.parts(&format!("hours-{epoch}")) == whole, "{epoch}");
    }
}

/// A script says itself in which hour its rows live.
#[test]
fn output_before_the_first_input_is_written() {
    let dir = from_five(3);
    for epoch in ["6h", "24h", "90m"] {
        dir.ok(&format!("aggregate {TWO} --sets --epoch {epoch} --out whole-{epoch}"));
        let run = format!("run mine.sql {TWO} --param epoch={epoch} --out mine-{epoch}");
        let ran = dir.ok(&run);
        assert!(dir.parts(&format!("mine-{epoch}")) == dir.parts(&format!("whole-{epoch}")), "{epoch}: {}", ran.err);
        assert!(dir.ok(&run).err.contains("up to date"), "{epoch}");
    }
}

/// A range of hours whose rows all make output of an earlier one.
#[test]
fn a_range_that_cuts_what_a_script_puts_together_is_refused() {
    let dir = from_five(3);
    let run = format!("run mine.sql {TWO} --param epoch=24h --out mine");
    // From the first hour of input on, the window is written where it begins.
    dir.ok(&format!("{run} --from 2016-11-07T05 --to 2016-11-07T06"));
    assert!(impressions(&dir, "mine") > 0);
    dir.ok(&format!("{run} --hour 2016-11-07T07"));
    std::fs::remove_dir_all(dir.path("mine")).unwrap();
    let ran = dir.run(&format!("{run} --from 2016-11-07T06 --to 2016-11-07T08"));
    failed(&ran, 2, &["make output of hour 2016-11-07T00", "write --from 2016-11-07T05"]);
    assert!(dir.files("mine").is_empty());
}

/// What is later than all input waits for that, and is named; what is further than the script says ends the run.
#[test]
fn output_after_the_last_input_waits() {
    let dir = from_five(2);
    let script = |ahead: &str, before: &str| {
        format!(
            "create schema batch;\ncreate schema output;\n\
             create table batch.plays (event_id text, ts timestamp);\n\
             comment on table batch.plays is 'time ts, before interval ''{before}''';\n\
             create view output.moved as select event_id, ts + interval '{ahead}' as ts from batch.plays;\n\
             comment on view output.moved is 'key (event_id, ts), time ts';\n"
        )
    };
    dir.write("ahead.sql", script("1 hour", "1 hour"));
    let ran = dir.ok("run ahead.sql --in plays=archive/plays --out ahead");
    assert!(ran.err.contains("2016-11-07T07 waits for plays/2016-11-07T07"), "{}", ran.err);
    dir.write("far.sql", script("9 hours", "1 hour"));
    let ran = dir.run("run far.sql --in plays=archive/plays --out far");
    failed(&ran, 65, &["puts a row out for hour 2016-11-07T14", "further from its input than the script says"]);
}
