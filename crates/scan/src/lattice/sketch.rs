//! The sketch that stands in for an id set where its size matters more than its last digits: Apache DataSketches'
//! HyperLogLog. Its union is a lattice as the set's is.

use datafusion::error::{DataFusionError, Result};
use datasketches::hll::{HllSketch, HllType, HllUnion};

/// 2^12 registers of a byte.
const LG_REGISTERS: u8 = 12;

/// The relative error that two of three estimates stay within: 1.04 / sqrt(2^12).
pub const RELATIVE_ERROR: f64 = 0.016_25;

/// Sketches begin with this, which no id set does: a set's number of ids is far below 2^63.
const MARK: [u8; 8] = *b"hll.....";

/// A sketch of a set of ids.
#[derive(Clone)]
pub(crate) struct Sketch(HllUnion);

impl std::fmt::Debug for Sketch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sketch(about {})", self.count())
    }
}

impl Sketch {
    pub(crate) fn new() -> Result<Sketch> {
        HllUnion::new(LG_REGISTERS).map(Sketch).map_err(broken)
    }

    pub(crate) fn insert(&mut self, id: u128) {
        self.0.update_value(id);
    }

    pub(crate) fn is_sketch(bytes: &[u8]) -> bool {
        bytes.starts_with(&MARK)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Sketch> {
        let mut sketch = Sketch::new()?;
        sketch.merge(bytes)?;
        Ok(sketch)
    }

    pub(crate) fn merge(&mut self, bytes: &[u8]) -> Result<()> {
        let body = bytes.strip_prefix(&MARK).ok_or_else(|| broken("not made by id_set(...) under --approx"))?;
        self.0.update(&HllSketch::deserialize(body).map_err(broken)?);
        Ok(())
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = MARK.to_vec();
        bytes.extend(self.0.to_sketch(HllType::Hll8).serialize());
        bytes
    }

    /// The estimate, rounded. The composite estimator depends on the registers alone and not on the order of updates.
    pub(crate) fn count(&self) -> u64 {
        self.0.composite_estimate().round() as u64
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.estimated_size()
    }

    /// The bounds of two standard deviations.
    #[cfg(test)]
    fn bounds(&self) -> (f64, f64) {
        use datasketches::common::NumStdDev::Two;
        (self.0.lower_bound(Two), self.0.upper_bound(Two))
    }
}

fn broken(why: impl std::fmt::Display) -> DataFusionError {
    DataFusionError::Execution(format!("no sketch: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_keep_their_promise_and_forget_the_order() {
        let mut up = Sketch::new().unwrap();
        let mut down = Sketch::new().unwrap();
        let hash = |n: u64| twox_hash::XxHash3_128::oneshot(&n.to_le_bytes());
        (0..50_000).for_each(|n| up.insert(hash(n)));
        (0..50_000).rev().for_each(|n| down.insert(hash(n)));
        assert_eq!(up.count(), down.count());
        assert!((up.count() as f64 / 50_000.0 - 1.0).abs() < 3.0 * RELATIVE_ERROR, "{}", up.count());
        let (low, high) = up.bounds();
        assert!(low < 50_000.0 && 50_000.0 < high);
        let mut again = Sketch::decode(&up.encode()).unwrap();
        again.merge(&down.encode()).unwrap();
        assert_eq!(again.count(), up.count());
    }
}
