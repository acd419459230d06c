//! Damage to sealed hours: whoever reads them names the file, and nothing is made of it.

use std::fs;
use std::path::PathBuf;

use super::dice::Dice;
use super::errors::{JOIN, STREAM, demo, failed};
use super::workdir::{Workdir, walk};

/// The data files and `_SUCCESS` files below a directory.
fn sealed(dir: &Workdir, of: &str) -> Vec<PathBuf> {
    let mut files = walk(&dir.path(of));
    files.retain(|file| !file.components().any(|part| part.as_os_str() == "_rescan"));
    files.sort();
    files
}

/// Every way to read an archive or an output.
fn readers() -> Vec<&'static str> {
    vec![
        JOIN,
        "join --replay --in impressions=archive/impressions --in plays=archive/plays --out out",
        "ingest --in archive/plays --where video_id>0 --out out",
        "aggregate --in impressions=archive/impressions --in plays=archive/plays --out out",
        "attribute --in impressions=archive/impressions --in plays=archive/plays --out out",
        "stratify --in archive/plays --size 9 --out out",
        "merge archive/plays kept/plays --out out",
        "join --in impressions=kept/impressions --in plays=kept/plays --side facts=archive/plays --side-key facts=request_id --out out",
        "reconcile --batch archive/plays --stream kept/plays",
        "reconcile --batch kept/plays --stream archive/plays",
        "inspect archive/plays --verify",
        "inspect archive/plays",
    ]
}

/// An archive, and another of the same that stays as it is.
fn archives() -> Workdir {
    let dir = demo();
    let copied = std::process::Command::new("cp").args(["-a", "archive", "kept"]).current_dir(dir.path("")).status();
    assert!(copied.unwrap().success());
    dir
}

#[test]
fn one_flipped_byte_is_seen_by_every_reader() {
    let dir = archives();
    let seed = 11;
    println!("seed {seed}");
    let mut dice = Dice(seed);
    let files = sealed(&dir, "archive/plays");
    let data: Vec<&PathBuf> = files.iter().filter(|file| file.extension().is_some()).collect();
    let seals: Vec<&PathBuf> = files.iter().filter(|file| file.ends_with("_SUCCESS")).collect();
    let readers = readers();
    for flip in 0..40 + 10 {
        let files = if flip < 40 { &data } else { &seals };
        let file = files[dice.below(files.len() as u64) as usize];
        let whole = fs::read(file).unwrap();
        let (at, bit) = (dice.below(whole.len() as u64) as usize, 1 << dice.below(8));
        let mut flipped = whole.clone();
        flipped[at] ^= bit;
        fs::write(file, &flipped).unwrap();
        // Each flip through three ways of reading, every way thirteen times or more.
        for reader in 0..3 {
            let line = readers[(flip * 3 + reader) % readers.len()];
            println!("flip {flip}, byte {at} of {}: {line}", file.display());
            let ran = dir.run(line);
            assert_eq!(ran.code, Some(65), "{}{}", ran.out, ran.err);
            let name = file.file_name().unwrap().to_str().unwrap();
            assert!(ran.err.contains(name) && !ran.err.contains("panic"), "{name} is not named: {}", ran.err);
            let made = walk(&dir.path("out")).into_iter().filter(|file| file.ends_with("_SUCCESS")).count();
            assert_eq!(made, 0, "{line} made something of it");
            fs::remove_dir_all(dir.path("out")).ok();
        }
        fs::write(file, whole).unwrap();
    }
    for line in readers {
        let ran = dir.run(line);
        assert_eq!(ran.code, Some(0), "{line}: {}", ran.err);
        fs::remove_dir_all(dir.path("out")).ok();
    }
}

type Damage = (&'static str, fn(&PathBuf), &'static str);

/// What somebody does to a file of a sealed hour, and what is said of it.
const DAMAGES: [Damage; 6] = [
    ("deleted", |part| fs::remove_file(part).unwrap(), "is gone"),
    ("cut", |part| fs::write(part, &fs::read(part).unwrap()[..99]).unwrap(), "has 99 bytes"),
    ("edited", |part| flip(part, 40), "has checksum"),
    (
        "edited, and its time set back",
        |part| {
            let then = fs::metadata(part).unwrap().modified().unwrap();
            flip(part, 40);
            fs::File::options().write(true).open(part).unwrap().set_modified(then).unwrap();
        },
        "has checksum",
    ),
    ("another in its place", |part| replace(part), "has checksum"),
    ("its _SUCCESS edited", |part| flip(&part.with_file_name("_SUCCESS"), 99), "_SUCCESS"),
];

fn flip(file: &PathBuf, at: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[at] ^= 1;
    fs::write(file, bytes).unwrap();
}

/// By renaming, with the time of the former.
fn replace(file: &PathBuf) {
    let other = file.with_file_name("_other");
    fs::copy(file, &other).unwrap();
    flip(&other, 40);
    let then = fs::metadata(file).unwrap().modified().unwrap();
    fs::File::options().write(true).open(&other).unwrap().set_modified(then).unwrap();
    fs::rename(other, file).unwrap();
}

fn part(dir: &Workdir) -> PathBuf {
    let files = sealed(dir, "out/dt=2016-11-07/hr=01").into_iter();
    files.into_iter().find(|file| file.extension().is_some()).unwrap()
}

#[test]
fn a_batch_run_makes_a_damaged_hour_again_and_says_so() {
    let dir = demo();
    dir.ok(JOIN);
    let whole = dir.parts("out");
    for (name, damage, said) in DAMAGES {
        println!("{name}");
        damage(&part(&dir));
        let found = dir.run("inspect out");
        assert!(found.code == Some(65) && found.err.contains(said), "{name}: {}", found.err);
        let other = dir.ok(&format!("{JOIN} --hour 2016-11-07T00"));
        assert!(other.err.contains(said) && other.err.contains("make hour 2016-11-07T01 again"), "{}", other.err);
        let again = dir.ok(JOIN);
        let told = format!("{said}|2016-11-07T01 is made again");
        assert!(told.split('|').all(|said| again.err.contains(said)), "{name}: {}", again.err);
        assert!(dir.parts("out") == whole, "{name}");
        assert!(dir.ok(JOIN).err.contains("up to date"), "{name}");
        dir.ok("inspect out --verify");
    }
    // A sample is one thing: a damaged hour of it draws all of it again.
    let sample = "stratify --in archive/plays --size 20 --out out";
    fs::remove_dir_all(dir.path("out")).unwrap();
    dir.ok(sample);
    let whole = dir.parts("out");
    flip(&part(&dir), 40);
    assert!(dir.ok(sample).err.contains("has checksum") && dir.parts("out") == whole);
}

#[test]
fn a_stream_names_a_damaged_hour_and_stops() {
    let dir = demo();
    for (name, damage, said) in DAMAGES {
        dir.ok(STREAM);
        let file = part(&dir);
        damage(&file);
        for line in [STREAM.to_owned(), format!("{STREAM} --dry-run")] {
            println!("{name}: {line}");
            let next = "restore it, or start over with another --out";
            failed(&dir.run(&line), 65, &["out/dt=2016-11-07/hr=01/", said, next]);
        }
        let found = dir.run("inspect out");
        assert!(found.code == Some(65) && found.err.contains(said), "{name}: {}", found.err);
        fs::remove_dir_all(dir.path("out")).unwrap();
    }
    dir.ok(STREAM);
    fs::remove_file(part(&dir).with_file_name("_SUCCESS")).unwrap();
    failed(&dir.run(STREAM), 65, &["out/dt=2016-11-07/hr=01/_SUCCESS is gone", "restore it"]);
}

/// Old hours may be deleted; one between others, or the last one, is missed.
#[test]
fn a_stream_misses_an_hour_that_is_gone() {
    let dir = Workdir::new();
    dir.archive("--hours 4 --impressions-per-hour 100");
    dir.ok(STREAM);
    let hours: Vec<PathBuf> = (0..4).map(|hour| dir.path(&format!("out/dt=2016-11-07/hr=0{hour}"))).collect();
    for hour in [1, 2, 3] {
        fs::rename(&hours[hour], dir.path("gone")).unwrap();
        failed(&dir.run(STREAM), 65, &[&format!("out/dt=2016-11-07/hr=0{hour} is gone"), "restore it"]);
        fs::rename(dir.path("gone"), &hours[hour]).unwrap();
    }
    fs::remove_dir_all(&hours[0]).unwrap();
    assert!(dir.ok(STREAM).err.contains("up to date"));
}

/// A copy has later times than its `_SUCCESS`: it is read once, and then known.
#[test]
fn a_copy_of_an_output_is_as_good_as_it() {
    let dir = demo();
    for line in [JOIN, STREAM] {
        dir.ok(line);
        fs::rename(dir.path("out"), dir.path("former")).unwrap();
        let copied = std::process::Command::new("cp").args(["-r", "former", "out"]).current_dir(dir.path("")).status();
        assert!(copied.unwrap().success());
        let part = part(&dir);
        fs::copy(&part, dir.path("copy")).unwrap();
        fs::rename(dir.path("copy"), &part).unwrap();
        assert!(dir.ok(line).err.contains("up to date"));
        let known = dir.read("out/_rescan/checked.json");
        assert!(known.contains(part.file_name().unwrap().to_str().unwrap()), "{known}");
        dir.ok(line);
        dir.ok("inspect out");
        flip(&part, 40);
        let found = dir.run("inspect out");
        assert!(found.code == Some(65) && found.err.contains("has checksum"), "{}", found.err);
        ["out", "former"].iter().for_each(|out| fs::remove_dir_all(dir.path(out)).unwrap());
    }
}

/// A `_SUCCESS` of an older rescan does not vouch for itself, and is read and continued.
#[test]
fn an_output_of_an_older_rescan_is_continued() {
    let dir = demo();
    for line in [JOIN, STREAM] {
        dir.ok(line);
        for file in sealed(&dir, "out").into_iter().chain(sealed(&dir, "archive")) {
            if file.ends_with("_SUCCESS") {
                let lines = fs::read_to_string(&file).unwrap();
                let older: Vec<&str> =
                    lines.lines().filter(|line| !line.contains("\"checksum\": \"xxh3-128:")).collect();
                assert_eq!(older.len() + 1, lines.lines().count());
                fs::write(&file, older.join("\n") + "\n").unwrap();
            }
        }
        assert!(dir.ok(line).err.contains("up to date"), "{line}");
        dir.ok("inspect out");
        fs::remove_dir_all(dir.path("out")).unwrap();
        fs::remove_dir_all(dir.path("archive")).unwrap();
        dir.archive("--hours 2 --impressions-per-hour 300");
    }
}

/// An hour whose directory is gone, or only its `_SUCCESS`, is not one that never was.
#[test]
fn a_sealed_hour_that_is_gone_is_seen_by_inspect_and_by_a_run() {
    let dir = Workdir::new();
    dir.archive("--hours 3 --impressions-per-hour 100");
    for line in [JOIN, STREAM] {
        dir.ok(line);
        let hour = |hour: usize| format!("out/dt=2016-11-07/hr=0{hour}");
        for (gone, seen) in [(0, false), (1, true), (2, true)] {
            fs::rename(dir.path(&hour(gone)), dir.path("gone")).unwrap();
            for flag in ["", " --verify", " --json"] {
                let ran = dir.run(&format!("inspect out{flag}"));
                let said = ran.code == Some(65) && ran.err.contains(&format!("{} is gone: restore it", hour(gone)));
                assert!(if seen { said } else { ran.code == Some(0) }, "{line}: {gone}{flag}: {}", ran.err);
            }
            fs::rename(dir.path("gone"), dir.path(&hour(gone))).unwrap();
            let seal = dir.path(&hour(gone)).join("_SUCCESS");
            fs::rename(&seal, dir.path("seal")).unwrap();
            let ran = dir.run("inspect out --verify");
            let said = ran.err.contains(&format!("{}/_SUCCESS is gone: restore it", hour(gone)));
            assert!(ran.code == Some(65) && said, "{line}: {gone}: {}", ran.err);
            fs::rename(dir.path("seal"), &seal).unwrap();
            dir.ok("inspect out --verify");
        }
        if line == JOIN {
            fs::rename(dir.path(&hour(1)), dir.path("gone")).unwrap();
            let other = dir.ok(&format!("{JOIN} --hour 2016-11-07T00"));
            let said = "hr=01 is gone: restore it, or make hour 2016-11-07T01 again";
            assert!(other.err.contains(said), "{}", other.err);
            assert!(dir.ok(JOIN).err.contains("hr=01 is gone: hour 2016-11-07T01 is made again"));
            assert!(dir.ok(JOIN).err.contains("up to date"));
            fs::remove_dir_all(dir.path("gone")).unwrap();
        }
        fs::remove_dir_all(dir.path("out")).unwrap();
    }
}

/// Equal rows do not make up for a `_SUCCESS` that is gone.
#[test]
fn reconcile_names_an_hour_that_lost_its_success() {
    let dir = demo();
    dir.ok(&format!("{JOIN} --type full").replace("--out out", "--out batch"));
    dir.ok(&format!("{JOIN} --type full").replace("--out out", "--out again"));
    dir.ok(&STREAM.replace("--out out", "--out stream"));
    for (out, code) in [("batch", 66), ("again", 66), ("stream", 65)] {
        for hour in ["00", "01"] {
            let seal = dir.path(&format!("{out}/dt=2016-11-07/hr={hour}/_SUCCESS"));
            fs::rename(&seal, dir.path("seal")).unwrap();
            let said = if code == 66 {
                format!("{out}: hour 2016-11-07T{hour} is not sealed")
            } else {
                format!("hr={hour}/_SUCCESS is gone")
            };
            let stream = if out == "batch" { "stream" } else { out };
            failed(&dir.run(&format!("reconcile --batch batch --stream {stream}")), code, &[&said, "restore"]);
            fs::rename(dir.path("seal"), &seal).unwrap();
            dir.ok(&format!("reconcile --batch batch --stream {stream}"));
        }
    }
}
