//! One HTML file that any browser shows, without network or scripts, in light and dark, on paper and on a phone.
//!
//! All text is escaped by `maud`, and the page forbids itself to load or run anything, should some slip through.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::bars::Bars;
use crate::intervals::Intervals;

const STYLE: &str = include_str!("page.css");

/// Closed as XML wants it, so that parsers of either kind read the page.
const META: &str = r#"<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'"/>
"#;

/// A page of any report.
#[derive(Clone, Debug)]
pub struct Page {
    /// Its title and first heading.
    pub title: String,
    /// From top to bottom.
    pub sections: Vec<Section>,
}

/// A part of a page.
#[derive(Clone, Debug)]
pub enum Section {
    /// A heading over what follows.
    Heading(String),
    /// A paragraph.
    Text(String),
    /// Terms and what they mean.
    Terms(Vec<(String, String)>),
    /// A table.
    Table(Table),
    /// Estimates and their intervals.
    Intervals(Intervals),
    /// Bars.
    Bars(Bars),
}

/// Rows of text: the first column names its row and stands left, the others are numbers and stand right.
#[derive(Clone, Debug)]
pub struct Table {
    /// Empty for none.
    pub title: String,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// As many cells as columns, each of one or more lines.
    pub rows: Vec<Vec<String>>,
}

impl Page {
    /// The file; the same page gives the same bytes.
    pub fn html(&self) -> String {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    (PreEscaped(META))
                    title { (self.title) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    h1 { (self.title) }
                    @for section in &self.sections { (section.html()) "\n" }
                }
            }
        };
        // No parser takes these, escaped or not.
        let unprintable =
            |letter: char| letter.is_control() && letter != '\n' || matches!(letter, '\u{fffe}' | '\u{ffff}');
        page.into_string().replace(unprintable, "\u{fffd}")
    }
}

impl Section {
    fn html(&self) -> Markup {
        match self {
            Section::Heading(text) => html! { h2 { (text) } },
            Section::Text(text) => html! { p { (text) } },
            Section::Terms(terms) => html! { dl { @for (term, meaning) in terms { dt { (term) } dd { (meaning) } } } },
            Section::Table(table) => table.html(),
            Section::Intervals(plot) => plot.html(),
            Section::Bars(plot) => plot.html(),
        }
    }
}

impl Table {
    fn html(&self) -> Markup {
        html! {
            div class="wide" {
                table {
                    @if !self.title.is_empty() { caption { (self.title) } }
                    thead { tr { @for column in &self.columns { th scope="col" { (column) } } } }
                    tbody {
                        @for row in &self.rows {
                            tr {
                                @for (column, cell) in row.iter().enumerate() {
                                    @if column == 0 { th scope="row" { (cell) } } @else { td { (cell) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
