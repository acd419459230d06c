//! A real Apache Kafka for the tests of any crate.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

/// The `host:port` of the broker that `RESCAN_TEST_KAFKA` names, or of one that starts now and ends with this process.
/// `None` where neither is to be had: the test then passes, and says loudly that it did nothing; but with
/// `RESCAN_TEST_REQUIRE_KAFKA=1` it fails.
pub fn broker() -> Option<&'static str> {
    static BROKER: OnceLock<Result<String, String>> = OnceLock::new();
    let broker = BROKER.get_or_init(|| match std::env::var("RESCAN_TEST_KAFKA") {
        Ok(address) if !address.is_empty() => Ok(address),
        _ => start(),
    });
    match broker {
        Ok(address) => Some(address),
        Err(why) if std::env::var("RESCAN_TEST_REQUIRE_KAFKA").is_ok_and(|v| v == "1") => panic!("no Kafka: {why}"),
        Err(why) => {
            let test = std::thread::current();
            let line = format!("SKIPPED {}: {why}\n", test.name().unwrap_or("a Kafka test"));
            // Not `eprintln!`, which the test runner swallows when the test passes.
            std::io::stderr().write_all(line.as_bytes()).unwrap();
            None
        }
    }
}

/// The URI of a topic that nobody has used before, not yet created; `None` as [`broker`].
pub fn new_topic() -> Option<String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    let topic = format!("test-{now}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    broker().map(|address| format!("kafka://{address}/{topic}"))
}

fn start() -> Result<String, String> {
    // Where the test runs, not where it was compiled: checkouts share a target directory.
    let here = std::env::current_dir().map_err(|e| format!("the folder of the test: {e}"))?;
    let mut above = here.ancestors();
    let script = above.find_map(|dir| dir.join("crates/connector/kafka/kafka.sh").canonicalize().ok());
    let mut command = Command::new(script.ok_or("kafka.sh is not where it was")?);
    command.arg("run").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut run = command.spawn().map_err(|e| format!("kafka.sh: {e}"))?;
    let mut address = String::new();
    let out = run.stdout.take().ok_or("kafka.sh without output")?;
    BufReader::new(out).read_line(&mut address).map_err(|e| format!("kafka.sh: {e}"))?;
    if address.is_empty() {
        let mut why = String::new();
        run.stderr.take().map(|mut err| err.read_to_string(&mut why));
        return Err(why.trim().to_owned());
    }
    // The broker lives as long as our end of its standard input, which the system closes however this process ends.
    std::mem::forget(run);
    Ok(address.trim().to_owned())
}
