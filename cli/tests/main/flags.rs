//! Every flag that changes what is put out is tried in a folder of `testdata`, of which every column is compared.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::workdir::Workdir;

/// Flags that change no row and no column: where rows come from, how a run is cut, what it says. Of ranges, state that is
/// carried on and what is missing, other tests say what they are to do.
const NEUTRAL: &[&str] = &[
    "allow-incomplete",
    "commit-interval",
    "day",
    "dry-run",
    "explain",
    "explain-play",
    "follow",
    "force",
    "format",
    "from",
    "help",
    "hour",
    "idle-timeout",
    "in",
    "infer-rows",
    "init-state",
    "interval",
    "json",
    "kafka",
    "kafka-config",
    "keep-state",
    "max-late",
    "max-rejected",
    "max-rows",
    "make-deps",
    "memory-limit",
    "misfiled",
    "out",
    "policy",
    "progress",
    "replay",
    "report",
    "s3",
    "s3-config",
    "side-ttl",
    "threads",
    "to",
    "version",
];

/// Flags of every command, tried with one of them.
const COMMON: [&str; 7] = ["watermark-delay", "allowed-lateness", "max-future", "schema", "side", "side-key", "zone"];

fn words(command: &str) -> BTreeSet<String> {
    let folders = fs::read_dir(Path::new("../testdata").join(command)).unwrap().map(|entry| entry.unwrap().path());
    let args = folders.map(|folder| fs::read_to_string(folder.join("args")).unwrap());
    let lines =
        args.flat_map(|args| args.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>());
    lines.flat_map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn every_flag_that_changes_rows_is_tried() {
    let dir = Workdir::new();
    let commands = fs::read_dir("../testdata").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let commands: Vec<String> = commands.collect();
    assert!(!commands.is_empty());
    let all: BTreeSet<String> = commands.iter().flat_map(|command| words(command)).collect();
    for command in &commands {
        let help = dir.ok(&format!("{command} --help")).out;
        let flag = |line: &str| {
            // What goes on on a further line stands further in.
            let indent = line.len() - line.trim_start().len();
            let flag = line.trim_start().trim_start_matches("-h, ").trim_start_matches("-V, ").strip_prefix("--")?;
            (indent <= 6).then_some(())?;
            Some(flag.split([' ', '<', '[']).next()?.to_owned())
        };
        let flags: Vec<String> = help.lines().filter(|line| line.starts_with(' ')).filter_map(flag).collect();
        assert!(flags.len() > 30, "{help}");
        let tried = words(command);
        for flag in flags.iter().filter(|flag| !NEUTRAL.contains(&flag.as_str())) {
            let words = if COMMON.contains(&flag.as_str()) { &all } else { &tried };
            assert!(words.contains(&format!("--{flag}")), "no folder of testdata/{command} has --{flag}");
        }
    }
}
