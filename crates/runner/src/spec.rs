//! A run as another process can plan it again, a week later too. An output keeps the specs of the runs that wrote it, each
//! under its checksum; `_SUCCESS` and journal name theirs.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use journal::{JournalError, Sum, create_dirs, create_exclusive};
use quota::Rules;
use scan::{Binding, Script};
use serde::{Deserialize, Serialize};

use crate::output::layout;

/// The layout of a spec.
const FORMAT: u32 = 1;

/// All that decides what a run makes of its rows; not which hours it makes, nor how fast.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobSpec {
    /// The layout of this: 1.
    pub format: u32,
    /// Which rescan.
    pub version: String,
    /// The subcommand.
    pub command: String,
    /// What errors call the script.
    pub script: String,
    /// Its text.
    pub text: String,
    /// What the command line says in the script.
    pub binding: Binding,
    /// By name, what the script reads.
    pub inputs: BTreeMap<String, InputSpec>,
    /// What is joined to the rows of inputs before that, in this order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sides: Vec<SideSpec>,
    /// How a sample is drawn of the output, where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<SampleSpec>,
    /// What is compared when a run goes on, and part of an hour's identity.
    pub config: BTreeMap<String, String>,
    /// What a stream says about time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<TimeSpec>,
}

/// An input of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct InputSpec {
    /// Where its rows are: each place by its URI, and what the region is called, where several are one input.
    pub places: Vec<(String, Option<String>)>,
    /// Its columns as f sees them, a line `name type` each.
    pub schema: Vec<String>,
    /// The event time column, after `--select`.
    pub time: String,
    /// The same as the command line says it, with the unit, and the zone of times that name none.
    pub written: String,
    /// The zone of times that name none; empty: there is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub zone: String,
    /// `--where`, as SQL; empty: all rows.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub filter: String,
    /// `--select`, as SQL; empty: all columns.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub select: String,
}

/// A side input of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SideSpec {
    /// What its columns begin with.
    pub name: String,
    /// Where it is.
    pub uri: String,
    /// The columns that it is joined by.
    pub keys: Vec<String>,
}

/// What a sample is to be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SampleSpec {
    /// How many of which.
    pub rules: Rules,
    /// Whether rules that cannot be met give way.
    pub relax: bool,
}

/// Durations in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeSpec {
    /// The watermark trails the newest event time by this; none: all rows are there, and none is late.
    pub watermark_delay: Option<i64>,
    /// A window takes rows for this long after the watermark has passed its end.
    pub allowed_lateness: i64,
    /// Rows that are further ahead of their arrival are rejected.
    pub max_future: i64,
}

impl JobSpec {
    /// Of a command and its script, with nothing else said yet.
    pub fn of(command: &str, script: &Script, binding: Binding) -> JobSpec {
        JobSpec {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            command: command.to_owned(),
            script: script.name.clone(),
            text: script.text.clone(),
            binding,
            ..JobSpec::default()
        }
    }

    /// The column that tells one event of an input from another.
    pub(crate) fn id(&self) -> String {
        let id = "event_id".to_owned();
        self.binding.columns.get(&id).and_then(|columns| columns.first()).cloned().unwrap_or(id)
    }

    /// Whether both apply the same f to the rows that they read.
    pub(crate) fn is_same_f(&self, other: &JobSpec) -> bool {
        let door = |spec: &JobSpec| {
            let of = spec.inputs.iter().map(|(name, of)| (name.clone(), of.filter.clone(), of.select.clone()));
            of.collect::<Vec<_>>()
        };
        self.text == other.text && self.binding == other.binding && door(self) == door(other)
    }

    /// The same run with another's f.
    pub(crate) fn with_f_of(&self, other: &JobSpec) -> JobSpec {
        JobSpec { text: other.text.clone(), binding: other.binding.clone(), ..self.clone() }
    }

    /// What an output calls it.
    ///
    /// # Errors
    /// None that is known: it is text.
    pub(crate) fn checksum(&self) -> Result<String> {
        Ok(Sum::of(&self.bytes()?).checksum)
    }

    fn bytes(&self) -> Result<Vec<u8>> {
        Ok(format!("{}\n", serde_json::to_string_pretty(self)?).into_bytes())
    }

    /// Keeps it with an output, before anything that it makes is decided.
    ///
    /// # Errors
    /// Those of the disk.
    pub(crate) fn keep(&self, out: &Path) -> Result<()> {
        let bytes = self.bytes()?;
        let path = out.join(layout::spec(&Sum::of(&bytes).checksum));
        if !path.exists() {
            let made = create_dirs(&out.join(layout::SPECS)).and_then(|()| create_exclusive(&path, &bytes));
            made.map_err(|source| JournalError::Io { path, source })?;
        }
        Ok(())
    }

    /// The spec that an output calls by a checksum; none where it has none of it, as outputs of earlier versions.
    ///
    /// # Errors
    /// One that is not what was written, or of a layout to come.
    pub(crate) fn read(out: &Path, checksum: &str) -> Result<Option<JobSpec>> {
        if checksum.is_empty() {
            return Ok(None);
        }
        let path = out.join(layout::spec(checksum));
        let bytes = match fs::read(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            bytes => bytes.with_context(|| format!("read {}", path.display()))?,
        };
        let corrupt = |what: String| JournalError::Corrupt { path: path.clone(), what };
        ensure!(Sum::of(&bytes).checksum == checksum, corrupt("is not what was written".to_owned()));
        let spec: JobSpec = serde_json::from_slice(&bytes).map_err(|e| corrupt(format!("is no spec of a run: {e}")))?;
        ensure!(spec.format == FORMAT, corrupt(format!("has format {}, and this rescan reads {FORMAT}", spec.format)));
        Ok(Some(spec))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> JobSpec {
        let input = InputSpec {
            places: vec![("s3://b/p".to_owned(), Some("us".to_owned())), ("/é".to_owned(), None)],
            schema: vec!["ts timestamp not null".to_owned()],
            ..InputSpec::default()
        };
        let rules = Rules::parse("size = 3\n[[rule]]\nstrata = [\"a\"]\nmin = { x = 1 }\n").unwrap();
        JobSpec {
            format: FORMAT,
            text: "select 'ü'".to_owned(),
            inputs: [("a".to_owned(), input)].into(),
            sides: vec![SideSpec { name: "s".to_owned(), uri: "u".to_owned(), keys: vec!["k".to_owned()] }],
            sample: Some(SampleSpec { rules, relax: true }),
            time: Some(TimeSpec { watermark_delay: None, allowed_lateness: 1, max_future: i64::MAX }),
            ..JobSpec::default()
        }
    }

    #[test]
    fn an_output_has_the_specs_that_it_keeps() {
        let out = tempfile::tempdir().unwrap();
        for spec in [JobSpec { format: FORMAT, ..JobSpec::default() }, spec(), spec()] {
            spec.keep(out.path()).unwrap();
            let checksum = spec.checksum().unwrap();
            assert_eq!(JobSpec::read(out.path(), &checksum).unwrap(), Some(spec));
        }
        assert_eq!(fs::read_dir(out.path().join(layout::SPECS)).unwrap().count(), 2);
        for unknown in ["", "00"] {
            assert_eq!(JobSpec::read(out.path(), unknown).unwrap(), None);
        }
    }

    #[test]
    fn a_spec_that_was_touched_is_damage() {
        let out = tempfile::tempdir().unwrap();
        spec().keep(out.path()).unwrap();
        let checksum = spec().checksum().unwrap();
        let path = out.path().join(layout::spec(&checksum));
        fs::write(&path, fs::read_to_string(&path).unwrap().replace("ü", "u")).unwrap();
        let error = JobSpec::read(out.path(), &checksum).unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(JournalError::Corrupt { .. })), "{error}");
    }
}
