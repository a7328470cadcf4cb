//! How Tidegate reaches AWS: region, endpoints, credentials, timeouts and retries, in one place.
//!
//! Sources: "AWS SDKs and Tools Reference Guide" (endpoints and retries); Lambda's developer guide,
//! "Defined runtime environment variables", for where a function's credentials are.

use std::env;
use std::time::Duration;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, SdkConfig};

/// A connection inside a region takes some milliseconds; one that takes a second won't come.
const CONNECT: Duration = Duration::from_secs(1);
/// No control-plane call of ours takes longer when AWS is well; the next attempt may.
const ATTEMPT: Duration = Duration::from_secs(5);
/// All attempts of a call together. Two calls that run into it still fit a function's 55 seconds,
/// and a tick is over before the next one comes. That no more are begun then is `in_time`'s part.
const OPERATION: Duration = Duration::from_secs(20);
/// The first and two more. What still fails is kept in the ledger and done at the next tick, so
/// there is no use in trying for longer here.
const ATTEMPTS: u32 = 3;
/// The SDK's first wait is up to a second, which is a lot of a function's billed time; throttles
/// of SageMaker's control plane pass within some hundred milliseconds.
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
const LONGEST_BACKOFF: Duration = Duration::from_secs(3);

/// The SDK's configuration from the environment.
///
/// With credentials in environment variables, as on Lambda, nothing else is looked at: no profile
/// file is read, no metadata service is asked. Else (the command line) the SDK's default chain:
/// profiles, assumed roles, web identity, containers, instances. Profiles of IAM Identity Center
/// are not in it, since that would bring two more SDK clients into every binary: export them with
/// `aws configure export-credentials --format env`.
pub async fn sdk_config() -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .retry_config(retries())
        .timeout_config(timeouts());
    if let Some(name) = app_name(env::var("AWS_LAMBDA_FUNCTION_NAME").ok().as_deref()) {
        loader = loader.app_name(name);
    }
    if env::var_os("AWS_ACCESS_KEY_ID").is_some() {
        loader
            .credentials_provider(EnvironmentVariableCredentialsProvider::new())
            .load()
            .await
    } else {
        loader.load().await
    }
}

fn retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(ATTEMPTS)
        .with_initial_backoff(FIRST_BACKOFF)
        .with_max_backoff(LONGEST_BACKOFF)
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(ATTEMPT)
        .operation_timeout(OPERATION)
        .build()
}

/// The function's name as the application's in the user agent (`app/canary-shift`), so that
/// CloudTrail tells which function made a call. Characters that the SDK does not take are left out.
fn app_name(function: Option<&str>) -> Option<AppName> {
    let is_fine = |c: &char| c.is_ascii_alphanumeric() || "-_.".contains(*c);
    let name: String = function?.chars().filter(is_fine).take(50).collect();
    AppName::new(name).ok()
}

/// The SDK clients, made once per process so that connections are kept between calls.
#[derive(Debug, Clone)]
pub struct Clients {
    /// The ledger's.
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// SageMaker's control plane.
    pub sagemaker: aws_sdk_sagemaker::Client,
    /// Inference.
    pub runtime: aws_sdk_sagemakerruntime::Client,
    /// Metrics.
    pub cloudwatch: aws_sdk_cloudwatch::Client,
    /// Evaluations, reports and smoke requests.
    pub s3: aws_sdk_s3::Client,
    /// Notices.
    pub sns: aws_sdk_sns::Client,
    /// Announcements.
    pub events: aws_sdk_eventbridge::Client,
    /// Ticks.
    pub scheduler: aws_sdk_scheduler::Client,
    /// Tags of who approves, and what roles may do.
    pub iam: aws_sdk_iam::Client,
}

impl Clients {
    /// Clients of the account, region and endpoints that the environment says.
    pub async fn from_env() -> Self {
        // A local S3 has no host name per bucket.
        let local_s3 = ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"]
            .iter()
            .any(|name| env::var_os(name).is_some_and(|value| !value.is_empty()));
        Self::new(&sdk_config().await, local_s3)
    }

    /// Clients by `config`; `path_style` puts a bucket's name into the path of S3's URLs.
    pub fn new(config: &SdkConfig, path_style: bool) -> Self {
        let s3 = aws_sdk_s3::config::Builder::from(config)
            .force_path_style(path_style)
            .build();
        Self {
            dynamodb: aws_sdk_dynamodb::Client::new(config),
            sagemaker: aws_sdk_sagemaker::Client::new(config),
            runtime: aws_sdk_sagemakerruntime::Client::new(config),
            cloudwatch: aws_sdk_cloudwatch::Client::new(config),
            s3: aws_sdk_s3::Client::from_conf(s3),
            sns: aws_sdk_sns::Client::new(config),
            events: aws_sdk_eventbridge::Client::new(config),
            scheduler: aws_sdk_scheduler::Client::new(config),
            iam: aws_sdk_iam::Client::new(config),
        }
    }
}

/// What the installation says, by environment variables that `infra/template.yaml` sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `TIDEGATE_TABLE`: the ledger's table.
    pub table: String,
    /// `TIDEGATE_TOPIC_ARN`: where notices go whose policy names no topic.
    pub topic: String,
    /// `TIDEGATE_SHIFT_FUNCTION_ARN`: what the ticks of a rollout invoke.
    pub shift_function: String,
    /// `TIDEGATE_SCHEDULER_ROLE_ARN`: the role that EventBridge Scheduler invokes it as.
    pub scheduler_role: String,
    /// `TIDEGATE_SCHEDULE_GROUP`: the group of the ticks' schedules.
    pub schedule_group: String,
    /// `TIDEGATE_ANCHOR_BUCKET`: the bucket that the ends of audit trails are kept in, if any.
    pub anchor_bucket: Option<String>,
}

/// Something is missing in the environment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the environment variable {0} is not set; infra/template.yaml says what it should be")]
pub struct SettingsError(&'static str);

impl Settings {
    /// Reads them from the environment.
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::from_lookup(|name| env::var(name).ok())
    }

    /// Reads them by `lookup`; an empty value is none.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let get = |name| {
            lookup(name)
                .filter(|value| !value.is_empty())
                .ok_or(SettingsError(name))
        };
        Ok(Self {
            table: get("TIDEGATE_TABLE")?,
            topic: get("TIDEGATE_TOPIC_ARN")?,
            shift_function: get("TIDEGATE_SHIFT_FUNCTION_ARN")?,
            scheduler_role: get("TIDEGATE_SCHEDULER_ROLE_ARN")?,
            schedule_group: get("TIDEGATE_SCHEDULE_GROUP")?,
            anchor_bucket: get("TIDEGATE_ANCHOR_BUCKET").ok(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Instant;

    use futures_util::future::join_all;
    use tidegate_core::world::{Question, World as _, WorldError};
    use tokio::net::{TcpListener, TcpSocket, TcpStream};

    use super::*;
    use crate::world::AwsWorld;

    #[test]
    fn the_application_is_named_after_the_function() {
        let name = |function: Option<&str>| app_name(function).map(|name| name.to_string());
        assert_eq!(name(Some("canary-shift")).unwrap(), "canary-shift");
        assert_eq!(
            name(Some("my stack/canary_shift:$LATEST")).unwrap(),
            "mystackcanary_shiftLATEST"
        );
        let long = "x".repeat(64);
        assert_eq!(name(Some(&long)).unwrap().len(), 50);
        for none in [None, Some(""), Some("/ :")] {
            assert_eq!(name(none), None);
        }
    }

    fn world_at(endpoint: &str) -> AwsWorld {
        let credentials = aws_sdk_s3::config::Credentials::new("id", "key", None, None, "test");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(aws_config::Region::new("us-east-1"))
            .credentials_provider(aws_sdk_s3::config::SharedCredentialsProvider::new(
                credentials,
            ))
            .endpoint_url(endpoint)
            .retry_config(retries())
            .timeout_config(timeouts())
            .build();
        let settings = Settings::from_lookup(|name| Some(name.to_owned())).unwrap();
        AwsWorld::new(Clients::new(&config, true), settings)
    }

    /// Asks something, and gives the error and how long it took to come.
    async fn unanswered(endpoint: &str) -> (WorldError, Duration) {
        let start = Instant::now();
        let name = "model".to_owned();
        let asked = world_at(endpoint).ask(&Question::Model { name }).await;
        (asked.unwrap_err(), start.elapsed())
    }

    #[tokio::test]
    async fn an_address_that_nobody_answers_at_is_given_up_in_seconds_and_may_be_tried_again() {
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refuses = format!("http://{}", nobody.local_addr().unwrap());
        drop(nobody);
        // Connections that nobody takes: the queue is full with these, and the next one hangs.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let full = socket.listen(1).unwrap();
        let address = full.local_addr().unwrap();
        let connect = || tokio::time::timeout(CONNECT / 10, TcpStream::connect(address));
        let mut waiting = Vec::new();
        while let Ok(connected) = connect().await {
            waiting.push(connected.unwrap());
            assert!(waiting.len() < 100, "the queue is never full");
        }
        let hangs = format!("http://{address}");
        let no_such_name = "http://tidegate.invalid".to_owned();
        for (error, took) in
            join_all([&refuses, &hangs, &no_such_name].map(|at| unanswered(at))).await
        {
            assert!(error.is_passing(), "{error:?}");
            let longest = CONNECT * ATTEMPTS + LONGEST_BACKOFF * (ATTEMPTS - 1);
            assert!(took < longest, "{took:?}: {error}");
        }
    }

    #[test]
    fn a_missing_or_empty_setting_is_named() {
        let full = |name: &str| Some(name.to_lowercase());
        assert_eq!(Settings::from_lookup(full).unwrap().table, "tidegate_table");
        let without = |name: &str| (name != "TIDEGATE_TOPIC_ARN").then(|| "x".to_owned());
        let error = Settings::from_lookup(without).unwrap_err();
        assert!(error.to_string().contains("TIDEGATE_TOPIC_ARN"), "{error}");
        let empty = |_: &str| Some(String::new());
        assert_eq!(
            Settings::from_lookup(empty),
            Err(SettingsError("TIDEGATE_TABLE"))
        );
    }
}
