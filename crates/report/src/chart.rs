//! The frame that plots share: rows of marks one below another on one horizontal axis.
//!
//! A row's name stands on a line of its own above its marks, and each mark's value at the right, so that neither can
//! run into the other; what does not fit ends in an ellipsis. One unit is a CSS pixel on a phone.

use maud::{Markup, html};

use crate::axis::Axis;
use crate::number::number;

const WIDTH: f64 = 360.0;
const LEFT: f64 = 16.0;
const RIGHT: f64 = WIDTH - 76.0;
const NAME_HEIGHT: f64 = 20.0;
const MARK_HEIGHT: f64 = 16.0;
const ROW_GAP: f64 = 6.0;
const FOOT: f64 = 38.0;
/// Width of a letter of a tick's label.
const LETTER: f64 = 7.0;
/// How far such a label may jut out at the left, into the page's margin.
const MARGIN: f64 = 12.0;
/// Letters of a name that fit in the width; wide scripts take two.
const NAME_LETTERS: usize = 50;
/// Letters of tick labels that fit side by side.
const TICK_LETTERS: usize = 40;

/// What is drawn.
pub struct Chart<'a> {
    pub title: &'a str,
    /// What the axis measures.
    pub measure: &'a str,
    pub axis: &'a Axis,
    /// A row's name, and the values its marks stand for.
    pub rows: Vec<(&'a str, Vec<Option<f64>>)>,
}

/// Where a mark goes: its row and series, and the middle of its line.
pub struct Line {
    pub row: usize,
    pub series: usize,
    pub y: f64,
}

/// The axis of plots of this width.
pub fn axis(values: impl Iterator<Item = f64>) -> Axis {
    Axis::new(values, TICK_LETTERS)
}

/// The x of a value, in units of the drawing.
pub fn x(axis: &Axis, value: f64) -> f64 {
    LEFT + axis.place(value) * (RIGHT - LEFT)
}

/// A coordinate as text.
pub fn at(coordinate: f64) -> String {
    format!("{coordinate:.1}")
}

impl Chart<'_> {
    /// The drawing, with what `mark` draws for each line that has a value, and `behind` for each row: the row, and the
    /// top and bottom of its band.
    pub fn draw(&self, mark: impl Fn(Line) -> Markup, behind: impl Fn(usize, f64, f64) -> Markup) -> Markup {
        let mut tops = vec![0.0];
        for (_, values) in &self.rows {
            tops.push(tops[tops.len() - 1] + NAME_HEIGHT + MARK_HEIGHT * values.len() as f64 + ROW_GAP);
        }
        let bottom = tops[tops.len() - 1];
        html! {
            svg role="img" aria-label=(self.title) viewBox=(format!("0 0 {WIDTH} {}", bottom + FOOT)) {
                (self.ticks(bottom))
                @for (row, ((name, values), top)) in self.rows.iter().zip(&tops).enumerate() {
                    @let marks = top + NAME_HEIGHT;
                    (behind(row, marks - 2.0, marks + MARK_HEIGHT * values.len() as f64 + 2.0))
                    text class="name" x="0" y=(at(top + 14.0)) { (fitted(name)) title { (name) } }
                    @for (series, value) in values.iter().enumerate() {
                        @let y = marks + MARK_HEIGHT * (series as f64 + 0.5);
                        @if value.is_some() { (mark(Line { row, series, y })) }
                        text class="value" x=(at(WIDTH)) y=(at(y + 4.0)) { (number(*value)) }
                    }
                }
            }
        }
    }

    fn ticks(&self, bottom: f64) -> Markup {
        html! {
            @for (value, label) in &self.axis.ticks {
                @let x = x(self.axis, *value);
                line class="grid" x1=(at(x)) x2=(at(x)) y1="0" y2=(at(bottom)) {}
                @let half = label.len() as f64 * LETTER / 2.0;
                text class="tick" x=(at(x.max(half - MARGIN))) y=(at(bottom + 14.0)) { (label) }
            }
            text class="measure" x=(at((LEFT + RIGHT) / 2.0)) y=(at(bottom + 31.0)) { (self.measure) }
        }
    }
}

/// As much of a name as fits.
fn fitted(name: &str) -> String {
    let widths =
        |name: &str| name.chars().map(|letter| if letter < '\u{1100}' { 1 } else { 2 }).collect::<Vec<usize>>();
    if widths(name).iter().sum::<usize>() <= NAME_LETTERS {
        return name.to_owned();
    }
    let fitting = widths(name).into_iter().scan(1, |used, width| {
        *used += width;
        (*used <= NAME_LETTERS).then_some(())
    });
    name.chars().take(fitting.count()).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_end_in_an_ellipsis() {
        assert_eq!(fitted("short"), "short");
        assert_eq!(fitted(&"n".repeat(50)), "n".repeat(50));
        assert_eq!(fitted(&"n".repeat(51)), "n".repeat(49) + "…");
        assert_eq!(fitted(&"字".repeat(26)), "字".repeat(24) + "…");
    }
}
