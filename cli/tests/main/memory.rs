//! Hours that are larger than the memory limit: other plans, sorted on disk, and the same files.

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
