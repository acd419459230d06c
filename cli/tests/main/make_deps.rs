//! Make and `--make-deps`: replacing an input hour makes exactly the hours again that are made of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::errors::failed;
use super::workdir::Workdir;

const MAKEFILE: &str = "\
HOURS := $(foreach hour,00 01 02 03 04,dt=2016-11-07/hr=$(hour))

all: $(HOURS:%=joined/%/_SUCCESS)

joined/%/_SUCCESS: archive/impressions/%/_SUCCESS archive/plays/%/_SUCCESS
\t$(RESCAN) join --in impressions=archive/impressions --in plays=archive/plays --out joined --within 1h \\
\t  --hour $(subst /hr=,T,$(patsubst dt=%,%,$*)) --make-deps deps/$(subst /,-,$*).mk

-include $(wildcard deps/*.mk)
";

fn make(dir: &Workdir) -> String {
    let mut command = Command::new("make");
    command.arg("--jobs=2").arg(format!("RESCAN={}", env!("CARGO_BIN_EXE_rescan"))).current_dir(dir.path(""));
    let ran = command.output().unwrap();
    let said = String::from_utf8([ran.stdout, ran.stderr].concat()).unwrap();
    assert!(ran.status.success(), "{said}");
    said
}

/// The hours that a run of Make has made.
fn made(said: &str) -> Vec<&str> {
    let mut hours: Vec<&str> = ["00", "01", "02", "03", "04"]
        .into_iter()
        .filter(|hour| said.contains(&format!("--hour 2016-11-07T{hour} ")))
        .collect();
    hours.sort_unstable();
    hours
}

fn copied(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

#[test]
fn replacing_an_input_hour_makes_what_is_made_of_it() {
    let dir = Workdir::new();
    dir.archive("--hours 5 --impressions-per-hour 200 --malformed 0 --seed 8");
    fs::rename(dir.path("archive"), dir.path("other")).unwrap();
    fs::remove_dir_all(dir.path("raw")).unwrap();
    dir.archive("--hours 5 --impressions-per-hour 200 --malformed 0");
    dir.write("Makefile", MAKEFILE);
    assert_eq!(made(&make(&dir)), ["00", "01", "02", "03", "04"]);
    assert_eq!(made(&make(&dir)), [""; 0]);
    for (input, hour, makes) in
        [("impressions", "01", &["01", "02"][..]), ("impressions", "04", &["04"]), ("plays", "02", &["02"])]
    {
        let place = format!("{input}/dt=2016-11-07/hr={hour}");
        copied(&dir.path(&format!("other/{place}")), &dir.path(&format!("archive/{place}")));
        assert_eq!(made(&make(&dir)), makes, "{place}");
        assert_eq!(made(&make(&dir)), [""; 0], "{place}");
        let join = "join --in impressions=archive/impressions --in plays=archive/plays --within 1h --out clean";
        dir.ok(join);
        let same: BTreeMap<_, _> = dir.parts("clean");
        assert!(dir.parts("joined") == same, "{place}");
        fs::remove_dir_all(dir.path("clean")).unwrap();
    }
    // An input hour that has expired leaves what was made of it.
    fs::remove_dir_all(dir.path("archive/impressions/dt=2016-11-07/hr=00")).unwrap();
    dir.write("Makefile", MAKEFILE.replace(",00 01", ",01"));
    assert_eq!(made(&make(&dir)), [""; 0]);
}

#[test]
fn a_stream_has_no_such_hours() {
    let dir = Workdir::new();
    dir.generate("--hours 1 --impressions-per-hour 50");
    let ran = dir.run("ingest --in raw/plays.jsonl --schema plays --make-deps plays.mk --out out");
    failed(&ran, 2, &["--make-deps is for batch runs"]);
}
