//! Hours of a batch run side by side, or one after another, or each by itself: the same files.

use super::workdir::Workdir;

#[test]
fn any_number_of_threads_and_any_cut_into_runs_give_the_same_files() {
    let dir = Workdir::new();
    dir.ok("generate --hours 7 --impressions-per-hour 1500 --to raw");
    for topic in ["impressions", "plays"] {
        dir.ok(&format!("ingest --in raw/{topic}.jsonl --schema {topic} --out archive/{topic}"));
    }
    let pair = "--in impressions=archive/impressions --in plays=archive/plays";
    let lines = [
        "ingest --in archive/impressions --dedup 2h".to_owned(),
        format!("join {pair} --type full"),
        format!("aggregate {pair} --epoch 45m"),
        format!("attribute {pair} --lookback 90m"),
        format!("attribute {pair} --model last,linear"),
    ];
    for (at, line) in lines.iter().enumerate() {
        dir.ok(&format!("{line} --threads 1 --out one-{at}"));
        let expected = dir.parts(&format!("one-{at}"));
        assert!(expected.len() >= 7, "{line}");
        for flags in ["--threads 2", "--threads 3", "--threads 16", "--threads 3 --memory-limit 40M"] {
            let out = format!("of-{at}{}", flags.replace(' ', ""));
            dir.ok(&format!("{line} {flags} --out {out}"));
            assert!(dir.parts(&out) == expected, "{line} {flags}");
        }
        let hours: Vec<String> = expected.keys().map(|part| part.to_string()).collect();
        for part in hours {
            let hour = part.replacen("dt=", "", 1).replacen("/hr=", "T", 1);
            let hour = hour.split('/').next().unwrap();
            dir.ok(&format!("{line} --hour {hour} --threads 2 --out hours-{at}"));
        }
        assert!(dir.parts(&format!("hours-{at}")) == expected, "{line}, hour by hour");
    }
}
