//! How events get here: a client collects some and sends them together, the way to the source takes its time, a few
//! come twice, and a few come when nobody waits for them any more.

use crate::catalog::DEVICES;
use crate::dice::{Chance, Dice, Stream};
use crate::event::Event;
use crate::plan::Plan;

/// From a client to the source partition, milliseconds, in quantiles.
const SOURCE_MS: [u64; 9] = [200, 500, 900, 1_500, 2_500, 4_000, 8_000, 20_000, 120_000];
/// From an event to its duplicate.
const COPY_MS: [u64; 5] = [1, 1_000, 4_000, 12_000, 60_000];
/// How long after it could still have been in time a late event comes.
const LATE_MS: [u64; 8] = [45_000, 90_000, 180_000, 400_000, 900_000, 1_800_000, 3_600_000, 7_200_000];
/// The longest that a punctual event and its duplicate can take: collecting, sending, sending again.
const PUNCTUAL_MAX_MS: u64 = 30_000 + 120_000 + 60_000;
/// An event on its way.
#[derive(Clone, Copy)]
pub(crate) struct Parcel {
    /// When it arrives, milliseconds since 1970 UTC.
    pub(crate) arrival: u64,
    pub(crate) event: Event,
    /// Sent so late that it is to be late. Only such a parcel can be; the rule has the last word.
    pub(crate) delayed: bool,
    /// The second of two.
    pub(crate) copy: bool,
    /// How many events of the other topic it makes a pair with.
    pub(crate) pairs: u8,
}

pub(crate) struct Delivery<'p> {
    plan: &'p Plan,
    dice: Dice,
    late_dice: Dice,
    copy_dice: Dice,
    late: Chance,
    copy: Chance,
}

impl<'p> Delivery<'p> {
    pub(crate) fn new(plan: &'p Plan) -> Self {
        Self {
            plan,
            dice: Dice::new(plan.seed, Stream::Delivery),
            late_dice: Dice::new(plan.seed, Stream::Late),
            copy_dice: Dice::new(plan.seed, Stream::Copies),
            late: Chance::of(plan.late_chance()),
            copy: Chance::of(plan.duplicates),
        }
    }

    /// Sends the events of a page, in their order.
    pub(crate) fn send(&mut self, page: &[Event], parcels: &mut Vec<Parcel>) {
        let (mut sent, mut way) = (0, 0);
        for &event in page {
            let flush = flush(&event);
            if flush != sent {
                (sent, way) = (flush, self.dice.among(&SOURCE_MS));
            }
            let arrival = event.ts + self.punctual(flush - event.ts + way);
            let (delayed, more) = (self.late_dice.chance(self.late), self.late_dice.among(&LATE_MS));
            let delayed = delayed && event.ts < self.plan.late_before();
            let arrival = if delayed { event.ts + self.plan.watermark_delay_ms + more } else { arrival };
            parcels.push(Parcel { arrival, event, delayed, copy: false, pairs: 0 });
        }
    }

    /// The same event once more, a little later, if it is to be.
    pub(crate) fn copy(&mut self, parcel: &Parcel) -> Option<Parcel> {
        let (copy, more) = (self.copy_dice.chance(self.copy), self.copy_dice.among(&COPY_MS));
        let arrival = parcel.arrival + self.punctual(more);
        (copy && !parcel.delayed).then_some(Parcel { arrival, copy: true, pairs: 0, ..*parcel })
    }

    /// A delay, made shorter in proportion where the watermark would not wait for the longest: so a punctual event
    /// takes at most the watermark delay, and cannot be late, because no event before it can be newer than its arrival.
    fn punctual(&self, delay: u64) -> u64 {
        delay * self.plan.watermark_delay_ms.min(PUNCTUAL_MAX_MS) / PUNCTUAL_MAX_MS
    }
}

/// The longest that any event can take, milliseconds.
pub(crate) fn longest_ms(plan: &Plan) -> u64 {
    PUNCTUAL_MAX_MS.max(plan.watermark_delay_ms + LATE_MS[LATE_MS.len() - 1])
}

/// When the event's client next sends what it has collected.
fn flush(event: &Event) -> u64 {
    let every = DEVICES[usize::from(event.device)].flush_ms;
    let phase = u64::from(event.profile) * 977 % every;
    event.ts + (every - (event.ts + phase) % every)
}
