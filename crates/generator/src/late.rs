//! What makes a row late: it is earlier than the largest event time that its source partition has shown before it, less
//! the watermark delay.

use crate::event::{Event, Topic};

pub(crate) struct LateRule {
    delay_ms: u64,
    partitions: u32,
    /// The largest event time so far of each partition of each topic.
    newest: [Vec<u64>; 2],
}

impl LateRule {
    pub(crate) fn new(delay_ms: u64, partitions: u32) -> Self {
        let newest = Topic::ALL.map(|_| vec![0; partitions as usize]);
        Self { delay_ms, partitions, newest }
    }

    /// The event's source partition, from 0: that of its request id.
    pub(crate) fn partition(&self, event: &Event) -> u32 {
        (event.request % u128::from(self.partitions)) as u32
    }

    /// Whether the next row of the partition is late.
    pub(crate) fn is_late(&mut self, event: &Event, partition: u32) -> bool {
        let newest = &mut self.newest[event.topic() as usize][partition as usize];
        let late = event.ts + self.delay_ms < *newest;
        *newest = event.ts.max(*newest);
        late
    }
}
