//! Regions: each ingests alone, their archives merge, and nothing shows that there were several.

use std::collections::BTreeMap;

use serde_json::Value;

use super::workdir::Workdir;

/// Events split over three regions by a hash of a column; an event in ten is in two regions. By their id, most plays are
/// apart from their impressions.
pub fn regions(dir: &Workdir, name: &str, by: &str) {
    let mut lines: BTreeMap<usize, String> = BTreeMap::new();
    for line in dir.read(&format!("raw/{name}.jsonl")).lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let sum: usize = event[by].to_string().bytes().map(usize::from).sum();
        let mut of = vec![sum % 3];
        of.extend(sum.is_multiple_of(10).then_some((sum + 1) % 3));
        of.into_iter().for_each(|region| *lines.entry(region).or_default() += &format!("{line}\n"));
    }
    assert_eq!(lines.len(), 3);
    for (region, lines) in lines {
        dir.write(&format!("{name}-{region}.jsonl"), lines);
        dir.ok(&format!(
            "ingest --in {name}-{region}.jsonl --schema {name} --watermark-delay 4h --out region-{region}/{name}"
        ));
    }
}

#[test]
fn regions_merged_are_one_region() {
    let dir = Workdir::new();
    dir.generate("--hours 3 --impressions-per-hour 2000 --late 0 --malformed 0");
    for name in ["impressions", "plays"] {
        dir.ok(&format!("ingest --in raw/{name}.jsonl --schema {name} --watermark-delay 4h --out whole/{name}"));
        regions(&dir, name, "event_id");
        let archives = [0, 1, 2].map(|region| format!("region-{region}/{name}"));
        let [a, b, c] = &archives;
        dir.ok(&format!("merge {a} {b} {c} --out merged/{name}"));
        // Commutative, associative, idempotent: to the byte.
        let merged = dir.parts(&format!("merged/{name}"));
        dir.ok(&format!("merge {c} {a} {b} --out turned/{name}"));
        assert!(dir.parts(&format!("turned/{name}")) == merged, "{name}: another order");
        dir.ok(&format!("merge {b} {c} --out two/{name}"));
        dir.ok(&format!("merge {a} two/{name} --out grouped/{name}"));
        assert!(dir.parts(&format!("grouped/{name}")) == merged, "{name}: another grouping");
        dir.ok(&format!("merge merged/{name} merged/{name} {b} --out again/{name}"));
        assert!(dir.parts(&format!("again/{name}")) == merged, "{name}: again");
        for regions in [[a, b, c], [c, a, b]] {
            let [a, b, c] = regions;
            assert!(dir.ok(&format!("merge {a} {b} {c} --out merged/{name}")).err.contains("up to date"));
        }
    }
    for (other, code) in [("nowhere", 66), ("raw/plays.jsonl", 66), ("merged/plays", 2)] {
        for archives in [format!("merged/impressions {other}"), format!("{other} merged/impressions")] {
            let ran = dir.run(&format!("merge {archives} --schema impressions --out wrong"));
            assert_eq!(ran.code, Some(code), "{archives}: {}", ran.err);
        }
    }
    for command in ["attribute --model last,linear", "join --type full", "aggregate"] {
        let [whole, merged] = ["whole", "merged"].map(|archive| {
            let out = format!("{archive}-{}", command.split(' ').next().unwrap());
            let inputs = format!("--in impressions={archive}/impressions --in plays={archive}/plays");
            dir.ok(&format!("{command} {inputs} --out {out}"));
            out
        });
        let same = dir.run(&format!("reconcile --batch {whole} --stream {merged}"));
        assert!(same.code == Some(0) && same.err.contains(" 0 differences"), "{command}: {}", same.err);
    }
    // One region alone knows too little.
    let alone = "--in impressions=region-0/impressions --in plays=region-0/plays --out alone";
    dir.ok(&format!("attribute {alone}"));
    let attributed = |out: &str| dir.rows(out).iter().filter(|row| !row["impression_event_id"].is_null()).count();
    assert!(attributed("alone") < attributed("whole-attribute") / 2);
}

/// Sources of one name in two regions, hours apart: named, each keeps its own time.
#[test]
fn a_merged_archive_is_replayed_as_its_regions_were() {
    let dir = Workdir::new();
    for (region, start) in [("us", "00"), ("eu", "05")] {
        let flags = "--hours 2 --impressions-per-hour 1000 --late 0 --duplicates 0 --malformed 0";
        dir.ok(&format!("generate --start 2016-11-07T{start} {flags} --to raw-{region}"));
        for name in ["impressions", "plays"] {
            dir.ok(&format!("ingest --in raw-{region}/{name}.jsonl --schema {name} --out {region}/{name}"));
        }
    }
    for name in ["impressions", "plays"] {
        dir.ok(&format!("merge us/{name} eu/{name} --allow-incomplete --out nameless/{name}"));
        dir.ok(&format!("merge us=us/{name} eu=eu/{name} --allow-incomplete --out merged/{name}"));
        dir.ok(&format!("merge eu=eu/{name} us=us/{name} --allow-incomplete --out turned/{name}"));
        assert!(dir.parts(&format!("merged/{name}")) == dir.parts(&format!("turned/{name}")));
    }
    let join = |of: &str, flags: &str, out: &str| {
        dir.run(&format!("join --in impressions={of}/impressions --in plays={of}/plays {flags} --out {out}"))
    };
    assert_eq!(join("merged", "", "batch").code, Some(0));
    let replayed = join("merged", "--replay", "stream");
    assert_eq!(replayed.code, Some(0), "{}", replayed.err);
    let ledger = dir.ledger("stream");
    assert!(ledger["impressions"]["read"].as_u64() > Some(1900), "{ledger}");
    assert_eq!((&ledger["impressions"]["late"], &ledger["plays"]["late"]), (&0.into(), &0.into()), "{ledger}");
    let same = dir.run("reconcile --batch batch --stream stream");
    assert!(same.code == Some(0) && same.err.contains(" 0 differences"), "{}", same.err);
    let refused = join("nameless", "--replay", "wrong");
    assert!(refused.code == Some(65) && refused.err.contains("merge them as us=… eu=…"), "{}", refused.err);
    for (words, why) in
        [("us=us/plays us=eu/plays", "another region has this name"), ("a=batch b=stream", "an archive")]
    {
        let refused = dir.run(&format!("merge {words} --out wrong"));
        assert!(refused.code == Some(2) && refused.err.contains(why), "{words}: {}", refused.err);
    }
}

#[test]
fn a_region_that_is_behind_is_named() {
    let dir = Workdir::new();
    dir.archive("--hours 3 --impressions-per-hour 500");
    dir.ok("merge archive/plays archive/plays --to 2016-11-07T02 --out behind");
    let merged = dir.ok("merge archive/plays behind --out merged");
    assert!(
        merged.err.contains("2016-11-07T02 waits for ") && merged.err.contains("behind/2016-11-07T02"),
        "{}",
        merged.err
    );
    assert!(!dir.path("merged/dt=2016-11-07/hr=02").exists());
    dir.ok("merge archive/plays behind --out merged --to 2016-11-07T02");
    let strict = dir.run("merge archive/plays behind --out strict --from 2016-11-07T01 --to 2016-11-07T03");
    assert_eq!(strict.code, Some(66), "{}", strict.err);
}
