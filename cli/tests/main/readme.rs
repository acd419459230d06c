//! README and guide as a newcomer runs them, one after the other: every command, with the output that it shows.

use std::path::Path;
use std::process::Command;

const README: &str = include_str!("../../../README.md");
const GUIDE: &str = include_str!("../../GUIDE.md");

/// The blocks of a kind, in order.
pub fn blocks(kind: &str) -> Vec<&'static str> {
    let fence = format!("```{kind}\n");
    let of = |page: &'static str| {
        let begun = page.split(fence.as_str()).skip(1).collect::<Vec<_>>();
        begun.into_iter().filter_map(|rest| rest.split("\n```").next())
    };
    of(README).chain(of(GUIDE)).collect()
}

/// What a command prints, however it ends, and whether it ends well.
fn shell(dir: &Path, command: &str) -> (String, bool) {
    let bin = Path::new(env!("CARGO_BIN_EXE_rescan")).parent().unwrap().to_owned();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let output = Command::new("sh")
        .args(["-c", &format!("{command} 2>&1")])
        .current_dir(dir)
        .env("PATH", path)
        .output()
        .unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.success())
}

#[test]
fn the_tour_shows_what_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let blocks = blocks("console");
    assert!(blocks.len() > 5);
    for block in blocks {
        let commands: Vec<&str> = block.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
        let ran: Vec<String> = commands.iter().map(|c| format!("$ {c}\n{}", shell(dir.path(), c).0)).collect();
        assert_eq!(ran.concat().trim_end(), block.trim_end());
    }
}

/// The archive of the tour, with two hours of few events.
fn archive(dir: &Path) {
    let ingest = |name: &str| format!("rescan ingest --in raw/{name}.jsonl --schema {name} --out archive/{name}");
    let generate = "rescan generate --hours 2 --impressions-per-hour 500 --to raw".to_owned();
    for command in [generate, ingest("impressions"), ingest("plays")] {
        let (said, well) = shell(dir, &command);
        assert!(well, "{command}\n{said}");
    }
}

#[test]
fn cron_runs_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    archive(dir.path());
    let [line] = blocks("cron")[..] else { panic!("one line of a crontab") };
    let (_, command) = line.split_at(line.find("rescan ").unwrap());
    assert_eq!(line.split_whitespace().take_while(|word| *word != "rescan").count(), 5, "fields of time");
    let command = command.replace("=/", "=").replace(" /", " ");
    for said in [" rows in 2 hours", "up to date"] {
        let (output, well) = shell(dir.path(), &command);
        assert!(well && output.contains(said), "{command}\n{output}");
    }
}

#[test]
fn make_runs_what_is_not_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    archive(dir.path());
    let [rules] = blocks("make")[..] else { panic!("one Makefile") };
    std::fs::write(dir.path().join("Makefile"), format!("{rules}\n")).unwrap();
    for (runs, said) in [(2, "rescan join "), (0, "Nothing to be done")] {
        let (output, well) = shell(dir.path(), "make -j2");
        assert!(well && output.contains(said) && output.matches("rescan join ").count() == runs, "{output}");
    }
    for hour in ["00", "01"] {
        assert!(dir.path().join(format!("joined/dt=2026-11-20/hr={hour}/_SUCCESS")).is_file());
    }
}

#[test]
fn the_demo_agrees_with_itself() {
    let dir = tempfile::tempdir().unwrap();
    let demo = std::path::absolute("demo.sh").unwrap();
    let (said, well) = shell(dir.path(), &format!("RESCAN=rescan sh {}", demo.display()));
    assert!(well && said.matches(" equal, 0 differences").count() == 5, "{said}");
    let page = |name: &str| std::fs::read_to_string(dir.path().join("demo").join(name)).unwrap();
    assert!(page("policies.html").contains("popular") && page("sample.html").contains("<svg"));
}

#[test]
fn the_readme_is_short() {
    assert!(README.lines().count() <= 150);
}

/// Each link of the guide's contents is one of its headings, and each file that is named is there.
#[test]
fn links_lead_somewhere() {
    let heading = |line: &'static str| Some(line.strip_prefix("## ")?.to_lowercase().replace(' ', "-"));
    let headings: Vec<String> = GUIDE.lines().filter_map(heading).collect();
    for (page, below) in [(README, ".."), (GUIDE, ".")] {
        for link in page.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let there = link.strip_prefix('#').map_or_else(
                || Path::new(below).join(link).is_file(),
                |heading| headings.iter().any(|known| known == heading),
            );
            assert!(there, "{link}");
        }
    }
}

/// A block of another kind would be one that no test runs.
#[test]
fn every_block_is_of_a_kind_that_is_run() {
    let fences = |page: &'static str| page.lines().filter_map(|line| line.strip_prefix("```")).step_by(2);
    let run = ["console", "sql", "sh", "sh kafka", "cron", "make"];
    fences(README).chain(fences(GUIDE)).for_each(|kind| assert!(run.contains(&kind), "{kind:?}"));
    assert_eq!(blocks("sh"), ["make demo"]);
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
    let words = |page: &'static str| page.split('`').filter_map(|code| code.strip_prefix("make "));
    for word in words(README).chain(words(GUIDE)).chain(["demo"]) {
        assert!(makefile.contains(&format!("\n{word}: ")), "make {word}");
    }
}
