//! What people do: they open a page, browse its rows, and play some of what they saw, seconds to hours later. A page of
//! impressions and the plays it leads to share a request id.

use crate::catalog::{COUNTRIES, DEVICES, REGIONS, ROWS, traits};
use crate::dice::{Chance, Dice, Stream};
use crate::event::{Detail, Event};
use crate::plan::{HOUR_MS, PAGE_MAX, PAGE_MIN, Plan};
use crate::zipf::Zipf;

/// From one impression to the next, milliseconds, in quantiles.
const GAP_MS: [u64; 7] = [40, 90, 160, 260, 420, 700, 1_500];
/// The longest that browsing a page can take.
const BROWSING_MAX_MS: u64 = PAGE_MAX * 1_500;
/// From an impression to its play, milliseconds: minutes for most, always within two hours.
const PLAY_MS: [u64; 17] = [
    3_000, 8_000, 15_000, 25_000, 40_000, 60_000, 90_000, 130_000, 180_000, 240_000, 330_000, 450_000, 620_000,
    900_000, 1_500_000, 3_000_000, 7_150_000,
];
/// How long a video is played, milliseconds.
const WATCHED_MS: [u64; 11] =
    [4_000, 30_000, 95_000, 310_000, 900_000, 1_350_000, 1_700_000, 2_500_000, 3_200_000, 5_400_000, 8_400_000];
const FIRST_PROFILE: u32 = 100_000_000;
const FIRST_VIDEO: u32 = 80_000_000;

pub(crate) struct Pages<'p> {
    plan: &'p Plan,
    profiles: Zipf,
    videos: Zipf,
    view: Dice,
    play: Dice,
    played: Chance,
    alone: Chance,
    elsewhere: Chance,
    /// Impressions shown so far, in this and all hours before.
    shown: u64,
}

impl<'p> Pages<'p> {
    pub(crate) fn new(plan: &'p Plan) -> Self {
        let profiles = plan.profiles();
        Self {
            plan,
            // Nobody browses a hundred times as much as everybody else.
            profiles: Zipf::new(profiles, u64::from(profiles) / 100),
            videos: Zipf::new(plan.videos(), 0),
            view: Dice::new(plan.seed, Stream::Pages),
            play: Dice::new(plan.seed, Stream::Plays),
            played: Chance::of(plan.plays_share),
            alone: Chance::of(plan.without_impression),
            elsewhere: Chance::of(plan.other_region),
            shown: 0,
        }
    }

    /// Fills in the next page, its impressions by rank and then its plays; answers a time that no event of this or a
    /// later page comes before, or `None` after the last.
    pub(crate) fn next(&mut self, page: &mut Vec<Event>) -> Option<u64> {
        page.clear();
        let (hour, shown) = (self.shown / self.plan.impressions_per_hour, self.shown % self.plan.impressions_per_hour);
        if hour == self.plan.hours {
            return None;
        }
        let size = self.size(self.plan.impressions_per_hour - shown);
        let begin = self.plan.start_ms + hour * HOUR_MS;
        let slot = |shown| {
            begin + (u128::from(shown) * u128::from(HOUR_MS) / u128::from(self.plan.impressions_per_hour)) as u64
        };
        let (open, close) = (slot(shown), slot(shown + size));
        let start = open + self.view.below((close - open).max(1));
        self.impressions(start, size, page);
        stay_within(begin + HOUR_MS, page);
        self.plays(page);
        self.shown += size;
        Some(open.saturating_sub(BROWSING_MAX_MS).max(begin))
    }

    /// How many impressions, so that no page crosses the hour and none is too small.
    fn size(&mut self, left: u64) -> u64 {
        let size = PAGE_MIN + self.view.below(PAGE_MAX - PAGE_MIN + 1);
        if left <= PAGE_MAX { left } else { size.min(left - PAGE_MIN) }
    }

    fn impressions(&mut self, start: u64, size: u64, page: &mut Vec<Event>) {
        let dice = &mut self.view;
        let profile = FIRST_PROFILE + self.profiles.draw(dice);
        let (country, usual) = traits(self.plan.seed, profile);
        let device = if dice.below(4) > 0 { usual } else { dice.below(DEVICES.len() as u64) as u8 };
        let (request, top, mut ts) = (dice.id(), dice.below(4) as u8, start);
        for rank in 1..=size as u8 {
            let video = unseen(&self.videos, dice, page);
            let row = (top + (rank - 1) / 5) % ROWS.len() as u8;
            let propensity = (200_000 + dice.below(800_001) as u32) / u32::from(rank);
            let region = COUNTRIES[usize::from(country)].region;
            let detail = Detail::Impression { row, rank, propensity };
            page.push(Event { id: dice.id(), request, ts, profile, video, country, device, region, detail });
            ts += dice.among(&GAP_MS);
        }
    }

    fn plays(&mut self, page: &mut Vec<Event>) {
        let size = page.len();
        for _ in 0..size {
            if self.play.chance(self.played) {
                let dice = &mut self.play;
                // The lesser of two draws: the top of a page is played more.
                let at = dice.below(size as u64).min(dice.below(size as u64)) as usize;
                let play = self.play_of(page[at]);
                page.push(play);
            }
        }
    }

    /// A play of the impression; or, now and then, one by the same profile that came from nowhere.
    fn play_of(&mut self, seen: Event) -> Event {
        let dice = &mut self.play;
        let (alone, elsewhere) = (dice.chance(self.alone), dice.chance(self.elsewhere));
        let request = if alone { dice.id() } else { seen.request };
        let video = if alone { FIRST_VIDEO + self.videos.draw(dice) } else { seen.video };
        let away = 1 + dice.below(REGIONS.len() as u64 - 1) as u8;
        let region = if elsewhere && !alone { (seen.region + away) % REGIONS.len() as u8 } else { seen.region };
        let left = self.plan.end_ms() - seen.ts;
        // What would fall behind the end is drawn into what is left: no event is outside the hours asked for.
        let (after, sooner) = (dice.among(&PLAY_MS), dice.below(left));
        let ts = seen.ts + if after < left { after } else { sooner };
        let detail = Detail::Play { duration: dice.among(&WATCHED_MS) as u32 };
        Event { id: dice.id(), request, ts, video, region, detail, ..seen }
    }
}

/// A video that is not on the page yet.
fn unseen(videos: &Zipf, dice: &mut Dice, page: &[Event]) -> u32 {
    loop {
        let video = FIRST_VIDEO + videos.draw(dice);
        if page.iter().all(|event| event.video != video) {
            return video;
        }
    }
}

/// Moves the page back in time where it would run past the end of its hour.
fn stay_within(end: u64, page: &mut [Event]) {
    let past = page.last().map_or(0, |last| (last.ts + 1).saturating_sub(end));
    page.iter_mut().for_each(|event| event.ts -= past);
}
