//! `rescan generate` as a command: progress while it makes rows up, and what it made.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use report::count;

use crate::commands::generate::Generate;
use crate::settings::KafkaFlags;
use crate::show::table::Table;

/// Made-up but realistic impressions and plays, and the truth about them
#[derive(Args, Debug)]
pub struct MakeUp {
    #[command(flatten)]
    generate: Generate,
    #[command(flatten)]
    kafka: KafkaFlags,
}

impl MakeUp {
    pub async fn run(&self) -> Result<ExitCode> {
        let bar = ProgressBar::new(self.generate.rows_expected()?);
        if let Ok(style) = ProgressStyle::with_template("{prefix:>10} {bar:32} {human_pos} rows, {eta} to go") {
            bar.set_style(style);
        }
        bar.set_prefix("generate");
        if !std::io::stderr().is_terminal() {
            bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        }
        let made = self.generate.run(&self.kafka.settings()?, |rows| bar.set_position(rows)).await?;
        bar.finish_and_clear();
        let Some(truth) = made else {
            eprintln!("generate: up to date");
            return Ok(ExitCode::SUCCESS);
        };
        let mut table = Table::new(&["topic", "events", "duplicates", "late", "malformed"]);
        for (topic, counts) in [("impressions", &truth.impressions), ("plays", &truth.plays.counts)] {
            let [events, duplicates, late, malformed] =
                [counts.events, counts.duplicates, counts.late, counts.malformed].map(count);
            table.row([topic.to_owned(), events, duplicates, late, malformed]);
        }
        eprint!("{table}");
        Ok(ExitCode::SUCCESS)
    }
}
