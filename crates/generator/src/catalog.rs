//! The made-up world: countries, regions, devices, the rows of a page, and which of them a profile belongs to.

/// A country: its code, and the index of the region that serves it.
pub(crate) struct Country {
    pub(crate) code: &'static str,
    pub(crate) region: u8,
    /// In 100 profiles.
    weight: u64,
}

pub(crate) const COUNTRIES: [Country; 13] = [
    country("US", 0, 30),
    country("BR", 0, 10),
    country("GB", 2, 9),
    country("MX", 1, 8),
    country("DE", 2, 7),
    country("FR", 2, 7),
    country("IN", 2, 6),
    country("CA", 1, 5),
    country("JP", 1, 5),
    country("ES", 2, 4),
    country("AU", 1, 3),
    country("KR", 1, 3),
    country("PL", 2, 3),
];

pub(crate) const REGIONS: [&str; 3] = ["us-east-1", "us-west-2", "eu-west-1"];

/// A kind of device, and how long its client collects events before it sends them.
pub(crate) struct Device {
    pub(crate) name: &'static str,
    pub(crate) flush_ms: u64,
    /// In 100 profiles.
    weight: u64,
}

pub(crate) const DEVICES: [Device; 4] =
    [device("tv", 30_000, 55), device("phone", 15_000, 22), device("web", 5_000, 13), device("tablet", 20_000, 10)];

/// The rows of a page, from the top.
pub(crate) const ROWS: [&str; 12] = [
    "Continue Watching",
    "Trending Now",
    "Top 10 Today",
    "Because You Watched",
    "New Releases",
    "My List",
    "Popular",
    "Only Here",
    "Watch It Again",
    "Award Winners",
    "Documentaries",
    "Bingeworthy Series",
];

/// The country and the usual device of a profile, as indices: the same whenever it is asked for.
pub(crate) fn traits(seed: u64, profile: u32) -> (u8, u8) {
    let bits = mix(seed ^ u64::from(profile) << 20);
    let country = pick(bits % 100, COUNTRIES.iter().map(|country| country.weight));
    let device = pick(bits / 100 % 100, DEVICES.iter().map(|device| device.weight));
    (country, device)
}

/// The index at which the weights, added up, pass `at`.
fn pick(at: u64, weights: impl Iterator<Item = u64>) -> u8 {
    let mut sum = 0;
    let before = weights.take_while(|weight| {
        sum += weight;
        sum <= at
    });
    before.count() as u8
}

/// The finaliser of SplitMix64.
fn mix(bits: u64) -> u64 {
    let bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

const fn country(code: &'static str, region: u8, weight: u64) -> Country {
    Country { code, region, weight }
}

const fn device(name: &'static str, flush_ms: u64, weight: u64) -> Device {
    Device { name, flush_ms, weight }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_spread_over_countries_and_devices_by_weight() {
        let (mut countries, mut devices) = ([0_u64; 13], [0_u64; 4]);
        for profile in 0..100_000 {
            let (country, device) = traits(7, profile);
            countries[usize::from(country)] += 1;
            devices[usize::from(device)] += 1;
        }
        let near = |count: u64, weight: u64| count.abs_diff(weight * 1000) < 400;
        assert!(countries.iter().zip(&COUNTRIES).all(|(&n, country)| near(n, country.weight)), "{countries:?}");
        assert!(devices.iter().zip(&DEVICES).all(|(&n, device)| near(n, device.weight)), "{devices:?}");
    }
}
