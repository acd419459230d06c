//! What does a person see? Progress, tables, the report of a run. Data goes to standard output, all this to standard
//! error.

pub mod sample_report;
pub mod table;

use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use journal::Ledger;
use report::{PolicyEstimates, count, policy_table};
use runner::{Progress, REJECTED, Report, Wanting};

use crate::plan::flags::{ProgressKind, ShowFlags};
use crate::print::in_line;
use crate::show::table::{Table, ledger};

/// Without a terminal a line this often, so that a run under cron is never silent for a minute.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows progress until it is dropped.
pub struct Show {
    kind: ProgressKind,
    bar: Option<ProgressBar>,
    command: String,
    begun: Instant,
    shown: Instant,
}

impl Show {
    pub fn new(flags: &ShowFlags, command: &str) -> Show {
        let terminal = std::io::stderr().is_terminal();
        let kind = match flags.progress {
            ProgressKind::Auto if terminal => ProgressKind::Bar,
            ProgressKind::Auto => ProgressKind::Log,
            kind => kind,
        };
        let bar = (kind == ProgressKind::Bar).then(|| {
            let style = ProgressStyle::with_template("{prefix:>10} {spinner} {elapsed} {msg}");
            let bar = ProgressBar::new_spinner().with_prefix(command.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            if let Ok(style) = style { bar.with_style(style) } else { bar }
        });
        Show { kind, bar, command: command.to_owned(), begun: Instant::now(), shown: Instant::now() }
    }

    fn warn(&self, warning: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{}: {warning}", self.command)),
            None => eprintln!("{}: {warning}", self.command),
        }
    }

    pub fn progress(&mut self, progress: &Progress) {
        for warning in &progress.warnings {
            self.warn(warning);
        }
        let line = || {
            let here = progress.rows - progress.rows_before.min(progress.rows);
            let rate = here as f64 / self.begun.elapsed().as_secs_f64().max(0.001);
            let hours = match progress.hours {
                (done, Some(all)) => format!("{done} of {all} hours"),
                (done, None) => format!("{done} hours sealed"),
            };
            let watermark = progress.watermark.filter(|us| *us != i64::MAX);
            let watermark = watermark.map_or_else(String::new, |us| format!(", watermark {}", time(us)));
            let [rows, rate, late, rejected, state] =
                [progress.rows, rate as u64, progress.late, progress.rejected, progress.state_rows].map(count);
            format!(
                "{rows} rows, {rate}/s, {late} late, {rejected} rejected, {hours}{watermark}, {state} rows of state"
            )
        };
        match (&self.bar, self.kind) {
            (Some(bar), _) => bar.set_message(in_line(&line()).into_owned()),
            (None, ProgressKind::Log) if self.shown.elapsed() >= LINE_EVERY => {
                eprintln!("{} {}: {}", now(), self.command, line());
                self.shown = Instant::now();
            }
            (None, ProgressKind::Json) if self.shown.elapsed() >= Duration::from_secs(1) => {
                let watermark = progress.watermark.map(time);
                let Progress { rows, late, rejected, hours: (hours, _), state_rows, .. } = progress;
                let told = serde_json::json!({ "time": now().to_string(), "rows": rows, "late": late, "rejected": rejected,
                                               "hours": hours, "watermark": watermark, "state_rows": state_rows });
                eprintln!("{told}");
                self.shown = Instant::now();
            }
            _ => {}
        }
    }
}

impl Drop for Show {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The time of day, for the lines of a log.
#[expect(clippy::disallowed_methods, reason = "it is told to people, and nothing hangs on it")]
fn now() -> humantime::Rfc3339Timestamp {
    humantime::format_rfc3339_seconds(std::time::SystemTime::now())
}

/// Says what a run did.
pub fn report(json: bool, command: &str, out: &Path, done: &Report, policies: &[PolicyEstimates]) -> Result<()> {
    if json {
        let mut whole = serde_json::to_value(done)?;
        if !policies.is_empty() {
            whole["policies"] = serde_json::to_value(policies)?;
        }
        println!("{whole:#}");
    }
    if done.sealed.is_empty() && done.epochs == 0 && (done.up_to_date > 0 || !done.kept.is_empty()) {
        eprintln!("{command}: up to date");
    } else {
        ran(command, out, done);
    }
    incomplete(command, &done.waiting, &done.kept, &done.replaced);
    policies.iter().for_each(|policy| eprint!("\n{}", estimated(policy)));
    Ok(())
}

fn ran(command: &str, out: &Path, done: &Report) {
    let stopped = if done.stopped { ", stopped before the end: run it again to go on" } else { "" };
    eprintln!("{command}: {} rows in {} hours, in {}{stopped}", count(done.rows), done.sealed.len(), out.display());
    eprint!("{}", ledger(&done.ledger));
    let none = |ledger: &Ledger| ledger.rejected > 0 && ledger.accepted + ledger.duplicate == 0;
    for (input, _) in done.ledger.iter().filter(|(_, ledger)| none(ledger)) {
        eprintln!("{command}: no row of {input} was taken: {}/{REJECTED} says why, row by row", out.display());
    }
    for (input, files) in &done.skipped {
        let are = if *files == 1 { "is" } else { "are" };
        eprintln!("{command}: {} of {input} {are} hidden or bookkeeping (_…, .…, .crc) and not read", count(*files));
    }
    done.warnings.iter().for_each(|warning| eprintln!("{command}: {warning}"));
    if let Some(sample) = &done.sample {
        eprintln!();
        eprint!("{}", sample_report::lines(sample));
    }
}

/// How many kinds of incomplete hours are named one by one.
const NAMED: usize = 10;

/// Says which hours of output lack input, and what became of them.
pub fn incomplete(command: &str, waiting: &[Wanting], kept: &[Wanting], replaced: &[Wanting]) {
    let fates: [(&[Wanting], &str, &str); 3] = [
        (waiting, "waits for", "wait for"),
        (kept, "is kept as it is, and lacks", "are kept as they are, and lack"),
        (replaced, "is made again without", "are made again without"),
    ];
    for (wanting, one, many) in fates {
        for hours in wanting.iter().take(NAMED) {
            let does = if hours.first == hours.last { one } else { many };
            eprintln!("{command}: {} {does} {}", hours.named(), hours.lacking().join(", "));
        }
        let more: u64 = wanting.iter().skip(NAMED).map(Wanting::hours).sum();
        if more > 0 {
            eprintln!("{command}: {} more {many} other hours: --json names them", count(more));
        }
    }
}

/// What a policy would have earned, in all and by slot.
fn estimated(policy: &PolicyEstimates) -> String {
    let of = policy_table(policy);
    let line = |cells: Vec<String>| cells.into_iter().map(|cell| cell.replace('\n', " ")).collect();
    let table = Table::of(std::iter::once(of.columns).chain(of.rows.into_iter().map(line)).collect());
    let doubts: String = policy.doubts.iter().map(|doubt| format!("  {doubt}\n")).collect();
    format!("policy {}\n{table}{doubts}", of.title)
}

/// Event time as people write it, UTC.
pub fn time(us: i64) -> String {
    if us == i64::MAX {
        return "the end of input".to_owned();
    }
    let hour = connector::Hour::of(us);
    let rest = (us - hour.start_us()) / 1_000_000;
    format!("{hour}:{:02}:{:02}", rest / 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_well() {
        assert_eq!(time(1_700_000_000_000_000), "2023-11-14T22:13:20");
    }
}
