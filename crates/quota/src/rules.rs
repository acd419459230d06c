//! The rules of `rescan stratify`, as the user writes them in TOML.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// How far from 1 proportions may sum: what decimals such as 0.333333333 leave.
const SLACK: f64 = 1e-9;

/// A whole file of rules. [`Rules::parse`] checks it; one put together in code is taken as it stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// Rows in all, exactly. Without it as many as the other rules and the supply allow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Rows in all, at most. Not together with `size`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_size: Option<u64>,
    /// The `[[rule]]` tables, in the order of the file.
    #[serde(rename = "rule", skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// Down-sampling of negatives; of no concern to the solver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negatives: Option<Negatives>,
}

/// One partition of the rows into strata, and what must hold of each stratum.
///
/// A rule that asks for nothing only tells its strata apart: each keeps its part of the whole.
///
/// A stratum's label is its value, with `null` for a null and `\null` for the text null; or its values joined by `/`,
/// where a `/` or `\` within one of them is written `\/` or `\\`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// What messages and reports call the rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Columns or SQL expressions whose values make the strata.
    pub strata: Vec<String>,
    /// Target proportions of the total, met to the row by largest remainder. `other` is all strata not named here,
    /// together; without it they get nothing.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub share: BTreeMap<String, f64>,
    /// Least proportions of the total, rounded up to a row.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub at_least: BTreeMap<String, f64>,
    /// Greatest proportions of the total, rounded down to a row.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub at_most: BTreeMap<String, f64>,
    /// Least rows of a stratum.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub min: BTreeMap<String, u64>,
    /// Least rows of each stratum that occurs, but those named in `min`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_each: Option<u64>,
    /// Most rows of a stratum.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub max: BTreeMap<String, u64>,
    /// Most rows of each stratum that occurs, but those named in `max`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_each: Option<u64>,
    /// Rows of a stratum, exactly.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub exact: BTreeMap<String, u64>,
    /// Of rules that cannot all be met, the lower number is kept longer. A rule without one gives first; `size` and
    /// `max_size` give last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
}

/// `[negatives]`: all positives are kept, and this many negatives for each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Negatives {
    /// The SQL condition of a positive row.
    pub positive: String,
    /// Negatives kept for each positive.
    pub per_positive: f64,
}

/// Where in a file of rules something is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Outside any table.
    Top,
    /// In the `index`-th `[[rule]]`, counted from 0.
    Rule {
        /// Counted from 0; messages count from 1.
        index: usize,
        /// The rule's name, if it has one.
        name: Option<String>,
    },
    /// In `[negatives]`.
    Negatives,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Top => f.write_str("the rules"),
            Place::Rule { index, name: None } => write!(f, "rule {}", index + 1),
            Place::Rule { index, name: Some(name) } => write!(f, "rule {} ({name})", index + 1),
            Place::Negatives => f.write_str("[negatives]"),
        }
    }
}

/// Why a file of rules was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RulesError {
    /// Not TOML, or a value of the wrong type; the message has the line.
    #[error("the rules cannot be read: {0}")]
    Toml(String),
    /// A key that does not exist.
    #[error("{place}: unknown key `{key}`{}", suggestion(.instead))]
    Unknown {
        /// Where.
        place: Place,
        /// The key.
        key: String,
        /// The key that was probably meant.
        instead: Option<&'static str>,
    },
    /// A key whose value cannot be, by itself or beside the others.
    #[error("{place}: `{key}` {why}")]
    Refused {
        /// Where.
        place: Place,
        /// The key.
        key: String,
        /// What is wrong and what to do.
        why: String,
    },
}

fn suggestion(instead: &Option<&'static str>) -> String {
    instead.map(|key| format!("; did you mean `{key}`?")).unwrap_or_default()
}

const TOP: [&str; 4] = ["size", "max_size", "rule", "negatives"];
const CLAUSES: [&str; 8] = ["share", "at_least", "at_most", "min", "min_each", "max", "max_each", "exact"];
const BESIDE: [&str; 3] = ["name", "strata", "priority"];
const NEGATIVES: [&str; 2] = ["positive", "per_positive"];

impl Rules {
    /// Reads and checks a file of rules.
    pub fn parse(text: &str) -> Result<Rules, RulesError> {
        let unreadable = |error: toml::de::Error| RulesError::Toml(error.to_string().trim_end().to_owned());
        let file: toml::Table = text.parse().map_err(unreadable)?;
        check_keys(&file, &TOP, || Place::Top)?;
        let rules = file.get("rule").and_then(|rules| rules.as_array()).map(Vec::as_slice).unwrap_or_default();
        for (index, rule) in rules.iter().enumerate() {
            let Some(rule) = rule.as_table() else { continue };
            let name = rule.get("name").and_then(|name| name.as_str()).map(str::to_owned);
            let known = [&CLAUSES[..], &BESIDE[..]].concat();
            check_keys(rule, &known, || Place::Rule { index, name: name.clone() })?;
        }
        if let Some(negatives) = file.get("negatives").and_then(|negatives| negatives.as_table()) {
            check_keys(negatives, &NEGATIVES, || Place::Negatives)?;
        }
        let rules: Rules = toml::from_str(text).map_err(unreadable)?;
        rules.check()?;
        Ok(rules)
    }

    /// What the types alone do not refuse.
    fn check(&self) -> Result<(), RulesError> {
        if self.size.is_some() && self.max_size.is_some() {
            return Err(refused(Place::Top, "max_size", "stands beside `size`; keep one of the two"));
        }
        for (index, rule) in self.rules.iter().enumerate() {
            rule.check(|| Place::Rule { index, name: rule.name.clone() })?;
        }
        match &self.negatives {
            Some(negatives) if !(negatives.per_positive.is_finite() && negatives.per_positive >= 0.0) => {
                Err(refused(Place::Negatives, "per_positive", "is not a number from 0; write e.g. 4"))
            }
            _ => Ok(()),
        }
    }
}

impl Rule {
    fn check(&self, place: impl Fn() -> Place) -> Result<(), RulesError> {
        if self.strata.is_empty() || self.strata.iter().any(|column| column.trim().is_empty()) {
            return Err(refused(place(), "strata", "names no column; write e.g. [\"country\"]"));
        }
        let proportions = [("share", &self.share), ("at_least", &self.at_least), ("at_most", &self.at_most)];
        for (key, proportions) in proportions {
            let wrong = proportions.iter().find(|(_, proportion)| !(0.0..=1.0).contains(*proportion));
            if let Some((stratum, proportion)) = wrong {
                let why = format!("is {proportion}, not a proportion; write one from 0 to 1");
                return Err(refused(place(), &format!("{key}.{stratum}"), &why));
            }
        }
        let least: f64 = self.at_least.values().sum();
        if least > 1.0 + SLACK {
            return Err(refused(
                place(),
                "at_least",
                &format!("sums to {least}, over 1; lower one of its proportions"),
            ));
        }
        let sum: f64 = self.share.values().sum();
        if !self.share.is_empty() && (sum - 1.0).abs() > SLACK {
            let why = format!("sums to {sum}, not to 1; change one of its proportions, or add `other` for the rest");
            return Err(refused(place(), "share", &why));
        }
        Ok(())
    }
}

/// That every key is known, and no number below 0: serde would name neither the rule nor the key meant.
fn check_keys(table: &toml::Table, known: &[&'static str], place: impl Fn() -> Place) -> Result<(), RulesError> {
    for (key, value) in table {
        if !known.contains(&key.as_str()) {
            let near = known.iter().map(|name| (strsim::damerau_levenshtein(key, name), *name)).min();
            let instead = near.filter(|(distance, _)| *distance <= 2 || 3 * *distance <= key.len());
            return Err(RulesError::Unknown { place: place(), key: key.clone(), instead: instead.map(|near| near.1) });
        }
        let negative = |value: &toml::Value| value.as_integer().is_some_and(|count| count < 0);
        let why = "is below 0; a count is 0 or more";
        if key != "priority" && negative(value) {
            return Err(refused(place(), key, why));
        }
        let inner = value.as_table().filter(|_| key != "negatives");
        if let Some((stratum, _)) = inner.and_then(|inner| inner.iter().find(|(_, value)| negative(value))) {
            return Err(refused(place(), &format!("{key}.{stratum}"), why));
        }
    }
    Ok(())
}

fn refused(place: Place, key: &str, why: &str) -> RulesError {
    RulesError::Refused { place, key: key.to_owned(), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        Rules::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn the_file_of_the_manual_is_read() {
        let rules = Rules::parse(
            "size = 6000
             [[rule]]
             strata = ['device']
             share = { tv = 0.4, other = 0.6 }
             [[rule]]
             name = 'by country'
             strata = ['country', 'device']
             min = { 'US/tv' = 100 }
             max_each = 3
             priority = -1
             [negatives]
             positive = 'reward > 0'
             per_positive = 4",
        );
        let rules = rules.unwrap();
        assert_eq!((rules.size, rules.rules.len(), rules.rules[0].share["tv"]), (Some(6000), 2, 0.4));
        let second = &rules.rules[1];
        assert_eq!((second.min["US/tv"], second.max_each, second.priority), (100, Some(3), Some(-1)));
        assert_eq!(rules.negatives.as_ref().unwrap().per_positive, 4.0);
        let written = serde_json::to_string(&rules).unwrap();
        assert_eq!(serde_json::from_str::<Rules>(&written).unwrap(), rules);
    }

    #[test]
    fn unknown_keys_are_refused_with_the_nearest() {
        assert_eq!(told("sise = 1"), "the rules: unknown key `sise`; did you mean `size`?");
        assert_eq!(told("zebra = 1"), "the rules: unknown key `zebra`");
        let rule = "[[rule]]\nname='a'\nstrata=['c']\nmin={}\n[[rule]]\nname='b'\nstrata=['c']";
        assert_eq!(
            told(&format!("{rule}\nmin_eech=1")),
            "rule 2 (b): unknown key `min_eech`; did you mean `min_each`?"
        );
        assert_eq!(
            told("[negatives]\npositive='x'\nper_positiv=1"),
            "[negatives]: unknown key `per_positiv`; did you mean `per_positive`?"
        );
    }

    #[test]
    fn what_cannot_be_is_refused_by_place_and_key() {
        let rule = |clause: &str| told(&format!("[[rule]]\nname='a'\nstrata=['c']\n{clause}"));
        for (message, start) in [
            (told("size = 1\nmax_size = 2"), "the rules: `max_size` stands beside `size`"),
            (told("size = -1"), "the rules: `size` is below 0"),
            (rule("min = {US = -1}"), "rule 1 (a): `min.US` is below 0"),
            (rule("max_each = -1"), "rule 1 (a): `max_each` is below 0"),
            (rule("share = {tv = 1.5}"), "rule 1 (a): `share.tv` is 1.5, not a proportion"),
            (rule("share = {tv = nan}"), "rule 1 (a): `share.tv` is NaN, not a proportion"),
            (rule("share = {tv = 0.5, web = 0.6}"), "rule 1 (a): `share` sums to 1.1, not to 1"),
            (rule("share = {tv = 0.5, web = 0.4}"), "rule 1 (a): `share` sums to 0.9, not to 1"),
            (rule("at_least = {tv = 0.5, web = 0.6}"), "rule 1 (a): `at_least` sums to 1.1, over 1"),
            (told("[[rule]]\nstrata=[]\nmin_each=1"), "rule 1: `strata` names no column"),
            (told("[negatives]\npositive='x'\nper_positive=-4"), "[negatives]: `per_positive` is below 0"),
            (told("[negatives]\npositive='x'\nper_positive=inf"), "[negatives]: `per_positive` is not a number"),
            (told("size = 'x'"), "the rules cannot be read: TOML parse error at line 1"),
            (told("size = "), "the rules cannot be read: TOML parse error at line 1"),
        ] {
            assert!(message.starts_with(start), "{message}");
        }
        let thirds = "[[rule]]\nstrata=['c']\nshare={a=0.3333333333, b=0.3333333333, c=0.3333333333}";
        assert!(Rules::parse(thirds).is_ok());
    }
}
