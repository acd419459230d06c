//! What a policy would have earned, estimated from what another one logged, and the page that shows it.
//!
//! Invariant: the same rows give the same bytes, in any order and however they were split: sums are exact.
//! Invariant: a page is one file. It loads nothing, runs nothing, and shows any text as text.
//!
//! Not here: files, clocks, randomness; where rows come from; what a terminal shows.

mod axis;
mod bars;
mod chart;
mod doubts;
mod estimate_cell;
mod estimates;
mod estimator;
mod exact_sum;
mod intervals;
mod moments;
mod number;
mod page;
mod policy_page;
mod sample_page;

pub use bars::{Bar, Bars};
pub use estimates::{Estimates, PolicyEstimates, SlotEstimates};
pub use estimator::{Estimator, Logged};
pub use intervals::{Interval, Intervals, IntervalsRow, Panel};
pub use moments::Estimate;
pub use number::{count, number};
pub use page::{Page, Section, Table};
pub use policy_page::{policy_page, policy_table};
pub use sample_page::{SampledRule, SampledStratum, sample_page};
