//! What to make up: the flags of `rescan generate`, and whether they can be met.

use anyhow::{Result, ensure};
use serde::Serialize;

/// Before the end of a run, its last events may be this far from having arrived.
const TAIL_MS: u64 = 120_000;
pub(crate) const HOUR_MS: u64 = 3_600_000;
/// A page shows this many impressions.
pub(crate) const PAGE_MIN: u64 = 5;
pub(crate) const PAGE_MAX: u64 = 30;
/// As many profiles or videos have a table of popularities that fits in memory.
const CROWD_MAX: u32 = 100_000_000;
/// Twice a page, or the last places of a page would be drawn for too long.
const VIDEOS_MIN: u32 = 60;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A JSON object a line, or a Kafka message.
    Json,
    /// A file an hour. There is no such thing as a malformed row of Parquet, so none are made.
    Parquet,
}

/// What to make up. Shares are of 1.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// How rows are written.
    pub format: Format,
    /// The first instant, milliseconds since 1970 UTC, a full hour.
    pub start_ms: u64,
    /// How many hours of event time; no event is outside them.
    pub hours: u64,
    /// Impressions in each hour, exactly.
    pub impressions_per_hour: u64,
    /// Seeds every draw. In the truth it stands beside the flags.
    #[serde(skip)]
    pub seed: u64,
    /// The share of events that arrive late, of those that the end of the run leaves time for.
    pub late: f64,
    /// The share of events that arrive a second time, in time and with the same bytes.
    pub duplicates: f64,
    /// Malformed lines, which come on top, as a share of the good ones.
    pub malformed: f64,
    /// Plays as a share of impressions.
    pub plays_share: f64,
    /// The share of plays that no impression led to.
    pub without_impression: f64,
    /// The share of the other plays that happen in another region than their impression.
    pub other_region: f64,
    /// How many profiles there are: else 200,000, and fewer in a small run.
    pub profiles: Option<u32>,
    /// How many videos there are: else 2,000, and fewer in a small run.
    pub videos: Option<u32>,
    /// An event earlier than its source partition's largest event time so far less this, in milliseconds, is late.
    pub watermark_delay_ms: u64,
    /// The source partitions of each topic, by request id. A file is one.
    pub partitions: u32,
}

impl Plan {
    /// How many rows there will be, about: enough for a progress bar.
    pub fn rows_expected(&self) -> u64 {
        let events = self.impressions() as f64 * (1.0 + self.plays_share);
        (events * (1.0 + self.duplicates + self.malformed())) as u64
    }

    /// Whether the flags can be met.
    ///
    /// # Errors
    /// A flag that cannot, by name. Whoever asks for a plan like that is to be told before anything is written.
    pub fn check(&self) -> Result<()> {
        let shares = [
            ("late", self.late),
            ("duplicates", self.duplicates),
            ("malformed", self.malformed),
            ("plays-share", self.plays_share),
            ("without-impression", self.without_impression),
            ("other-region", self.other_region),
        ];
        for (name, share) in shares {
            ensure!((0.0..=1.0).contains(&share), "--{name} {share} is no share: give a number from 0 to 1");
        }
        ensure!(self.start_ms.is_multiple_of(HOUR_MS), "--start is no full hour");
        ensure!((1..=8784).contains(&self.hours), "--hours {} is not from 1 to 8784", self.hours);
        ensure!(
            (PAGE_MIN..=HOUR_MS * 1000).contains(&self.impressions_per_hour),
            "--impressions-per-hour {} is not from {PAGE_MIN} (one page) to {}",
            self.impressions_per_hour,
            HOUR_MS * 1000
        );
        ensure!(
            (1..=CROWD_MAX).contains(&self.profiles()),
            "--profiles {} is not from 1 to {CROWD_MAX}",
            self.profiles()
        );
        ensure!(
            (VIDEOS_MIN..=CROWD_MAX).contains(&self.videos()),
            "--videos {} is not from {VIDEOS_MIN}, which fill a page, to {CROWD_MAX}",
            self.videos()
        );
        ensure!((1..=10_000).contains(&self.partitions), "--partitions {} is not from 1 to 10000", self.partitions);
        ensure!(self.watermark_delay_ms <= 8784 * HOUR_MS, "--watermark-delay is more than a year");
        ensure!(
            self.late_chance() <= 1.0,
            "--late {} cannot be met: only what is older than --watermark-delay when the run ends can be late; \
             ask for more --hours or a shorter delay",
            self.late
        );
        Ok(())
    }

    pub(crate) fn impressions(&self) -> u64 {
        self.hours * self.impressions_per_hour
    }

    pub(crate) fn end_ms(&self) -> u64 {
        self.start_ms + self.hours * HOUR_MS
    }

    /// How likely an event that can be late must be so, that the share of all is as asked. Above 1: impossible.
    pub(crate) fn late_chance(&self) -> f64 {
        let room = self.late_before().saturating_sub(self.start_ms);
        if self.late == 0.0 { 0.0 } else { self.late * (self.hours * HOUR_MS) as f64 / room as f64 }
    }

    /// Only earlier events can be late: nothing comes after the end to move the watermark past the others.
    pub(crate) fn late_before(&self) -> u64 {
        self.end_ms().saturating_sub(self.watermark_delay_ms + TAIL_MS)
    }

    pub(crate) fn malformed(&self) -> f64 {
        if self.format == Format::Parquet { 0.0 } else { self.malformed }
    }

    pub(crate) fn profiles(&self) -> u32 {
        self.profiles.unwrap_or((self.impressions() / 20).clamp(100, 200_000) as u32)
    }

    pub(crate) fn videos(&self) -> u32 {
        self.videos.unwrap_or((self.impressions() / 100).clamp(100, 2_000) as u32)
    }
}
