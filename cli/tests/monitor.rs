//! The built `tidegate monitor` beside moto's ledger and S3 and the emulator's Model Monitor, which
//! computes what it finds. What Tidegate does about a finding is shown in the local world
//! (`tests/end-to-end/tests/events/batch.rs`).
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
mod emulator;
#[allow(dead_code)]
mod moto;

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::primitives::ByteStream;
use serde_json::{Value, json};

use emulator::Emulator;
use moto::Moto;

/// Later than any clock, so that ages don't depend on the day of the test.
const START: &str = "2100-03-01T12:10:00Z";
const ANALYZER: &str =
    "156813124566.dkr.ecr.us-east-1.amazonaws.com/sagemaker-model-monitor-analyzer";
const ROLE: &str = "arn:aws:iam::123456789012:role/monitors";
const HOURLY: &str = "cron(0 * ? * * *)";

struct World {
    moto: Moto,
    emulator: Emulator,
}

impl World {
    /// A bucket, and a policy that lists two schedules.
    async fn start() -> Self {
        let moto = Moto::start().await;
        let endpoint = moto.environment()["AWS_ENDPOINT_URL"].clone();
        let emulator = Emulator::start_with(START, &["--aws-endpoint", &endpoint]);
        let world = Self { moto, emulator };
        let s3 = world.s3();
        s3.create_bucket().bucket("bucket").send().await.unwrap();
        let policy = std::fs::read_to_string("tests/policies/valid.toml").unwrap()
            + "\n[monitor]\nschedules = [\"fraud-batch\", \"fraud-lost\"]\n";
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("fraud.toml");
        std::fs::write(&file, policy).unwrap();
        let applied = world.run(&["apply", file.to_str().unwrap(), "--no-probe"]);
        assert_eq!(applied.0, 0, "{}", applied.2);
        world
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command
            .args(args)
            .env_clear()
            .envs(self.moto.environment())
            .env("AWS_ENDPOINT_URL_SAGEMAKER", self.emulator.url())
            .env("TIDEGATE_TABLE", "tidegate")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Exit code, standard output, standard error.
    fn run(&self, args: &[&str]) -> (i32, String, String) {
        ended(self.command(args).spawn().unwrap())
    }

    fn json(&self, args: &[&str]) -> Value {
        let (code, out, err) = self.run(&[args, &["--json"]].concat());
        assert_eq!(code, 0, "{err}");
        serde_json::from_str(&out).unwrap()
    }

    fn s3(&self) -> aws_sdk_s3::Client {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("testing", "testing", None, None, "test"))
            .endpoint_url(&self.moto.environment()["AWS_ENDPOINT_URL"])
            .force_path_style(true)
            .build();
        aws_sdk_s3::Client::from_conf(config)
    }

    async fn put(&self, key: &str, content: String) {
        let put = self.s3().put_object().bucket("bucket").key(key);
        let put = put.body(ByteStream::from(content.into_bytes()));
        put.send().await.unwrap();
    }

    /// What a transform job leaves in this hour: customers whose amounts are about this size.
    async fn captured(&self, hour: &str, size: f64) {
        self.put(&format!("batch/{hour}/rows.csv"), rows(size))
            .await;
        let manifest = json!([{ "prefix": format!("s3://bucket/batch/{hour}/") }, "rows.csv"]);
        let key = format!("captured/input/{hour}/transform-1.manifest");
        self.put(&key, manifest.to_string()).await;
    }

    /// A monitor `fraud-batch` of batch data with a baseline, that runs as the expression says.
    async fn batch_monitor(&self, expression: &str) {
        self.put("baseline/rows.csv", rows(100.0)).await;
        let cluster =
            json!({"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 10});
        let input = json!({"S3Uri": "s3://bucket/baseline/rows.csv", "LocalPath": "/opt/ml/processing/input",
            "S3DataType": "S3Prefix", "S3InputMode": "File"});
        let output = json!({"S3Uri": "s3://bucket/baseline/results", "LocalPath": "/opt/ml/processing/output",
            "S3UploadMode": "EndOfJob"});
        self.emulator.sagemaker(
            "CreateProcessingJob",
            &json!({
                "ProcessingJobName": "fraud-baseline", "RoleArn": ROLE,
                "AppSpecification": {"ImageUri": ANALYZER},
                "ProcessingInputs": [{"InputName": "data", "S3Input": input}],
                "ProcessingOutputConfig": {"Outputs": [{"OutputName": "result", "S3Output": output}]},
                "ProcessingResources": {"ClusterConfig": cluster},
                "Environment": {
                    "dataset_format": "{\"csv\": {\"header\": true}}",
                    "dataset_source": "/opt/ml/processing/input",
                    "output_path": "/opt/ml/processing/output",
                },
            }),
        );
        self.emulator.minutes_pass(10);
        let batch = json!({"DataCapturedDestinationS3Uri": "s3://bucket/captured",
            "DatasetFormat": {"Csv": {"Header": true}}, "LocalPath": "/opt/ml/processing/input"});
        let report =
            json!({"S3Uri": "s3://bucket/reports", "LocalPath": "/opt/ml/processing/output"});
        self.emulator.sagemaker(
            "CreateDataQualityJobDefinition",
            &json!({
                "JobDefinitionName": "fraud-batch-quality", "RoleArn": ROLE,
                "DataQualityAppSpecification": {"ImageUri": ANALYZER},
                "DataQualityBaselineConfig": {
                    "ConstraintsResource": {"S3Uri": "s3://bucket/baseline/results/constraints.json"},
                    "StatisticsResource": {"S3Uri": "s3://bucket/baseline/results/statistics.json"},
                },
                "DataQualityJobInput": {"BatchTransformInput": batch},
                "DataQualityJobOutputConfig": {"MonitoringOutputs": [{"S3Output": report}]},
                "JobResources": {"ClusterConfig": cluster},
            }),
        );
        self.schedule(
            "fraud-batch",
            expression,
            &json!({"MonitoringType": "DataQuality", "MonitoringJobDefinitionName": "fraud-batch-quality"}),
        );
    }

    /// A monitor of the pipeline's endpoint, which captures nothing.
    fn endpoint_monitor(&self, name: &str) {
        let report =
            json!({"S3Uri": "s3://bucket/reports", "LocalPath": "/opt/ml/processing/output"});
        let input = json!({"EndpointName": "fraud-prod", "LocalPath": "/opt/ml/processing/input"});
        self.schedule(
            name,
            "cron(0 6 ? * * *)",
            &json!({"MonitoringJobDefinition": {
                "MonitoringInputs": [{"EndpointInput": input}],
                "MonitoringOutputConfig": {"MonitoringOutputs": [{"S3Output": report}]},
                "MonitoringResources": {"ClusterConfig":
                    {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 10}},
                "MonitoringAppSpecification": {"ImageUri": ANALYZER}, "RoleArn": ROLE,
            }}),
        );
    }

    fn schedule(&self, name: &str, expression: &str, config: &Value) {
        let mut config = config.clone();
        config["ScheduleConfig"] = json!({"ScheduleExpression": expression});
        self.emulator.sagemaker(
            "CreateMonitoringSchedule",
            &json!({"MonitoringScheduleName": name, "MonitoringScheduleConfig": config}),
        );
        self.emulator.minutes_pass(1);
    }

    /// Lets the emulator's time pass from the command's first word on until it has ended.
    fn until_ended(&self, mut command: Command) -> (i32, String, String) {
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut err = String::new();
        said.read_line(&mut err).unwrap();
        let begin = Instant::now();
        while child.try_wait().unwrap().is_none() {
            assert!(begin.elapsed() < Duration::from_mins(2), "it does not end");
            self.emulator.minutes_pass(1);
        }
        said.read_to_string(&mut err).unwrap();
        let (code, out, _) = ended(child);
        (code, out, err)
    }
}

fn ended(child: Child) -> (i32, String, String) {
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    (output.status.code().unwrap_or(-1), out, err)
}

fn rows(size: f64) -> String {
    let rows = (0..600_u32).map(|n| {
        let spread = f64::from(n * 7 % 100) / 100.0;
        format!("{},{:.3}", n * 31 % 90 + 18, size * (0.5 + spread))
    });
    let rows: Vec<String> = rows.collect();
    format!("age,amount\n{}\n", rows.join("\n"))
}

/// The text with the names that differ from run to run made the same.
fn same(text: &str) -> String {
    let words = text.split_inclusive(char::is_whitespace).map(|word| {
        match word
            .find("model-monitoring-")
            .or_else(|| word.find("-run-"))
        {
            Some(at) => {
                let end = word[at..].find(|c: char| !c.is_ascii_alphanumeric() && c != '-');
                let end = end.map_or(word.len(), |end| at + end);
                let stem = if word[at..].starts_with("-run") {
                    "-run-*"
                } else {
                    "model-monitoring-*"
                };
                format!("{}{stem}{}", &word[..at], &word[end..])
            }
            None => word.to_owned(),
        }
    });
    words.collect()
}

#[tokio::test]
async fn schedules_are_listed_and_shown_with_what_they_found() {
    let world = World::start().await;
    world.batch_monitor(HOURLY).await;
    world.captured("2100/03/01/12", 160.0).await;
    world.endpoint_monitor("fraud-data-quality");
    world.endpoint_monitor("fraud-old");
    let name = json!({"MonitoringScheduleName": "fraud-old"});
    world.emulator.sagemaker("StopMonitoringSchedule", &name);
    world.emulator.minutes_pass(70);
    let order = json!({"schedule": "fraud-data-quality", "failure": "out of memory"});
    world.emulator.order("violation", &order);

    let (code, text, err) = world.run(&["monitor", "list"]);
    assert_eq!(code, 0, "{err}");
    insta::assert_snapshot!("list", same(&text));
    let listed = world.json(&["monitor", "list", "fraud"]);
    let schedules = listed["pipelines"][0]["schedules"].as_array().unwrap();
    let states: Vec<_> = schedules
        .iter()
        .map(|s| (&s["name"], &s["state"], &s["listed"]))
        .collect();
    assert_eq!(
        json!(states),
        json!([
            ["fraud-batch", "scheduled", true],
            ["fraud-data-quality", "scheduled", false],
            ["fraud-lost", "missing", true],
            ["fraud-old", "stopped", false],
        ])
    );
    assert_eq!(schedules[1]["next"], "2100-03-02T06:00:00Z");
    assert_eq!(schedules[3]["next"], Value::Null);
    assert_eq!(world.run(&["monitor", "list", "nobody"]).0, 1);

    let (code, text, err) = world.run(&["monitor", "show", "fraud-batch"]);
    assert_eq!(code, 0, "{err}");
    insta::assert_snapshot!("show", same(&text));
    let shown = world.json(&["monitor", "show", "fraud-batch"]);
    assert_eq!(shown["pipeline"], "fraud");
    let found = &shown["runs"][0]["findings"];
    assert_eq!(found["kinds"]["drift"][0]["feature"], "amount");
    let shown = world.json(&["monitor", "show", "fraud-data-quality"]);
    assert_eq!(shown["definition"]["input"]["endpoint"], "fraud-prod");
    assert_eq!(shown["runs"][0]["failure"], "AlgorithmError: out of memory");
    // One that is deleted is known by its runs.
    let name = json!({"MonitoringScheduleName": "fraud-data-quality"});
    world.emulator.sagemaker("DeleteMonitoringSchedule", &name);
    let (_, text, _) = world.run(&["monitor", "show", "fraud-data-quality"]);
    for words in [
        "data quality of fraud-prod",
        "deleted",
        "fraud (group",
        "out of memory",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[tokio::test]
async fn a_run_is_waited_for_tells_what_it_found_and_leaves_nothing() {
    let world = World::start().await;
    world.batch_monitor("cron(0 3 ? * * *)").await;
    world.captured("2100/03/01/12", 160.0).await;
    let waiting = world.command(&["monitor", "run", "fraud-batch", "--wait", "--hours", "3"]);
    let (code, out, err) = world.until_ended(waiting);
    assert_eq!(code, 1, "what is found is no: {err}");
    // When it began depends on how fast this test is.
    let (first, rest) = out.split_once('\n').unwrap();
    assert!(first.ends_with("completed with violations"), "{first}");
    let rest = rest.lines().filter(|line| !line.contains("report"));
    insta::assert_snapshot!("run", same(&rest.collect::<Vec<_>>().join("\n")));
    assert!(err.contains("completed with violations, after"), "{err}");
    let run = err.split_whitespace().next().unwrap().to_owned();
    assert!(run.starts_with("fraud-batch-run-"), "{err}");
    // Its schedule is gone, and what it found is still there to look at.
    let shown = world.json(&["monitor", "show", &run]);
    assert_eq!(shown["state"], "deleted");
    assert_eq!(shown["pipeline"], "fraud");
    assert_eq!(shown["runs"][0]["status"], "completed_with_violations");

    // The same over data as they were.
    for (day, hour) in [1, 2]
        .into_iter()
        .flat_map(|day| (0..24).map(move |hour| (day, hour)))
    {
        let hour = format!("2100/03/{day:02}/{hour:02}");
        world.captured(&hour, 100.0).await;
    }
    let waiting = world.command(&[
        "monitor",
        "run",
        "fraud-batch",
        "--wait",
        "--hours",
        "2",
        "--json",
    ]);
    let (code, out, err) = world.until_ended(waiting);
    assert_eq!(code, 0, "{err}");
    let answer: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(answer["ended"]["status"], "completed");
    assert_eq!(answer["deleted"], true);
}

#[tokio::test]
async fn a_run_that_is_not_waited_for_goes_on_and_says_how_to_look() {
    let world = World::start().await;
    world.batch_monitor("cron(0 3 ? * * *)").await;
    let (code, out, err) = world.run(&["monitor", "run", "fraud-batch"]);
    assert_eq!(code, 0, "{err}");
    insta::assert_snapshot!("run_without_waiting", same(&out));
    let (_, text, _) = world.run(&["monitor", "list"]);
    assert!(
        same(&text).contains("fraud-batch-run-*  data quality"),
        "{text}"
    );

    // Nobody moves the clock: it waits until it is told to stop.
    world.endpoint_monitor("fraud-data-quality");
    let mut child = world
        .command(&["monitor", "run", "fraud-data-quality", "--wait"])
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut looks = said.by_ref().map(Result::unwrap);
    let first = looks.find(|line| line.ends_with(", after 0 min"));
    assert!(first.is_some(), "it looks");
    let interrupt = format!("kill -INT {}", child.id());
    Command::new("sh")
        .args(["-c", &interrupt])
        .status()
        .unwrap();
    let (code, out, _) = ended(child);
    assert_eq!(code, 1, "{out}");
    assert!(
        out.contains("goes on.") && out.contains("delete-monitoring-schedule"),
        "{out}"
    );
}

#[tokio::test]
async fn what_can_not_be_run_or_shown_is_told_with_what_there_is() {
    let world = World::start().await;
    let (code, _, err) = world.run(&["monitor", "show", "nothing"]);
    assert_eq!(code, 1);
    assert!(err.contains("there is none at all in this region"), "{err}");
    world.batch_monitor(HOURLY).await;
    for args in [
        ["monitor", "show", "fraud-bach"],
        ["monitor", "run", "no name!"],
    ] {
        let (code, _, err) = world.run(&args);
        assert_eq!(code, 1);
        assert!(err.contains("there are: fraud-batch"), "{err}");
    }
    let denied = json!({"operation": "CreateMonitoringSchedule", "kind": "deny", "count": 1});
    world.emulator.order("faults", &denied);
    let (code, _, err) = world.run(&["monitor", "run", "fraud-batch"]);
    assert_eq!(code, 3);
    assert!(
        err.contains("MonitorRunPolicyArn is a policy for it"),
        "{err}"
    );
    assert_eq!(
        world
            .run(&["monitor", "run", "fraud-batch", "--hours", "25"])
            .0,
        2
    );
}

#[test]
fn help_teaches_and_the_documentation_names_every_command_and_option() {
    let docs = std::fs::read_to_string("../docs/cli.md").unwrap();
    let mut all = String::new();
    for args in [
        &["monitor"] as &[&str],
        &["monitor", "list"],
        &["monitor", "show"],
        &["monitor", "run"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(args)
            .arg("--help")
            .env_clear()
            .output()
            .unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(docs.contains(&args.join(" ")), "docs/cli.md lacks {args:?}");
        for option in ["--runs", "--hours", "--wait"] {
            assert!(!help.contains(option) || docs.contains(option), "{option}");
        }
        all += &help;
    }
    insta::assert_snapshot!(all);
}
