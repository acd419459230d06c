//! Which names do rows have that no column has, and how many rows? What is left out is said.

use std::sync::{Arc, Mutex, PoisonError};

use indexmap::IndexMap;

/// So many names are counted, and so many named in a message; rows may use data as keys.
const NAMES_MAX: usize = 1000;
const NAMED: usize = 8;

/// Rows by the name that they have and no column has; shared by the decoders of a source.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unread(Arc<Mutex<Names>>);

#[derive(Debug, Default)]
struct Names {
    counted: IndexMap<String, Named>,
    /// Whether there are others, which are not counted, and whether that was said.
    others: bool,
    others_said: bool,
}

#[derive(Debug)]
struct Named {
    rows: u64,
    said: bool,
}

impl Unread {
    /// Adds rows of one chunk, and empties the counts.
    pub(crate) fn add(&self, rows: &mut IndexMap<String, u64>) {
        if rows.is_empty() {
            return;
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, rows) in rows.drain(..).filter(|(_, rows)| *rows > 0) {
            if let Some(named) = all.counted.get_mut(&name) {
                named.rows += rows;
            } else if all.counted.len() < NAMES_MAX {
                all.counted.insert(name, Named { rows, said: false });
            } else {
                all.others = true;
            }
        }
    }

    /// The names that were not said yet, of a source that goes on.
    pub(crate) fn new_ones(&self, source: &str) -> Option<String> {
        self.say(source, |_| String::new())
    }

    /// The names that were not said yet, with their rows, of a source that is at its end.
    pub(crate) fn counted(&self, source: &str) -> Option<String> {
        self.say(source, |rows| format!(" ({rows} {})", if rows == 1 { "row" } else { "rows" }))
    }

    fn say(&self, source: &str, count: impl Fn(u64) -> String) -> Option<String> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let others = all.others && !all.others_said;
        all.others_said |= others;
        let mut new: Vec<(&String, &mut Named)> = all.counted.iter_mut().filter(|(_, named)| !named.said).collect();
        new.sort_by(|(a, of_a), (b, of_b)| of_b.rows.cmp(&of_a.rows).then_with(|| a.cmp(b)));
        new.iter_mut().for_each(|(_, named)| named.said = true);
        let mut listed: Vec<String> =
            new.iter().take(NAMED).map(|(name, named)| format!("{name}{}", count(named.rows))).collect();
        if new.len() > NAMED {
            listed.push(format!("{} more", new.len() - NAMED));
        }
        if others {
            listed.push("others that are not counted".to_owned());
        }
        if listed.is_empty() {
            return None;
        }
        let listed = listed.join(", ");
        Some(format!(
            "{source}: left out, for no column is of that name: {listed}: a schema that has it, --schema FILE, keeps it"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_said_once_the_commonest_first_and_not_without_end() {
        let unread = Unread::default();
        assert_eq!(unread.counted("x"), None);
        let mut rows = IndexMap::from([("b".to_owned(), 1), ("a".to_owned(), 1), ("c".to_owned(), 3)]);
        unread.add(&mut rows);
        assert!(rows.is_empty());
        let said = unread.counted("x").unwrap();
        assert!(said.starts_with("x: left out") && said.contains(": c (3 rows), a (1 row), b (1 row): "), "{said}");
        unread.add(&mut IndexMap::from([("c".to_owned(), 1)]));
        assert_eq!(unread.new_ones("x"), None);
        unread.add(&mut (0..5000).map(|n| (format!("k{n}"), 1)).collect());
        let said = unread.new_ones("x").unwrap();
        let more = format!(", {} more, others that are not counted: ", NAMES_MAX - 3 - NAMED);
        assert!(said.contains("k1") && said.contains(&more), "{said}");
        unread.add(&mut (0..5000).map(|n| (format!("k{n}"), 1)).collect());
        assert_eq!(unread.new_ones("x"), None);
    }
}
