//! Settings of clients, which may be secrets: on the command line everybody who lists processes sees them, so they also come
//! from files and from the environment. None is ever shown, nor its value in an error.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::builder::BoolishValueParser;
use clap::{Arg, ArgAction, Args, Command};
use connector::KafkaSettings;

use crate::exit::Usage;

/// Of Kafka's client.
#[derive(Args)]
pub struct KafkaFlags {
    /// A setting of librdkafka; a secret is better kept in a file
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Input")]
    kafka: Vec<String>,
    /// A file of such settings, a line KEY=VALUE each: for passwords, which a command line shows to everybody
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    kafka_config: Option<PathBuf>,
}

/// Of the client of S3.
#[derive(Args)]
pub struct S3Flags {
    /// A setting of the S3 client: endpoint, region, allow_http, …; secrets are better kept in AWS_… or a file
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Input")]
    s3: Vec<String>,
    /// A file of such settings, a line KEY=VALUE each
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    s3_config: Option<PathBuf>,
}

impl KafkaFlags {
    /// The settings of the file, then those of the command line.
    ///
    /// # Errors
    /// [`Usage`], or what librdkafka does not take; without the values.
    pub fn settings(&self) -> Result<KafkaSettings> {
        let mut pairs = Vec::new();
        if let Some(file) = &self.kafka_config {
            let of_file = lines(file, "--kafka-config")?;
            // By itself, so that what is wrong with it is said of it.
            KafkaSettings::parse(&of_file).with_context(|| format!("--kafka-config {}", file.display()))?;
            pairs = of_file;
        }
        KafkaSettings::parse(pairs.iter().chain(&self.kafka))
    }
}

impl S3Flags {
    /// The settings of the file, and those of the command line in their place.
    ///
    /// # Errors
    /// [`Usage`], without the values.
    pub fn options(&self) -> Result<BTreeMap<String, String>> {
        let file = self.s3_config.as_deref().map(|file| lines(file, "--s3-config")).transpose()?;
        let pair = |line: &String| {
            let pair = line.split_once('=').map(|(key, value)| (key.trim().to_owned(), value.to_owned()));
            pair.ok_or_else(|| Usage("--s3: a setting without a value: write KEY=VALUE".to_owned()).into())
        };
        file.iter().flatten().chain(&self.s3).map(pair).collect()
    }
}

/// Who prints flags must not print these.
macro_rules! hidden {
    ($($flags:ident)*) => {
        $(impl std::fmt::Debug for $flags {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("…")
            }
        })*
    };
}
hidden!(KafkaFlags S3Flags);

/// The lines `KEY=VALUE` of a file, without blank ones and those that begin with `#`.
fn lines(file: &Path, flag: &str) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {flag} {}", file.display()))?;
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate().map(|(number, line)| (number + 1, line.trim())) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            let what = "is no setting: write KEY=VALUE, or # before a comment";
            return Err(Usage(format!("{flag} {}, line {number}: {what}", file.display())).into());
        };
        lines.push(format!("{}={}", key.trim(), value.trim()));
    }
    Ok(lines)
}

/// The words of the command line, and the flags that the environment gives.
pub fn given() -> impl Iterator<Item = OsString> {
    let flags = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("RESCAN_"));
    let flags = flags.map(|(name, value)| [name, value].join(OsStr::new("=")));
    std::env::args_os().skip(1).chain(flags)
}

/// Refuses a user or a password in an address, without showing it: `kafka://user:password@host`.
///
/// # Errors
/// [`Usage`], with the flag.
pub fn refuse_passwords(words: impl Iterator<Item = OsString>) -> Result<()> {
    let mut flag = String::new();
    for word in words {
        let word = word.to_string_lossy();
        if has_user(&word) {
            let of = word.split_once('=').filter(|(flag, _)| flag.starts_with("--") || flag.starts_with("RESCAN_"));
            let of = of.map_or(flag.as_str(), |(flag, _)| flag);
            return Err(Usage(format!(
                "{of}: an address with a user or a password in it would be seen by all who list processes, and stand in \
                 journals: take it out, and give it by --kafka-config FILE, --s3-config FILE or the environment"
            ))
            .into());
        }
        if word.starts_with("--") {
            flag = word.split('=').next().unwrap_or_default().to_owned();
        }
    }
    Ok(())
}

/// Whether a word is an address with a user in it, as it is or behind `NAME=`; SQL may speak of addresses too.
fn has_user(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "+-._=".contains(c);
    let address = word.split_once("://").filter(|(before, _)| before.chars().all(plain));
    let authority = address.map(|(_, rest)| rest.split('/').next().unwrap_or_default());
    authority.is_some_and(|authority| authority.contains('@'))
}

/// Every flag of every command from the environment too, where the command line does not say: `RESCAN_KAFKA_CONFIG` for
/// `--kafka-config`.
pub fn with_environment(command: Command) -> Command {
    let of = |arg: Arg| {
        let Some(long) = arg.get_long().filter(|long| !["help", "version"].contains(long)) else { return arg };
        let name = format!("RESCAN_{}", long.to_uppercase().replace('-', "_"));
        let switch = matches!(arg.get_action(), ArgAction::SetTrue);
        // For the life of the process, as its command line is.
        let arg = arg.env(&*name.leak()).hide_env(true).hide_env_values(true);
        if switch { arg.value_parser(BoolishValueParser::new()) } else { arg }
    };
    command.mut_subcommands(|subcommand| subcommand.mut_args(of))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(words: &str) -> Option<String> {
        let error = refuse_passwords(words.split(' ').map(OsString::from)).err()?;
        Some(error.to_string())
    }

    #[test]
    fn passwords_in_addresses_are_refused_and_not_shown() {
        for words in [
            "rescan ingest --in kafka://u:hush@h:1/t",
            "rescan ingest --in=a=s3://hush@bucket/p",
            "rescan ingest --in plays=kafka://h:1,u:hush@h:2/t",
            "rescan inspect --out x s3://u:hush@b/p",
            "RESCAN_IN=plays=kafka://u:hush@h/t",
        ] {
            let said = refused(words).unwrap_or_else(|| panic!("{words}"));
            assert!(!said.contains("hush") && said.contains("--kafka-config"), "{words}: {said}");
        }
        assert!(refused("rescan ingest --in=a=s3://hush@bucket/p").unwrap().starts_with("--in:"));
        for words in [
            "rescan ingest --in kafka://h:1/t@x --kafka sasl.password=a@b",
            "rescan run a@b s3://b/p@q",
            "--where url<>'http://a@b/'",
        ] {
            assert_eq!(refused(words), None, "{words}");
        }
    }
}
