//! Rows in the order of time, told of one after another: a few sorted runs, each at least twice as long as the next. What
//! comes in order is appended, what does not is merged a few times; a span of time is found in each run by bisection.

/// Times, microseconds, and rows.
#[derive(Debug, Default)]
pub(crate) struct Runs(Vec<Vec<(i64, u32)>>);

impl Runs {
    /// Adds a row that is not there.
    pub(crate) fn insert(&mut self, row: (i64, u32)) {
        match self.0.last_mut() {
            Some(run) if run.last() < Some(&row) => run.push(row),
            _ => self.0.push(vec![row]),
        }
        while let [.., longer, last] = self.0.as_mut_slice() {
            if longer.len() > 2 * last.len() {
                break;
            }
            longer.append(last);
            // A merge of two sorted runs: a stable sort finds them.
            longer.sort();
            self.0.pop();
        }
    }

    /// The rows from `first` to `last`, both included, in any order.
    pub(crate) fn between(&self, first: i64, last: i64) -> impl Iterator<Item = &(i64, u32)> {
        self.spans(first, last).flatten()
    }

    /// How many there are from `first` to `last`, both included.
    pub(crate) fn count(&self, first: i64, last: i64) -> usize {
        self.spans(first, last).map(<[_]>::len).sum()
    }

    /// The earliest that passes, from `first` to `last`, and all that pass at that time.
    pub(crate) fn earliest(&self, first: i64, last: i64, passes: impl Fn(u32) -> bool) -> Vec<(i64, u32)> {
        let passing = |(_, row): &&(i64, u32)| passes(*row);
        let of_run = |run: &[(i64, u32)]| run.iter().find(passing).map(|(time, _)| *time);
        let time = self.spans(first, last).filter_map(of_run).min();
        self.at(time, passes)
    }

    /// The latest that passes, likewise.
    pub(crate) fn latest(&self, first: i64, last: i64, passes: impl Fn(u32) -> bool) -> Vec<(i64, u32)> {
        let passing = |(_, row): &&(i64, u32)| passes(*row);
        let of_run = |run: &[(i64, u32)]| run.iter().rev().find(passing).map(|(time, _)| *time);
        let time = self.spans(first, last).filter_map(of_run).max();
        self.at(time, passes)
    }

    fn at(&self, time: Option<i64>, passes: impl Fn(u32) -> bool) -> Vec<(i64, u32)> {
        let rows = time.into_iter().flat_map(|time| self.between(time, time));
        rows.filter(|(_, row)| passes(*row)).copied().collect()
    }

    fn spans(&self, first: i64, last: i64) -> impl Iterator<Item = &[(i64, u32)]> {
        let runs = if first <= last { self.0.as_slice() } else { &[] };
        runs.iter().map(move |run| {
            let from = run.partition_point(|(time, _)| *time < first);
            let length = run[from..].partition_point(|(time, _)| *time <= last);
            &run[from..from + length]
        })
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn a_span_is_found_however_rows_came() {
        for seed in 0..200 {
            let random = &mut StdRng::seed_from_u64(seed);
            let (mut runs, mut all) = (Runs::default(), Vec::new());
            for row in 0..random.random_range(0..300) {
                // In order, nearly so, or at random; many at one time.
                let time = match seed % 3 {
                    0 => i64::from(row) / 4,
                    1 => i64::from(row) / 4 - random.random_range(0..3),
                    _ => random.random_range(0..40),
                };
                runs.insert((time, row));
                all.push((time, row));
            }
            assert!(runs.0.len() <= 10, "seed {seed}: {} runs", runs.0.len());
            all.sort_unstable();
            for _ in 0..20 {
                let (first, last) = (random.random_range(-3..80), random.random_range(-3..80));
                let within: Vec<_> = all.iter().filter(|(time, _)| (first..=last).contains(time)).copied().collect();
                let mut found: Vec<_> = runs.between(first, last).copied().collect();
                found.sort_unstable();
                assert_eq!(found, within, "seed {seed}");
                assert_eq!(runs.count(first, last), within.len(), "seed {seed}");
                let odd = |row: u32| row % 2 == 1;
                let some: Vec<_> = within.into_iter().filter(|(_, row)| odd(*row)).collect();
                let at = |time: Option<&(i64, u32)>| -> Vec<_> {
                    some.iter().filter(|(of, _)| time.is_some_and(|(time, _)| time == of)).copied().collect()
                };
                let sorted = |mut rows: Vec<(i64, u32)>| {
                    rows.sort_unstable();
                    rows
                };
                assert_eq!(sorted(runs.earliest(first, last, odd)), at(some.first()), "seed {seed}");
                assert_eq!(sorted(runs.latest(first, last, odd)), at(some.last()), "seed {seed}");
            }
        }
    }
}
