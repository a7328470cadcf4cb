//! The emulator of SageMaker and CloudWatch for one test: its clock stands still until it is moved.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

const IMAGE: &str =
    "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3";

/// A running emulator; it goes with this value.
pub(crate) struct Emulator {
    child: Child,
    address: String,
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Emulator {
    /// An emulator whose clock says `start`; it must have been built.
    pub(crate) fn start(start: &str) -> Self {
        Self::start_with(start, &[])
    }

    /// The same, with these arguments besides.
    pub(crate) fn start_with(start: &str, arguments: &[&str]) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let program = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root.join("target"), PathBuf::from)
            .join("debug/sagemaker-local");
        assert!(
            program.is_file(),
            "{} is missing: run `cargo build --workspace --bins`",
            program.display()
        );
        let mut child = Command::new(program)
            .args(["--speed", "0", "--port", "0", "--start", start])
            .args(arguments)
            .current_dir(&root)
            .env("TIDEGATE_PYTHON", root.join(".venv/bin/python"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        // Kept open, so that the emulator never writes to a closed pipe.
        std::mem::forget(output);
        let address = line
            .split('"')
            .find_map(|part| part.strip_prefix("http://"))
            .unwrap_or_else(|| panic!("it did not say where it listens: {line:?}"))
            .to_owned();
        Self { child, address }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn post(&self, path: &str, headers: &str, body: &Value) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let body = body.to_string();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: {}\r\n{headers}Content-Length: {}\r\nConnection: close\
             \r\n\r\n{body}",
            self.address,
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    }

    /// A call of SageMaker's control plane.
    pub(crate) fn sagemaker(&self, operation: &str, input: &Value) {
        let headers = format!(
            "X-Amz-Target: SageMaker.{operation}\r\nContent-Type: application/x-amz-json-1.1\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/sagemaker/\
             aws4_request\r\n"
        );
        self.post("/", &headers, input);
    }

    /// An order to its admin API.
    pub(crate) fn order(&self, path: &str, body: &Value) {
        let path = format!("/_local/{path}");
        self.post(&path, "Content-Type: application/json\r\n", body);
    }

    pub(crate) fn minutes_pass(&self, minutes: u32) {
        self.order("clock", &json!({"advance_seconds": minutes * 60}));
    }

    /// A model whose answers come from a script.
    pub(crate) fn model(&self, name: &str, script: &Value) {
        let environment = json!({"SAGEMAKER_LOCAL_SCRIPT": script.to_string()});
        let container = json!({"Image": IMAGE, "Environment": environment});
        let role = "arn:aws:iam::123456789012:role/models";
        self.sagemaker(
            "CreateModel",
            &json!({"ModelName": name, "ExecutionRoleArn": role, "PrimaryContainer": container}),
        );
    }

    /// An endpoint config of variants: each with its name, model and weight.
    pub(crate) fn config(&self, name: &str, variants: &[(&str, &str, f64)]) {
        let variants: Vec<Value> = variants
            .iter()
            .map(|(variant, model, weight)| {
                json!({"VariantName": variant, "ModelName": model, "InstanceType": "ml.m5.large",
                    "InitialInstanceCount": 1, "InitialVariantWeight": weight})
            })
            .collect();
        self.sagemaker(
            "CreateEndpointConfig",
            &json!({"EndpointConfigName": name, "ProductionVariants": variants}),
        );
    }
}
