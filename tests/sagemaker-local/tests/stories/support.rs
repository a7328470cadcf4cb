//! An emulator of its own for each test, with a moto beside it where a test needs S3, SQS or
//! EventBridge. Both end with the test.

use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::Response;
use serde_json::{Value, json};

/// A role that validation takes.
pub(crate) const ROLE: &str = "arn:aws:iam::123456789012:role/test";
/// An image that can serve.
pub(crate) const IMAGE: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com/fraud:1";

/// A running emulator.
pub(crate) struct Emulator {
    pub(crate) url: String,
    pub(crate) child: Child,
    http: reqwest::Client,
}

/// A running moto.
pub(crate) struct Moto {
    pub(crate) url: String,
    child: Child,
}

/// An error answer of the API.
#[derive(Debug, PartialEq)]
pub(crate) struct Refused {
    pub(crate) code: String,
    pub(crate) message: String,
}

pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

pub(crate) fn python() -> PathBuf {
    match std::env::var_os("TIDEGATE_PYTHON") {
        Some(path) => path.into(),
        None => workspace().join(".venv/bin/python"),
    }
}

impl Moto {
    pub(crate) async fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let child = Command::new(python().with_file_name("moto_server"))
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("moto_server is beside Python: make setup");
        let moto = Self {
            url: format!("http://127.0.0.1:{port}"),
            child,
        };
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                began.elapsed() < Duration::from_mins(1),
                "moto does not start"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        moto
    }

    pub(crate) async fn config(&self) -> aws_config::SdkConfig {
        use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
        let credentials = Credentials::new("testing", "testing", None, None, "test");
        aws_config::defaults(aws_config::BehaviorVersion::latest())
            .region(aws_config::Region::from_static("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .endpoint_url(&self.url)
            .load()
            .await
    }

    pub(crate) async fn s3(&self) -> aws_sdk_s3::Client {
        let config = self.config().await;
        let config = aws_sdk_s3::config::Builder::from(&config)
            .force_path_style(true)
            .build();
        aws_sdk_s3::Client::from_conf(config)
    }

    /// A queue that gets every SageMaker event.
    pub(crate) async fn event_queue(&self) -> String {
        let config = self.config().await;
        let sqs = aws_sdk_sqs::Client::new(&config);
        let queue = sqs
            .create_queue()
            .queue_name("events")
            .send()
            .await
            .unwrap();
        let events = aws_sdk_eventbridge::Client::new(&config);
        let pattern = r#"{"source":["aws.sagemaker"]}"#;
        events
            .put_rule()
            .name("all")
            .event_pattern(pattern)
            .send()
            .await
            .unwrap();
        let target = aws_sdk_eventbridge::types::Target::builder()
            .id("queue")
            .arn("arn:aws:sqs:us-east-1:123456789012:events")
            .build()
            .unwrap();
        events
            .put_targets()
            .rule("all")
            .targets(target)
            .send()
            .await
            .unwrap();
        queue.queue_url().unwrap().to_owned()
    }

    /// Takes all messages that are in a queue.
    pub(crate) async fn drain(&self, queue: &str) -> Vec<Value> {
        let sqs = aws_sdk_sqs::Client::new(&self.config().await);
        let mut all = Vec::new();
        loop {
            let some = sqs
                .receive_message()
                .queue_url(queue)
                .max_number_of_messages(10)
                .send()
                .await
                .unwrap();
            if some.messages().is_empty() {
                return all;
            }
            for message in some.messages() {
                all.push(serde_json::from_str(message.body().unwrap()).unwrap());
                let handle = message.receipt_handle().unwrap();
                sqs.delete_message()
                    .queue_url(queue)
                    .receipt_handle(handle)
                    .send()
                    .await
                    .unwrap();
            }
        }
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

impl Emulator {
    /// With a standing clock, no moto, and what else a test wants.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sagemaker-local"))
            .args(["--speed", "0", "--start", "2026-03-01T12:00:00Z"])
            .args(["--metric-delay-seconds", "60"])
            .arg("--python")
            .arg(python())
            .arg("--container")
            .arg(workspace().join("tests/sagemaker-local/container"))
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let ready: Value = serde_json::from_str(&line).expect("one line of JSON");
        let url = ready["listening"].as_str().unwrap().to_owned();
        Self {
            url,
            child,
            http: reqwest::Client::new(),
        }
    }

    /// One operation of the control plane.
    pub(crate) async fn call(&self, operation: &str, input: Value) -> Result<Value, Refused> {
        let response = self
            .http
            .post(&self.url)
            .header("x-amz-target", format!("SageMaker.{operation}"))
            .header("content-type", "application/x-amz-json-1.1")
            .header(
                "authorization",
                "AWS4-HMAC-SHA256 Credential=tester/20260301/us-east-1/sagemaker/aws4_request",
            )
            .body(input.to_string())
            .send()
            .await
            .unwrap();
        let ok = response.status().is_success();
        let body: Value = response.json().await.unwrap();
        if ok {
            return Ok(body);
        }
        let message = body.get("message").or_else(|| body.get("Message"));
        Err(Refused {
            code: body["__type"].as_str().unwrap().to_owned(),
            message: message.unwrap().as_str().unwrap().to_owned(),
        })
    }

    pub(crate) async fn ok(&self, operation: &str, input: Value) -> Value {
        self.call(operation, input)
            .await
            .unwrap_or_else(|error| panic!("{operation}: {error:?}"))
    }

    pub(crate) async fn refused(&self, operation: &str, input: Value) -> Refused {
        match self.call(operation, input).await {
            Err(refused) => refused,
            Ok(output) => panic!("{operation} was not refused but answered {output}"),
        }
    }

    /// One call of the admin API.
    pub(crate) async fn admin(&self, path: &str, body: Value) -> Value {
        let url = format!("{}/_local/{path}", self.url);
        let response = self.http.post(url).json(&body).send().await.unwrap();
        let status = response.status();
        let answer: Value = response.json().await.unwrap();
        assert!(status.is_success(), "{path}: {answer}");
        answer
    }

    pub(crate) async fn look(&self, path: &str) -> Value {
        self.http
            .get(format!("{}/_local/{path}", self.url))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    }

    pub(crate) async fn text(&self, path: &str) -> String {
        self.http
            .get(format!("{}/_local/{path}", self.url))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
    }

    pub(crate) async fn advance(&self, seconds: u32) {
        self.admin("clock", json!({"advance_seconds": seconds}))
            .await;
    }

    pub(crate) async fn invoke(
        &self,
        endpoint: &str,
        target: Option<&str>,
        body: &str,
    ) -> Response {
        let url = format!("{}/endpoints/{endpoint}/invocations", self.url);
        let mut request = self
            .http
            .post(url)
            .header("content-type", "application/json");
        if let Some(target) = target {
            request = request.header("x-amzn-sagemaker-target-variant", target);
        }
        request.body(body.to_owned()).send().await.unwrap()
    }

    /// The statuses of an endpoint in the events so far, oldest first.
    pub(crate) async fn endpoint_events(&self, endpoint: &str) -> Vec<String> {
        let events = self.look("events").await;
        let events = events["events"].as_array().unwrap();
        events
            .iter()
            .filter(|event| {
                event["detail-type"] == "SageMaker Endpoint State Change"
                    && event["detail"]["EndpointName"] == endpoint
            })
            .map(|event| {
                event["detail"]["EndpointStatus"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect()
    }

    /// A model that answers by a script.
    pub(crate) async fn scripted_model(&self, name: &str, script: Value) {
        let container =
            json!({"Image": IMAGE, "Environment": {"SAGEMAKER_LOCAL_SCRIPT": script.to_string()}});
        let model =
            json!({"ModelName": name, "ExecutionRoleArn": ROLE, "PrimaryContainer": container});
        self.ok("CreateModel", model).await;
    }

    /// A config with variants of (name, model, weight), two instances each.
    pub(crate) async fn config(&self, name: &str, variants: &[(&str, &str, f64)]) {
        let variants: Vec<Value> = variants
            .iter()
            .map(|(variant, model, weight)| {
                json!({
                    "VariantName": variant, "ModelName": model, "InstanceType": "ml.m5.large",
                    "InitialInstanceCount": 2, "InitialVariantWeight": weight,
                })
            })
            .collect();
        let config = json!({"EndpointConfigName": name, "ProductionVariants": variants});
        self.ok("CreateEndpointConfig", config).await;
    }

    /// An endpoint in service whose one variant `v1` answers by a script.
    pub(crate) async fn endpoint(&self, name: &str, script: Value) {
        self.scripted_model("model-1", script).await;
        self.config("config-1", &[("v1", "model-1", 1.0)]).await;
        self.ok(
            "CreateEndpoint",
            json!({"EndpointName": name, "EndpointConfigName": "config-1"}),
        )
        .await;
        self.advance(240).await;
        assert_eq!(self.status(name).await, "InService");
    }

    pub(crate) async fn status(&self, endpoint: &str) -> String {
        let endpoint = self
            .ok("DescribeEndpoint", json!({"EndpointName": endpoint}))
            .await;
        endpoint["EndpointStatus"].as_str().unwrap().to_owned()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}
