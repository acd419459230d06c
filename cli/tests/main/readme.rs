//! The README as a newcomer runs it: every command, with the output that it shows.

use std::path::Path;
use std::process::Command;

const README: &str = include_str!("../../../README.md");

/// The blocks of a kind, in order.
pub fn blocks(kind: &str) -> Vec<&'static str> {
    let fence = format!("```{kind}\n");
    README.split(fence.as_str()).skip(1).filter_map(|rest| rest.split("\n```").next()).collect()
}

fn shell(dir: &Path, command: &str) -> String {
    let bin = Path::new(env!("CARGO_BIN_EXE_rescan")).parent().unwrap().to_owned();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let output =
        Command::new("sh").args(["-c", &format!("{command} 2>&1")]).current_dir(dir).env("PATH", path).output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

#[test]
fn the_tour_shows_what_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let blocks = blocks("console");
    assert!(blocks.len() > 5);
    for block in blocks {
        let commands: Vec<&str> = block.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
        let ran: Vec<String> = commands.iter().map(|c| format!("$ {c}\n{}", shell(dir.path(), c))).collect();
        assert_eq!(ran.concat().trim_end(), block.trim_end());
    }
}

#[test]
fn the_script_is_the_one_that_runs() {
    let shown = blocks("sql");
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0].trim_end(), include_str!("../../../sql/join.sql").trim_end());
}

#[test]
fn make_has_every_target_that_is_named() {
    let makefile = include_str!("../../../Makefile");
    for word in README.split('`').filter_map(|code| code.strip_prefix("make ")).chain(["demo"]) {
        assert!(makefile.contains(&format!("\n{word}: ")), "make {word}");
    }
}
