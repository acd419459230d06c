//! `--dry-run` says what a run would do, and `--explain` what it is; neither writes anything.

use super::commands::{JOIN, STREAM, demo};

#[test]
fn dry_run_and_explain_write_nothing() {
    let dir = demo();
    for line in [JOIN, STREAM, "ingest --in raw/plays.jsonl --schema plays"] {
        let said = dir.ok(&format!("{line} --out out --dry-run"));
        assert!(said.err.starts_with("would run "), "{}", said.err);
        let said = dir.ok(&format!("{line} --explain"));
        let script = dir.ok(&format!("sql {}", line.split(' ').next().unwrap())).out;
        assert!(said.out.starts_with(script.trim_end()), "f comes first");
        assert!(said.out.contains("-- the plan of one step\n") && said.out.contains("Exec"), "{}", said.out);
        assert!(!dir.path("out").exists(), "{line}");
    }
}

#[test]
fn a_dry_run_says_what_the_run_would_do() {
    let dir = demo();
    let said = |line: &str| dir.run(&format!("{line} --dry-run"));
    assert!(
        said(&format!("{JOIN} --out batch")).err.contains("for 3 hours, 2016-11-07T00 to 2016-11-07T02, into batch\n")
    );
    dir.ok(&format!("{JOIN} --out batch --to 2016-11-07T02"));
    let rest = said(&format!("{JOIN} --out batch")).err;
    assert!(rest.contains("for 1 hour, 2016-11-07T02, into batch; 2 hours up to date"), "{rest}");
    dir.ok(&format!("{JOIN} --out batch"));
    assert!(
        said(&format!("{JOIN} --out batch")).err.contains("would write nothing: join is up to date in batch, 3 hours")
    );
    dir.ok(&format!("{STREAM} --out stream"));
    assert!(
        said(&format!("{STREAM} --out stream"))
            .err
            .contains("would write nothing: join came to the end of its input in stream")
    );
    for (line, code) in [
        (format!("{STREAM} --out batch"), 78),
        (format!("{JOIN} --out stream"), 78),
        (format!("{STREAM} --within 1h --out stream"), 78),
        (format!("{JOIN} --hour 2016-11-08T00 --out batch"), 66),
        (format!("{STREAM} --init-state stream --out begun"), 66),
        (format!("{STREAM} --init-state begun --out begun"), 2),
        (JOIN.to_owned(), 2),
    ] {
        let ran = said(&line);
        assert_eq!(ran.code, Some(code), "{line}: {}", ran.err);
    }
}

#[test]
fn a_dry_run_of_a_sample_names_the_hours_that_would_go() {
    let dir = demo();
    let sample = "stratify --in archive/plays --size 9 --strata device --out sample";
    dir.ok(sample);
    let other = dir.run(&format!("{sample} --hour 2016-11-07T01 --dry-run"));
    assert!(other.code == Some(78) && other.err.contains("a sample of other hours"), "{}", other.err);
    let forced = dir.ok(&format!("{sample} --hour 2016-11-07T01 --dry-run --force"));
    assert!(forced.err.contains("2 hours of another sample go"), "{}", forced.err);
    assert!(dir.ok(sample).err.contains("up to date"));
}
