//! Which source partitions the others no longer wait for, since they show nothing.

use std::time::{Duration, Instant};

/// When a source partition that shows nothing stops holding the watermark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Idle {
    /// Never: the others wait for it, and none of its rows is late for that.
    #[default]
    Never,
    /// Once it has shown nothing for so long, while another partition of the same input has not.
    BesideOthers(Duration),
    /// Once it has shown nothing for so long.
    After(Duration),
}

impl Idle {
    /// Whether a partition is idle that has shown nothing since `silent`; each other one of its input that has not ended
    /// has shown nothing `since`, none where it just did.
    pub(crate) fn is_over(self, silent: Instant, mut since: impl Iterator<Item = Option<Instant>>) -> bool {
        match self {
            Idle::Never => false,
            Idle::After(timeout) => silent.elapsed() >= timeout,
            Idle::BesideOthers(timeout) => {
                let moves = |since: Option<Instant>| since.is_none_or(|since| since.elapsed() < timeout);
                silent.elapsed() >= timeout && since.any(moves)
            }
        }
    }
}

/// Where one holds the watermark for so long and others do not, the user is told.
pub(crate) const LONG: Duration = Duration::from_secs(300);

/// What a user is told of a partition that holds the watermark.
pub(crate) fn holds(name: &str, input: &str, minutes: u64) -> String {
    format!(
        "{name} has shown nothing for {minutes} minutes, and the hours wait for it; --idle-timeout {input}=TIME lets them \
         go on without it, and what it shows then is late if it is older than the others are by that time"
    )
}

/// What a user is told of rows that are late for no other reason than that.
pub(crate) fn overslept(name: &str, input: &str, rows: u64) -> String {
    format!(
        "{name} shows rows again after --idle-timeout, and {rows} of the first are late, since the hours went on without \
         it: a longer --idle-timeout {input}=TIME would have waited, and a longer --watermark-delay taken them"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_silent_together_is_not_idle() {
        let (hour, now) = (Duration::from_secs(3600), Instant::now());
        let Some(long) = now.checked_sub(2 * hour) else { return };
        let cases = [
            (Idle::Never, long, vec![None], false),
            (Idle::After(hour), long, vec![], true),
            (Idle::After(hour), now, vec![None], false),
            (Idle::BesideOthers(hour), long, vec![], false),
            (Idle::BesideOthers(hour), long, vec![Some(long)], false),
            (Idle::BesideOthers(hour), long, vec![Some(long), Some(now)], true),
            (Idle::BesideOthers(hour), long, vec![None], true),
            (Idle::BesideOthers(hour), now, vec![None], false),
        ];
        for (idle, silent, others, over) in cases {
            assert_eq!(idle.is_over(silent, others.clone().into_iter()), over, "{idle:?} {others:?}");
        }
    }
}
