//! Memory: hours that are larger than its limit have other plans, sorted on disk, and the same files; a sample holds what
//! its rules ask for, however much it is drawn from.

use super::workdir::{Workdir, walk};

#[test]
fn hours_larger_than_memory_give_the_same_files() {
    let dir = Workdir::new();
    dir.ok("generate --hours 2 --impressions-per-hour 60000 --to raw");
    for topic in ["impressions", "plays"] {
        dir.ok(&format!("ingest --in raw/{topic}.jsonl --schema {topic} --out archive/{topic}"));
    }
    let pair = "--in impressions=archive/impressions --in plays=archive/plays";
    for command in ["aggregate --sets", "attribute"] {
        dir.ok(&format!("{command} {pair} --out once/{}", command.split(' ').next().unwrap()));
    }
    let lines = [
        "ingest --in archive/impressions --dedup 2h".to_owned(),
        format!("join {pair}"),
        format!("join {pair} --type full"),
        format!("join {pair} --type anti"),
        format!("aggregate {pair} --by profile_id,video_id"),
        format!("attribute {pair} --model last,linear"),
        format!("attribute {pair} --tuples"),
        "merge once/aggregate once/aggregate".to_owned(),
        "merge once/attribute once/attribute".to_owned(),
    ];
    for line in lines {
        dir.ok(&format!("{line} --out free"));
        dir.ok(&format!("{line} --out short --memory-limit 16M"));
        let parts = |out: &str| -> Vec<_> {
            let files =
                walk(&dir.path(out)).into_iter().filter(|file| file.extension().is_some_and(|e| e == "parquet"));
            files.map(|file| file.strip_prefix(dir.path(out)).unwrap().to_owned()).collect()
        };
        // The name of a file says its content.
        assert!(!parts("free").is_empty(), "{line}");
        assert_eq!(parts("short"), parts("free"), "{line}");
        ["free", "short"].iter().for_each(|out| std::fs::remove_dir_all(dir.path(out)).unwrap());
    }
}

/// The most memory that a run held, bytes: as the kernel says at its end, where the run waits for somebody to read its
/// report, which no pipe takes whole.
#[cfg(target_os = "linux")]
fn peak(dir: &Workdir, words: &str) -> u64 {
    use std::io::Read;

    let mut run = dir.command(&format!("{words} --threads 2 --json"));
    let mut run = run.stderr(std::process::Stdio::null()).spawn().unwrap();
    let mut report = run.stdout.take().unwrap();
    let mut text = vec![0];
    report.read_exact(&mut text).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", run.id())).unwrap();
    report.read_to_end(&mut text).unwrap();
    assert!(run.wait().unwrap().success(), "{words}");
    assert!(text.len() > 1 << 17, "a report of {} bytes fits into a pipe", text.len());
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[cfg(target_os = "linux")]
#[test]
fn a_sample_of_more_rows_takes_no_more_memory() {
    let dir = Workdir::new();
    dir.ok("generate --hours 20 --impressions-per-hour 200000 --format parquet --to raw");
    dir.write("rules.toml", "[[rule]]\nstrata = ['video_id']\nmax_each = 5\n");
    // How many hours are in flight at once depends on what else the machine does: the least of three is what they take.
    let sample = |out: &str, flags: &str| {
        let once = |run| format!("stratify --in raw/impressions --rules rules.toml --out {out}-{run} {flags}");
        (0..3).map(|run| peak(&dir, &once(run))).min().unwrap()
    };
    let few = "--from 2026-11-20T00 --to 2026-11-20T04";
    // Sixteen bytes for each row of the other hours; pages that an output held on to took forty.
    let allowed = 16 * 16 * 200_000;
    for (out, counts) in [("exact", ""), ("approx", "--approx")] {
        let (few, all) = (sample(&format!("{out}-few"), &format!("{counts} {few}")), sample(out, counts));
        let more = all.saturating_sub(few);
        assert!(more < allowed, "{out}: {few} bytes of four hours, and {more} more of all");
    }
}
