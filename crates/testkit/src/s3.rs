//! An S3 server for the tests of any crate: moto, on a free port, one for the whole binary.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use connector::Location;

/// It ends when its standard input does, which the kernel sees to however the tests end.
const SERVER: &str = "
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
";

struct Server {
    port: u16,
    _process: Child,
}

/// The port of the server, or none where there is no moto and `RESCAN_TEST_REQUIRE_S3` does not ask for it.
pub fn port(test: &str) -> Option<u16> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    let server = SERVER.get_or_init(start).as_ref();
    if server.is_none() {
        assert!(std::env::var_os("RESCAN_TEST_REQUIRE_S3").is_none(), "RESCAN_TEST_REQUIRE_S3: moto cannot be had");
        eprintln!("SKIPPED: {test} on S3: python3 with moto[server] cannot be had");
    }
    server.map(|s| s.port)
}

/// A place in an empty bucket of this name.
pub fn bucket(name: &str) -> Option<Location> {
    let port = port(name)?;
    put(port, name, &[]);
    Some(location(port, &format!("s3://{name}/events")))
}

/// Makes a bucket, `BUCKET`, or an object in one, `BUCKET/KEY`.
pub fn put(port: u16, path: &str, content: &[u8]) {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request = format!(
        "PUT /{path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        content.len()
    );
    connection.write_all(request.as_bytes()).unwrap();
    connection.write_all(content).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// `uri` on the server at a port of this machine.
pub fn location(port: u16, uri: &str) -> Location {
    let endpoint = format!("http://127.0.0.1:{port}");
    let options = [("endpoint", endpoint.as_str()), ("allow_http", "true"), ("region", "us-east-1")];
    let keys = [("access_key_id", "test"), ("secret_access_key", "test")];
    let options: BTreeMap<_, _> = options.iter().chain(&keys).map(|(k, v)| (k.to_string(), v.to_string())).collect();
    Location::parse(uri, &options).unwrap()
}

fn start() -> Option<Server> {
    let mut command = Command::new(python()?);
    let command = command.args(["-c", SERVER]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port = line.trim().parse().unwrap_or_else(|_| panic!("moto said {line:?} for its port"));
    Some(Server { port, _process: process })
}

/// A Python that can import moto: the machine's, else one of our own, made once.
fn python() -> Option<PathBuf> {
    let here = PathBuf::from("python3");
    if runs(&here, &["-c", "import moto.server"]) {
        return Some(here);
    }
    let venv = PathBuf::from(std::env::var_os("HOME")?).join(".cache/rescan/venv");
    let own = venv.join("bin/python3");
    if !runs(&own, &["-c", "import moto.server"]) {
        let made = runs(&here, &["-m", "venv", &venv.to_string_lossy()]);
        let _ = made && runs(&own, &["-m", "pip", "install", "--quiet", "moto[server]"]);
    }
    runs(&own, &["-c", "import moto.server"]).then_some(own)
}

fn runs(program: &PathBuf, arguments: &[&str]) -> bool {
    let command = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    command.is_ok_and(|status| status.success())
}
