//! One impression or play, small enough to wait by the million, and how it is written as JSON.

use crate::catalog::{COUNTRIES, DEVICES, REGIONS, ROWS};

/// What an event is of, which is also the name of its file, directory or Kafka topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// What was shown.
    Impressions,
    /// What was watched.
    Plays,
}

impl Topic {
    /// Both, in the order of their numbers.
    pub const ALL: [Self; 2] = [Self::Impressions, Self::Plays];

    /// `impressions` or `plays`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Impressions => "impressions",
            Self::Plays => "plays",
        }
    }
}

/// A row of one of the built-in schemas.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// Unique; written as 32 hex digits.
    pub id: u128,
    /// One page of impressions, and the plays it led to; written as 32 hex digits.
    pub request: u128,
    /// Event time, milliseconds since 1970 UTC.
    pub ts: u64,
    /// Who saw it.
    pub profile: u32,
    /// What was seen.
    pub video: u32,
    pub(crate) country: u8,
    pub(crate) device: u8,
    pub(crate) region: u8,
    /// What only impressions or only plays have.
    pub detail: Detail,
}

/// What only impressions or only plays have.
#[derive(Clone, Copy, Debug)]
pub enum Detail {
    /// Of an impression.
    Impression {
        /// An index of the rows of a page.
        row: u8,
        /// The place on the page, from 1.
        rank: u8,
        /// The probability of having been shown, in millionths, above 0.
        propensity: u32,
    },
    /// Of a play.
    Play {
        /// How long it was watched, milliseconds.
        duration: u32,
    },
}

impl Event {
    /// What the event is of.
    pub fn topic(&self) -> Topic {
        match self.detail {
            Detail::Impression { .. } => Topic::Impressions,
            Detail::Play { .. } => Topic::Plays,
        }
    }

    /// What Kafka keeps in order: the request id.
    pub fn key(&self) -> [u8; 32] {
        hex(self.request)
    }

    /// Row, rank and propensity, if it is an impression.
    pub(crate) fn shown(&self) -> Option<(&'static str, u8, f64)> {
        match self.detail {
            Detail::Impression { row, rank, propensity } => Some((row_name(row), rank, millionths(propensity))),
            Detail::Play { .. } => None,
        }
    }

    /// How long it was watched, seconds, if it is a play.
    pub(crate) fn watched(&self) -> Option<f64> {
        match self.detail {
            Detail::Impression { .. } => None,
            Detail::Play { duration } => Some(seconds(duration)),
        }
    }

    /// The country's code.
    pub fn country(&self) -> &'static str {
        COUNTRIES[usize::from(self.country)].code
    }

    /// The device's name.
    pub fn device(&self) -> &'static str {
        DEVICES[usize::from(self.device)].name
    }

    /// The region's name.
    pub fn region(&self) -> &'static str {
        REGIONS[usize::from(self.region)]
    }

    /// Appends the event as a JSON object without spaces or a line end, keys in the order of the schema.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"event_id\":\"");
        out.extend_from_slice(&hex(self.id));
        integer(out, "\",\"ts\":", self.ts);
        out.extend_from_slice(b",\"request_id\":\"");
        out.extend_from_slice(&hex(self.request));
        integer(out, "\",\"profile_id\":", self.profile.into());
        integer(out, ",\"video_id\":", self.video.into());
        if let Some((row, rank, _)) = self.shown() {
            text(out, ",\"row\":\"", row);
            integer(out, "\",\"rank\":", rank.into());
        }
        text(out, ",\"country\":\"", self.country());
        text(out, "\",\"device\":\"", self.device());
        text(out, "\",\"region\":\"", self.region());
        match (self.shown(), self.watched()) {
            (Some((.., propensity)), _) => float(out, "\",\"propensity\":", propensity),
            (_, watched) => float(out, "\",\"duration_s\":", watched.unwrap_or_default()),
        }
        out.push(b'}');
    }
}

pub(crate) fn row_name(row: u8) -> &'static str {
    ROWS[usize::from(row)]
}

/// A division rounds the same everywhere, and the shortest digits of its result are the decimals meant.
pub(crate) fn millionths(value: u32) -> f64 {
    f64::from(value) / 1e6
}

pub(crate) fn seconds(ms: u32) -> f64 {
    f64::from(ms) / 1e3
}

/// 32 hex digits.
pub(crate) fn hex(id: u128) -> [u8; 32] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 32];
    for (pair, byte) in text.chunks_exact_mut(2).zip(id.to_be_bytes()) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    text
}

fn text(out: &mut Vec<u8>, before: &str, value: &str) {
    out.extend_from_slice(before.as_bytes());
    out.extend_from_slice(value.as_bytes());
}

fn integer(out: &mut Vec<u8>, before: &str, value: u64) {
    text(out, before, itoa::Buffer::new().format(value));
}

fn float(out: &mut Vec<u8>, before: &str, value: f64) {
    text(out, before, ryu::Buffer::new().format_finite(value));
}
