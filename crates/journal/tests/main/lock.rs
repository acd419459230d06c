//! Two processes, one chain.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use journal::{JournalError, Lock};

const DIR: &str = "RESCAN_TEST_LOCK_DIR";

/// Run as a test it does nothing; run by the test below it holds the lock until it is killed.
#[test]
fn holder() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let _lock = Lock::acquire(dir.as_ref()).unwrap();
    println!("\nheld");
    std::io::stdin().lines().for_each(drop);
}

#[test]
fn a_killed_holder_holds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["main::lock::holder", "--exact", "--nocapture"])
        .env(DIR, dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(holder.stdout.take().unwrap());
    assert!(output.lines().any(|line| line.unwrap() == "held"));
    let error = Lock::acquire(dir.path()).unwrap_err();
    assert!(matches!(error, JournalError::Locked { .. }), "{error}");
    assert!(error.to_string().contains(&format!("process {} (", holder.id())), "{error}");
    assert!(error.to_string().contains("lock::holder") && !error.to_string().contains("--exact"), "{error}");
    holder.kill().unwrap();
    holder.wait().unwrap();
    Lock::acquire(dir.path()).unwrap();
}
