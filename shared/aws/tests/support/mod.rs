//! A moto server per test binary, SDK clients for it, and a table per test.
#![allow(dead_code, clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
use tidegate_aws::{Clients, Settings};

pub(crate) mod fixture;

/// A server that ends with its handle.
pub(crate) struct Server {
    child: Mutex<Child>,
    /// Where it listens.
    pub(crate) url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// Starts moto. Each test has its own process under nextest, and its own server.
pub(crate) fn moto() -> Server {
    let program = root().join(".venv/bin/python");
    assert!(
        program.is_file(),
        "{} is missing: run `make setup`",
        program.display()
    );
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let child = Command::new(program)
        .arg(root().join("tests/moto_server.py"))
        .args(["-H", "127.0.0.1", "-p", &port.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let server = Server {
        child: Mutex::new(child),
        url: format!("http://127.0.0.1:{port}"),
    };
    let until = Instant::now() + Duration::from_secs(90);
    while !answers(port) {
        assert!(Instant::now() < until, "moto does not answer");
        std::thread::sleep(Duration::from_millis(50));
    }
    server
}

fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let request = b"GET /moto-api/ HTTP/1.0\r\nHost: localhost\r\n\r\n";
    let mut start = [0; 12];
    stream.write_all(request).is_ok() && stream.read_exact(&mut start).is_ok()
}

/// Starts the emulator, its clock standing still; it must have been built.
pub(crate) fn sagemaker_local(moto: &Server) -> Server {
    sagemaker_local_with(moto, &[])
}

/// The same with more arguments, such as `--record FILE`.
pub(crate) fn sagemaker_local_with(moto: &Server, arguments: &[&str]) -> Server {
    let program = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root().join("target"), PathBuf::from)
        .join("debug/sagemaker-local");
    assert!(
        program.is_file(),
        "{} is missing: run `cargo build -p sagemaker-local`",
        program.display()
    );
    let mut child = Command::new(program)
        .args([
            "--speed",
            "0",
            "--start",
            "2026-01-01T00:00:00Z",
            "--port",
            "0",
        ])
        .args(["--aws-endpoint", &moto.url])
        .args(arguments)
        .current_dir(root())
        .env("TIDEGATE_PYTHON", root().join(".venv/bin/python"))
        .env("AWS_ACCESS_KEY_ID", "testing")
        .env("AWS_SECRET_ACCESS_KEY", "testing")
        .env("AWS_REGION", "us-east-1")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    // Kept open, so that the emulator never writes to a closed pipe.
    std::mem::forget(output);
    let url = line
        .split('"')
        .find(|part| part.starts_with("http://"))
        .unwrap_or_else(|| panic!("sagemaker-local did not say where it listens: {line:?}"))
        .to_owned();
    Server {
        child: Mutex::new(child),
        url,
    }
}

/// A configuration that reaches one server for everything.
pub(crate) fn config(url: &str) -> SdkConfig {
    let credentials = Credentials::builder()
        .access_key_id("testing")
        .secret_access_key("testing")
        .provider_name("tests")
        .build();
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(url)
        .build()
}

/// Clients of moto alone.
pub(crate) fn clients(moto: &Server) -> Clients {
    Clients::new(&config(&moto.url), true)
}

/// Clients of moto and the emulator.
pub(crate) fn clients_of_both(moto: &Server, emulator: &Server) -> Clients {
    let ours = Clients::new(&config(&emulator.url), true);
    Clients {
        sagemaker: ours.sagemaker,
        runtime: ours.runtime,
        cloudwatch: ours.cloudwatch,
        iam: ours.iam,
        ..clients(moto)
    }
}

/// A name that no other test has.
pub(crate) fn unique(stem: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{stem}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The settings of the local world.
pub(crate) fn settings(topic: &str) -> Settings {
    Settings {
        table: "tidegate".to_owned(),
        topic: topic.to_owned(),
        shift_function: "arn:aws:lambda:us-east-1:123456789012:function:canary-shift".to_owned(),
        scheduler_role: "arn:aws:iam::123456789012:role/tidegate-scheduler".to_owned(),
        schedule_group: "tidegate".to_owned(),
        anchor_bucket: None,
    }
}

/// An order to the emulator's admin API.
pub(crate) fn order(emulator: &Server, path: &str, body: &serde_json::Value) {
    let address = emulator.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    let body = body.to_string();
    write!(
        stream,
        "POST /_local{path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
}
