//! Bars from zero, some a row, to be compared by length.

use maud::{Markup, html};

use crate::chart::{Chart, Line, at, axis, x};

/// A bar is a little lower than its line.
const THICKNESS: f64 = 11.0;

/// Rows of bars on one axis.
#[derive(Clone, Debug)]
pub struct Bars {
    /// What the axis measures.
    pub measure: String,
    /// What the bars of a row are, in their order. Up to four differ in colour.
    pub series: Vec<String>,
    /// From top to bottom.
    pub rows: Vec<Bar>,
}

/// Bars under a name.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Their name.
    pub name: String,
    /// One a series, finite; a dash stands for none.
    pub values: Vec<Option<f64>>,
}

impl Bars {
    /// A legend and a drawing.
    pub fn html(&self) -> Markup {
        let axis = axis(self.rows.iter().flat_map(|row| row.values.iter().flatten().copied()).chain([0.0]));
        let rows = self.rows.iter().map(|row| (row.name.as_str(), row.values.clone())).collect();
        let chart = Chart { title: &self.measure, measure: &self.measure, axis: &axis, rows };
        let bar = |line: Line| {
            let (zero, end) =
                (x(&axis, 0.0), self.rows[line.row].values[line.series].map_or(0.0, |value| x(&axis, value)));
            let (left, width) = (zero.min(end), (end - zero).abs());
            let y = line.y - THICKNESS / 2.0;
            html! { rect class=(format!("s{}", line.series)) x=(at(left)) y=(at(y)) width=(at(width)) height=(THICKNESS) {} }
        };
        html! {
            ul class="legend" {
                @for (series, name) in self.series.iter().enumerate() {
                    li { svg viewBox="0 0 14 14" { rect class=(format!("s{series}")) x="1" y="1" width="12" height="12" {} } (name) }
                }
            }
            div class="panels" { figure { (chart.draw(bar, |_, _, _| html! {})) } }
        }
    }
}
