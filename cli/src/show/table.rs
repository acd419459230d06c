//! Tables of text for people.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use journal::Ledger;
use report::count;

use crate::print::in_line;

/// Rows of text; the first column to the left, the others to the right.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(head: &[&str]) -> Table {
        Table { rows: vec![head.iter().map(|name| (*name).to_owned()).collect()] }
    }

    /// Its head is the first row.
    pub fn of(rows: Vec<Vec<String>>) -> Table {
        Table { rows }
    }

    pub fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    pub fn row<const N: usize>(&mut self, row: [String; N]) {
        self.rows.push(row.into());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<Vec<Cow<'_, str>>> =
            self.rows.iter().map(|row| row.iter().map(|cell| in_line(cell)).collect()).collect();
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width =
            |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        for row in &rows {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            writeln!(f, "  {}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// The inputs' rows by their fate.
pub fn ledger(ledger: &BTreeMap<String, Ledger>) -> Table {
    let mut table = Table::new(&["input", "read", "accepted", "duplicate", "late", "rejected", "filtered"]);
    for (input, l) in ledger {
        let counts = [l.read, l.accepted, l.duplicate, l.late, l.rejected, l.filtered];
        let mut row = vec![input.clone()];
        row.extend(counts.map(count));
        table.push(row);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align() {
        let mut table = Table::new(&["a", "rows"]);
        table.row(["long name".to_owned(), "7".to_owned()]);
        assert_eq!(table.to_string(), "  a          rows\n  long name     7\n");
    }
}
