//! Seeded draws of integers. Each concern has a stream of its own, so that `--late` or `--malformed` change how events
//! arrive, and never the events.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What a stream of draws is for.
#[derive(Clone, Copy)]
pub(crate) enum Stream {
    Pages,
    Plays,
    Delivery,
    Late,
    Copies,
    Malformed,
}

pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    /// The seed goes into the cipher's key as it is: the crate's own way to spread a number may change.
    pub(crate) fn new(seed: u64, stream: Stream) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(stream as u64);
        Self(rng)
    }

    /// Evenly from 0 to `n` - 1; `n` must not be 0. The bias is below `n` in 2^64.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(n)) >> 64) as u64
    }

    /// From a distribution given by its quantiles in equal steps, evenly between two of them.
    pub(crate) fn among(&mut self, quantiles: &[u64]) -> u64 {
        let at = self.below(quantiles.len() as u64 - 1) as usize;
        quantiles[at] + self.below(quantiles[at + 1] - quantiles[at])
    }

    pub(crate) fn chance(&mut self, chance: Chance) -> bool {
        self.0.next_u64() >> 11 < chance.0
    }

    pub(crate) fn id(&mut self) -> u128 {
        u128::from(self.0.next_u64()) << 64 | u128::from(self.0.next_u64())
    }
}

/// A probability in steps of 2^-53.
#[derive(Clone, Copy)]
pub(crate) struct Chance(u64);

impl Chance {
    /// Exact for any `share` from 0 to 1: a product with a power of two does not round.
    pub(crate) fn of(share: f64) -> Self {
        Self((share * (1_u64 << 53) as f64) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_never_changes() {
        let draws = |stream| {
            let mut dice = Dice::new(7, stream);
            [dice.below(1000), dice.below(1000), dice.among(&[0, 10, 1000])]
        };
        assert_eq!([draws(Stream::Pages), draws(Stream::Late)], [[764, 465, 3], [662, 504, 52]]);
    }

    #[test]
    fn chances_are_met_and_their_ends_are_certain() {
        let mut dice = Dice::new(1, Stream::Plays);
        let mut of = |share| (0..100_000).filter(|_| dice.chance(Chance::of(share))).count();
        assert_eq!((of(0.0), of(1.0)), (0, 100_000));
        assert!((1_900..2_100).contains(&of(0.02)));
    }
}
