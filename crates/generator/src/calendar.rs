//! Parcels that wait for their time: a list for each second, sorted when its turn comes. That is faster than a heap, as
//! a parcel moves twice however many wait.

use std::collections::VecDeque;

use anyhow::Result;

use crate::delivery::Parcel;

const SECOND_MS: u64 = 1_000;

pub(crate) struct Calendar {
    /// The second of the first list.
    first: u64,
    seconds: VecDeque<Vec<Parcel>>,
}

impl Calendar {
    /// For parcels that arrive at `start_ms` or later.
    pub(crate) fn new(start_ms: u64) -> Self {
        Self { first: start_ms / SECOND_MS, seconds: VecDeque::new() }
    }

    /// Must not arrive before what was given out already.
    pub(crate) fn put(&mut self, parcel: Parcel) {
        let at = (parcel.arrival / SECOND_MS - self.first) as usize;
        if at >= self.seconds.len() {
            self.seconds.resize_with(at + 1, Vec::new);
        }
        self.seconds[at].push(parcel);
    }

    /// Gives out what arrives in the full seconds before `clock_ms`, by arrival; equals in the order they were put.
    pub(crate) fn until(&mut self, clock_ms: u64, mut each: impl FnMut(Parcel) -> Result<()>) -> Result<()> {
        while self.first < clock_ms / SECOND_MS {
            let Some(mut parcels) = self.seconds.pop_front() else { break };
            self.first += 1;
            parcels.sort_by_key(|parcel| parcel.arrival);
            parcels.into_iter().try_for_each(&mut each)?;
        }
        Ok(())
    }
}
