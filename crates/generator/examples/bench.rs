use generator::*;
struct Null;
impl Sink for Null {
    fn row(&mut self, e: &Event, p: u32) -> anyhow::Result<()> {
        std::hint::black_box((e, p));
        Ok(())
    }
    fn malformed(&mut self, _: &Event, _: u32, _: &[u8]) -> anyhow::Result<()> {
        Ok(())
    }
}
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let plan = Plan {
        format: if a[1] == "parquet" { Format::Parquet } else { Format::Json },
        start_ms: 1_795_132_800_000,
        hours: a[2].parse().unwrap(),
        impressions_per_hour: a[3].parse().unwrap(),
        seed: 7,
        late: 0.02,
        duplicates: 0.01,
        malformed: 0.001,
        plays_share: 0.08,
        without_impression: 0.05,
        other_region: 0.05,
        profiles: None,
        videos: None,
        watermark_delay_ms: 1_800_000,
        partitions: 1,
    };
    let t = std::time::Instant::now();
    let mut n = 0;
    let truth = if a[1] == "null" {
        generate(&plan, &mut Null, |r| n = r).unwrap()
    } else {
        write(&plan, a[4].as_ref(), |r| n = r).unwrap().unwrap()
    };
    let rows = truth.impressions.lines + truth.plays.counts.lines;
    let s = t.elapsed().as_secs_f64();
    let peak = std::fs::read_to_string("/proc/self/status")
        .unwrap()
        .lines()
        .find(|l| l.starts_with("VmHWM"))
        .unwrap()
        .to_owned();
    println!(
        "{rows} rows in {s:.2} s = {:.0} rows/s; {peak}\n{}",
        rows as f64 / s,
        serde_json::to_string(&truth).unwrap()
    );
}
