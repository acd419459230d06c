//! The record of one epoch: all that is needed to publish it again and to go on after it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::checksum::Sum;
use crate::ledger::Ledger;

const FORMAT: u32 = 1;

/// One step of a run, decided once. Every path is relative to the output root, and stays below it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Epoch {
    /// The step number; the first is 1.
    pub number: u64,
    /// Unique to this attempt at the step; from the caller.
    pub token: String,
    /// What gives these results: command, script hash, the flags that matter. Compared when the chain is resumed.
    pub config: BTreeMap<String, String>,
    /// What the caller calls the run that made it; a later epoch may be of another run.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub job: String,
    /// By source partition, `INPUT/PARTITION`: where the next epoch reads on, and what time it is there.
    pub sources: BTreeMap<String, SourceFacts>,
    /// The job's watermark after this epoch, microseconds UTC; none before the first row.
    pub watermark: Option<i64>,
    /// The job's watermark before its input ended, where its state was kept then: what a row at or after it can meet;
    /// `i64::MIN` where no row had come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<i64>,
    /// By input, counted since the first epoch.
    pub ledger: BTreeMap<String, Ledger>,
    /// Files that become visible with this epoch.
    pub publish: Vec<Publish>,
    /// Visible files that this epoch supersedes.
    pub remove: Vec<String>,
    /// `_SUCCESS` files, written last.
    pub markers: Vec<Marker>,
    /// `_SUCCESS` files of partitions that this epoch takes away, removed first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unseal: Vec<String>,
    /// By output partition: the unsealed files that stand after this epoch.
    pub open: BTreeMap<String, Vec<OpenFile>>,
    /// The files that hold all state after this epoch.
    pub state: Vec<StateFile>,
    /// By source partition, as in `sources`: the file that holds what its offset does not say again in every epoch.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub offsets: BTreeMap<String, OffsetFile>,
    /// By side input: the copy that was joined to the rows of the epoch.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sides: BTreeMap<String, SideFacts>,
    /// The caller's own.
    pub notes: Value,
}

/// The copy of a side input that an epoch used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SideFacts {
    /// What it held, as a hash.
    pub version: String,
    /// When it was loaded, microseconds UTC of processing time.
    pub loaded_at: i64,
}

/// One source partition after an epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceFacts {
    /// The *next* position to read; the source knows what it means.
    pub offset: Value,
    /// The watermark the epoch's rows were judged by at its start, microseconds UTC.
    pub watermark_before: Option<i64>,
    /// The watermark after its last row, microseconds UTC.
    pub watermark: Option<i64>,
    /// What that would be by its own rows, where the job went on without it while it was idle; `i64::MIN` before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<i64>,
    /// It was silent for so long that it holds the job's watermark no more.
    pub idle: bool,
    /// It has no more rows.
    pub finished: bool,
}

/// A file to move from where it was written to where readers look.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// Where it was written, closed and synced.
    pub staged: String,
    /// Where it goes; never used before for other bytes.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// XXH3-128 of its bytes, 32 hex digits.
    pub checksum: String,
}

/// A small JSON file that says a partition is complete.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Marker {
    /// Where it goes; what was there is replaced.
    pub path: String,
    /// What it says, besides the checksum of its text.
    pub content: Value,
}

/// An output file of a partition that is not sealed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenFile {
    /// Where it is.
    pub path: String,
    /// Its rows.
    pub rows: u64,
    /// Its length.
    pub bytes: u64,
    /// XXH3-128 of its bytes, 32 hex digits.
    pub checksum: String,
}

/// A part of a state table, written under this path, closed and synced, before the epoch was decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateFile {
    /// The state table.
    pub table: String,
    /// Where it is; unique to the attempt that wrote it.
    pub path: String,
    /// Its rows.
    pub rows: u64,
    /// Its length.
    pub bytes: u64,
    /// XXH3-128 of its bytes, 32 hex digits. Whoever reads the file compares.
    pub checksum: String,
    /// The latest event time in it, microseconds UTC: the file can go once retention has passed it.
    pub newest: i64,
}

/// The file around an epoch. The checksum is that of the epoch's own text, so that no byte of it can change unseen and
/// no number need print as it was read.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    format: u32,
    checksum: String,
    epoch: Box<RawValue>,
}

/// A part of an offset that is the same for many epochs, written under this path, closed and synced, before the first of
/// them was decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OffsetFile {
    /// Where it is; unique to the attempt that wrote it.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// XXH3-128 of its bytes, 32 hex digits. Whoever reads the file compares.
    pub checksum: String,
}

impl Epoch {
    /// The record's bytes: pretty JSON with a checksum. The same epoch gives the same bytes.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, String> {
        let text = serde_json::to_string_pretty(self).map_err(|e| e.to_string())?;
        let checksum = Sum::of(text.as_bytes()).checksum;
        let epoch = RawValue::from_string(text).map_err(|e| e.to_string())?;
        let mut bytes =
            serde_json::to_vec_pretty(&Record { format: FORMAT, checksum, epoch }).map_err(|e| e.to_string())?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads a record, or says why it is none.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let record: Record = serde_json::from_slice(bytes).map_err(|e| format!("is no epoch record: {e}"))?;
        if record.format != FORMAT {
            return Err(format!("has format {}, and this rescan reads format {FORMAT}", record.format));
        }
        let text = record.epoch.get();
        let found = Sum::of(text.as_bytes()).checksum;
        if found != record.checksum {
            return Err(format!("is damaged: its checksum is {found}, and it should be {}", record.checksum));
        }
        let epoch: Self = serde_json::from_str(text).map_err(|e| format!("is no epoch record: {e}"))?;
        epoch.check_paths()?;
        Ok(epoch)
    }

    /// No path leaves the output root, and no two claims on one path conflict.
    pub(crate) fn check_paths(&self) -> Result<(), String> {
        let targets = self.publish.iter().map(|p| &p.path).chain(self.markers.iter().map(|m| &m.path));
        let staged = self.publish.iter().map(|p| &p.staged);
        let mut claimed = BTreeSet::new();
        let gone = self.remove.iter().chain(&self.unseal);
        if let Some(twice) = targets.chain(staged).chain(gone).find(|path| !claimed.insert(*path)) {
            return Err(format!("names {twice} twice"));
        }
        let open = self.open.values().flatten().map(|o| &o.path);
        let all = claimed.into_iter().chain(open);
        let mut all = all.map(String::as_str).chain(self.kept().map(|(path, _)| path));
        match all.find(|path| !stays_below(path)) {
            Some(outside) => Err(format!("names {outside:?}, which is not below the output root")),
            None => Ok(()),
        }
    }

    /// Every file that must not be deleted as rubbish while this epoch stands.
    pub(crate) fn files(&self) -> impl Iterator<Item = &str> {
        self.publish.iter().map(|p| p.staged.as_str()).chain(self.kept().map(|(path, _)| path))
    }

    /// The files that the next epoch goes on from, each with its length.
    pub(crate) fn kept(&self) -> impl Iterator<Item = (&str, u64)> {
        let state = self.state.iter().map(|file| (file.path.as_str(), file.bytes));
        state.chain(self.offsets.values().map(|file| (file.path.as_str(), file.bytes)))
    }
}

fn stays_below(path: &str) -> bool {
    !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch() -> Epoch {
        let text = "dt=2026-11-20/hr=05";
        let sum = Sum::of(b"rows");
        Epoch {
            number: 7,
            token: "a\"\u{1F600}\n".into(),
            config: [("command".into(), "join".into())].into(),
            job: "abc".into(),
            sources: [(
                "plays/topic-0".into(),
                SourceFacts {
                    offset: serde_json::json!({"position": u64::MAX, "fraction": 0.1}),
                    watermark: Some(-1),
                    ..Default::default()
                },
            )]
            .into(),
            watermark: Some(i64::MIN),
            kept: Some(-7),
            ledger: [("plays".into(), Ledger { read: 1, late: 1, ..Default::default() })].into(),
            publish: vec![Publish {
                staged: "_rescan/stage/s/1".into(),
                path: format!("{text}/part-0.parquet"),
                bytes: sum.bytes,
                checksum: sum.checksum,
            }],
            remove: vec![format!("{text}/open-6-t.parquet")],
            markers: vec![Marker { path: format!("{text}/_SUCCESS"), content: serde_json::json!({"rows": 1}) }],
            unseal: vec!["dt=2026-11-20/hr=06/_SUCCESS".into()],
            open: [(text.into(), vec![OpenFile { path: format!("{text}/open-7-t.parquet"), ..Default::default() }])]
                .into(),
            state: vec![StateFile { path: "_rescan/state/s/1".into(), ..Default::default() }],
            offsets: [("plays/topic-0".into(), OffsetFile { path: "_rescan/state/s/2".into(), ..Default::default() })]
                .into(),
            sides: [("videos".into(), SideFacts { version: "v".into(), loaded_at: 7 })].into(),
            notes: serde_json::json!([1, null]),
        }
    }

    #[test]
    fn reads_what_it_wrote() {
        for epoch in [epoch(), Epoch::default()] {
            let bytes = epoch.encode().unwrap();
            assert_eq!(Epoch::decode(&bytes).unwrap(), epoch);
            assert_eq!(epoch.encode().unwrap(), bytes);
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let bytes = epoch().encode().unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert!(Epoch::decode(&damaged).is_err(), "bit {bit} of byte {at}");
            }
        }
        for length in 0..bytes.len() - 1 {
            assert!(Epoch::decode(&bytes[..length]).is_err(), "cut at {length}");
        }
        assert!(Epoch::decode(&[&bytes[..], b"x"].concat()).is_err());
        assert!(Epoch::decode(&vec![0; bytes.len()]).is_err());
    }

    #[test]
    fn records_from_before_there_were_side_inputs_and_kept_state_are_read() {
        let before = Epoch { sides: BTreeMap::new(), kept: None, job: String::new(), ..epoch() };
        let bytes = before.encode().unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("sides") && !text.contains("kept") && !text.contains("job"));
        assert_eq!(Epoch::decode(&bytes).unwrap(), before);
    }

    #[test]
    fn another_format_or_field_is_named() {
        let text = String::from_utf8(epoch().encode().unwrap()).unwrap();
        let error = Epoch::decode(text.replace("\"format\": 1", "\"format\": 2").as_bytes()).unwrap_err();
        assert!(error.contains("format 2"), "{error}");
        let error = serde_json::from_str::<Epoch>(&serde_json::to_string(&epoch()).unwrap().replace("notes", "note"));
        assert!(error.unwrap_err().to_string().contains("unknown field `note`"));
    }

    #[test]
    fn paths_stay_below_the_root() {
        for path in ["", "/etc/passwd", "..", "a/../../b", ".", "./a"] {
            for place in 0..8 {
                let mut epoch = epoch();
                match place {
                    0 => epoch.publish[0].staged = path.into(),
                    1 => epoch.publish[0].path = path.into(),
                    2 => epoch.remove[0] = path.into(),
                    3 => epoch.markers[0].path = path.into(),
                    4 => epoch.state[0].path = path.into(),
                    5 => epoch.offsets.values_mut().for_each(|file| file.path = path.into()),
                    6 => epoch.unseal[0] = path.into(),
                    _ => epoch.open.values_mut().for_each(|files| files[0].path = path.into()),
                }
                assert!(epoch.check_paths().unwrap_err().contains("below"), "{path:?} in place {place}");
                assert!(Epoch::decode(&epoch.encode().unwrap()).is_err());
            }
        }
    }

    #[test]
    fn a_path_is_claimed_once() {
        let part = epoch().publish[0].path.clone();
        let mut removed = epoch();
        removed.remove.push(part.clone());
        let mut marked = epoch();
        marked.markers[0].path = part;
        let mut twice = epoch();
        twice.publish.push(epoch().publish[0].clone());
        for epoch in [removed, marked, twice] {
            assert!(epoch.check_paths().unwrap_err().contains("twice"));
        }
    }
}
