//! Dots with whiskers: estimates and their confidence intervals.

use maud::{Markup, html};

use crate::axis::Axis;
use crate::chart::{Chart, Line, at, axis, x};
use crate::moments::Estimate;

/// Half of a dot's width.
const DOT: f64 = 4.0;

/// Panels on one axis, side by side where there is room.
#[derive(Clone, Debug)]
pub struct Intervals {
    /// What the axis measures.
    pub measure: String,
    /// What the marks of a row are, in their order. Up to four differ in shape and colour.
    pub series: Vec<String>,
    /// What the dashed line of a row is.
    pub reference: Option<String>,
    /// The panels.
    pub panels: Vec<Panel>,
}

/// Rows under a title.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Empty for none.
    pub title: String,
    /// From top to bottom.
    pub rows: Vec<IntervalsRow>,
}

/// Marks under a name.
#[derive(Clone, Debug)]
pub struct IntervalsRow {
    /// Its name.
    pub name: String,
    /// Where the dashed line is.
    pub reference: Option<f64>,
    /// One a series.
    pub marks: Vec<Option<Interval>>,
}

/// A value, and where it may be instead; all finite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The dot.
    pub value: f64,
    /// The whiskers' ends.
    pub ends: Option<(f64, f64)>,
}

impl From<Estimate> for Interval {
    fn from(estimate: Estimate) -> Interval {
        Interval { value: estimate.value, ends: estimate.low.zip(estimate.high) }
    }
}

impl Intervals {
    /// A legend, and a drawing a panel.
    pub fn html(&self) -> Markup {
        let axis = axis(self.panels.iter().flat_map(|panel| &panel.rows).flat_map(IntervalsRow::values));
        html! {
            ul class="legend" {
                @for (series, name) in self.series.iter().enumerate() {
                    li { svg viewBox="-7 -7 14 14" { g class=(format!("s{series}")) { (dot(series, 0.0, 0.0)) } } (name) }
                }
                @if let Some(reference) = &self.reference {
                    li { svg viewBox="-7 -7 14 14" { line class="reference" x1="0" x2="0" y1="-7" y2="7" {} } (reference) }
                }
            }
            div class="panels" {
                @for panel in &self.panels {
                    figure {
                        @if !panel.title.is_empty() { figcaption { (panel.title) } }
                        (panel.draw(&self.measure, &axis))
                    }
                }
            }
        }
    }
}

impl Panel {
    fn draw(&self, measure: &str, axis: &Axis) -> Markup {
        let rows = self.rows.iter().map(|row| {
            let values = row.marks.iter().map(|mark| mark.map(|mark| mark.value));
            (row.name.as_str(), values.collect())
        });
        let title = if self.title.is_empty() { measure } else { &self.title };
        let chart = Chart { title, measure, axis, rows: rows.collect() };
        let mark = |line: Line| html! { (whiskers(axis, &line, self.rows[line.row].marks[line.series])) };
        chart.draw(mark, |row, top, bottom| {
            let reference = self.rows[row].reference.map(|value| at(x(axis, value)));
            html! {
                @if let Some(x) = reference {
                    line class="reference" x1=(x) x2=(x) y1=(at(top)) y2=(at(bottom)) {}
                }
            }
        })
    }
}

impl IntervalsRow {
    fn values(&self) -> impl Iterator<Item = f64> {
        let marks = self.marks.iter().flatten();
        let values =
            marks.flat_map(|mark| [mark.value].into_iter().chain(mark.ends.into_iter().flat_map(|(a, b)| [a, b])));
        values.chain(self.reference)
    }
}

fn whiskers(axis: &Axis, line: &Line, mark: Option<Interval>) -> Markup {
    let y = line.y;
    html! {
        @if let Some(Interval { value, ends }) = mark {
            g class=(format!("s{}", line.series)) {
                @if let Some((low, high)) = ends.map(|(low, high)| (x(axis, low), x(axis, high))) {
                    path class="whisker" d=(format!("M{low:.1} {:.1}v6m0 -3H{high:.1}m0 -3v6", y - 3.0)) {}
                }
                (dot(line.series, x(axis, value), y))
            }
        }
    }
}

/// A shape a series, so that colour is not needed to tell them apart.
fn dot(series: usize, x: f64, y: f64) -> Markup {
    let corner = |x_sign: f64, y_sign: f64| format!("{},{}", at(x + x_sign * DOT * 1.2), at(y + y_sign * DOT * 1.2));
    html! {
        @match series % 4 {
            0 => circle cx=(at(x)) cy=(at(y)) r=(DOT) {},
            1 => rect x=(at(x - DOT)) y=(at(y - DOT)) width=(2.0 * DOT) height=(2.0 * DOT) {},
            2 => polygon points=([corner(0.0, -1.0), corner(1.0, 0.0), corner(0.0, 1.0), corner(-1.0, 0.0)].join(" ")) {},
            _ => polygon points=([corner(0.0, -1.0), corner(1.0, 1.0), corner(-1.0, 1.0)].join(" ")) {},
        }
    }
}
