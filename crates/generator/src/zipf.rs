//! Popularity: the item of rank k is drawn about 1 in k as often as the first. A table of integer sums, because powers
//! and logarithms of floats differ between machines.

use crate::dice::Dice;

/// A prime above any count of items: multiplying by it visits each once.
const SPREAD: u64 = 4_294_967_291;

pub(crate) struct Zipf {
    /// Up to and with each rank, the sum of the weights.
    sums: Vec<u64>,
    total: u64,
}

impl Zipf {
    /// Weights `1 / (rank + flat)`, rank from 1: the greater `flat`, the more equal the first ranks.
    pub(crate) fn new(items: u32, flat: u64) -> Self {
        let mut total = 0;
        let sums = (1..=u64::from(items)).map(|rank| {
            total += (1 << 40) / (rank + flat);
            total
        });
        Self { sums: sums.collect(), total }
    }

    /// An item from 0 to `items` - 1. Neighbours in number are no neighbours in popularity.
    pub(crate) fn draw(&self, dice: &mut Dice) -> u32 {
        let at = dice.below(self.total);
        let rank = self.sums.partition_point(|&sum| sum <= at) as u64;
        (rank * SPREAD % self.sums.len() as u64) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Stream;

    #[test]
    fn the_second_is_half_as_popular_and_every_item_is_drawn() {
        let (zipf, mut dice) = (Zipf::new(100, 0), Dice::new(1, Stream::Pages));
        let mut drawn = [0_u32; 100];
        (0..200_000).for_each(|_| drawn[zipf.draw(&mut dice) as usize] += 1);
        drawn.sort_unstable_by(|a, b| b.cmp(a));
        let ratio = f64::from(drawn[0]) / f64::from(drawn[1]);
        assert!((1.9..2.1).contains(&ratio), "{ratio}");
        assert!(drawn[99] > 0);
    }
}
