//! The binary on S3: what it makes of archives in a bucket is what it makes of them on disk.

use std::fs;

use super::workdir::Workdir;
use testkit::s3;

/// The flags that find the server.
fn flags(port: u16) -> String {
    let settings = ["region=us-east-1", "allow_http=true", "access_key_id=test", "secret_access_key=test"];
    let settings: String = settings.iter().map(|setting| format!(" --s3 {setting}")).collect();
    format!("--s3 endpoint=http://127.0.0.1:{port}{settings}")
}

#[test]
fn archives_in_a_bucket_give_the_bytes_that_archives_on_disk_give() {
    let Some((_, port)) = s3::bucket("whole-runs").zip(s3::port("whole runs")) else { return };
    let dir = Workdir::new();
    dir.archive("--hours 3 --impressions-per-hour 1000");
    for file in dir.files("archive") {
        s3::put(port, &format!("whole-runs/archive/{file}"), &fs::read(dir.path("archive").join(&file)).unwrap());
    }
    let disk = "--in impressions=archive/impressions --in plays=archive/plays";
    let bucket = disk.replace("=archive/", "=s3://whole-runs/archive/") + " " + &flags(port);
    for command in ["join --type full", "aggregate --by country", "join --replay --max-rows 500"] {
        dir.ok(&format!("{command} {disk} --out disk"));
        dir.ok(&format!("{command} {bucket} --out bucket"));
        assert!(!dir.parts("disk").is_empty() && dir.parts("bucket") == dir.parts("disk"), "{command}");
        assert!(dir.ok(&format!("{command} {bucket} --out bucket")).err.contains("up to date"), "{command}");
        ["disk", "bucket"].iter().for_each(|out| fs::remove_dir_all(dir.path(out)).unwrap());
    }
    dir.write(
        "videos.csv",
        "video_id,valid_from,genre\n80000000,2016-11-07T00:10:00Z,drama\n80000001,2016-11-07T01:30:00Z,news\n",
    );
    dir.ok("ingest --in videos.csv --schema infer --id video_id --time valid_from --watermark-delay 4h --out videos");
    for file in dir.files("videos") {
        s3::put(port, &format!("whole-runs/videos/{file}"), &fs::read(dir.path("videos").join(&file)).unwrap());
    }
    dir.ok(&format!("join {disk} --side videos=videos --out disk"));
    dir.ok(&format!("join {disk} --side videos=s3://whole-runs/videos {} --out bucket", flags(port)));
    assert!(!dir.parts("disk").is_empty() && dir.parts("bucket") == dir.parts("disk"));
    ["disk", "bucket"].iter().for_each(|out| fs::remove_dir_all(dir.path(out)).unwrap());
    let ingest = |input: &str, out: &str| format!("ingest --in {input} --dedup 2h {} --out {out}", flags(port));
    dir.ok(&ingest("archive/plays", "disk"));
    dir.ok(&ingest("s3://whole-runs/archive/plays", "bucket"));
    assert!(dir.parts("bucket") == dir.parts("disk"));
    let nothing = dir.run(&format!("ingest --in s3://whole-runs/raw {} --out nothing", flags(port)));
    assert_eq!(nothing.code, Some(66), "{}", nothing.err);
    assert!(nothing.err.contains("s3://whole-runs/raw has no hours"), "{}", nothing.err);
}
