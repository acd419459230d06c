//! The one loop: people do things, clients send them, and they arrive.

use anyhow::Result;

use crate::calendar::Calendar;
use crate::delivery::{Delivery, Parcel};
use crate::dice::{Chance, Dice, Stream};
use crate::event::Event;
use crate::late::LateRule;
use crate::malformed::Malformed;
use crate::pages::Pages;
use crate::plan::Plan;
use crate::truth::{Tally, Truth};

/// Rows from one report of progress to the next.
const REPORT_ROWS: u64 = 16_384;

/// Where rows go. They come in order of arrival; partitions count from 0 in each topic.
pub trait Sink {
    /// Takes a good row.
    ///
    /// # Errors
    /// The row cannot be written.
    fn row(&mut self, event: &Event, partition: u32) -> Result<()>;

    /// Takes a line, without its end, that is no row: it stands where a row of `beside`'s topic and key would.
    ///
    /// # Errors
    /// The line cannot be written.
    fn malformed(&mut self, beside: &Event, partition: u32, line: &[u8]) -> Result<()>;
}

/// Makes up what `plan` says, in memory bounded by the rows of a few hours' delay. `progress` is called every some
/// thousand rows with the rows so far.
///
/// # Errors
/// A plan that cannot be met, or a sink that fails.
pub fn generate(plan: &Plan, sink: &mut impl Sink, progress: impl FnMut(u64)) -> Result<Truth> {
    plan.check()?;
    let (mut pages, mut delivery) = (Pages::new(plan), Delivery::new(plan));
    let mut calendar = Calendar::new(plan.start_ms);
    let mut door = Door::new(plan, sink, progress);
    let (mut page, mut parcels) = (vec![], vec![]);
    while let Some(clock) = pages.next(&mut page) {
        calendar.until(clock, |parcel| door.take(&parcel))?;
        delivery.send(&page, &mut parcels);
        door.tally.page(&mut parcels);
        for parcel in parcels.drain(..) {
            calendar.put(parcel);
            delivery.copy(&parcel).into_iter().for_each(|copy| calendar.put(copy));
        }
    }
    calendar.until(u64::MAX, |parcel| door.take(&parcel))?;
    Ok(door.tally.finish(plan))
}

/// Where parcels arrive and become rows.
struct Door<'s, S, P> {
    sink: &'s mut S,
    progress: P,
    rule: LateRule,
    tally: Tally,
    dice: Dice,
    malformed: Chance,
    rows: u64,
}

impl<'s, S: Sink, P: FnMut(u64)> Door<'s, S, P> {
    fn new(plan: &Plan, sink: &'s mut S, progress: P) -> Self {
        Self {
            sink,
            progress,
            rule: LateRule::new(plan.watermark_delay_ms, plan.partitions),
            tally: Tally::default(),
            dice: Dice::new(plan.seed, Stream::Malformed),
            malformed: Chance::of(plan.malformed()),
            rows: 0,
        }
    }

    fn take(&mut self, parcel: &Parcel) -> Result<()> {
        let event = &parcel.event;
        let partition = self.rule.partition(event);
        self.tally.arrived(parcel, self.rule.is_late(event, partition));
        self.sink.row(event, partition)?;
        if self.dice.chance(self.malformed) {
            self.spoil(event, partition)?;
        }
        self.rows += 1;
        if self.rows.is_multiple_of(REPORT_ROWS) {
            (self.progress)(self.rows);
        }
        Ok(())
    }

    fn spoil(&mut self, event: &Event, partition: u32) -> Result<()> {
        let mut row = vec![];
        event.write_json(&mut row);
        let kind = Malformed::ALL[self.dice.below(Malformed::ALL.len() as u64) as usize];
        self.tally.malformed(event.topic());
        self.sink.malformed(event, partition, &kind.spoil(&row, &mut self.dice))
    }
}
