//! Clients of the AWS services that moto stands for: S3, EventBridge, Scheduler, SQS and IAM.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};

use crate::arn;

/// The clients, made once.
pub(crate) struct Aws {
    pub(crate) s3: aws_sdk_s3::Client,
    pub(crate) events: aws_sdk_eventbridge::Client,
    pub(crate) scheduler: aws_sdk_scheduler::Client,
    pub(crate) sqs: aws_sdk_sqs::Client,
    pub(crate) iam: aws_sdk_iam::Client,
}

impl Aws {
    /// Clients for everything at one address, with the fake credentials that moto takes.
    pub(crate) async fn at(endpoint: &str) -> Self {
        let credentials = Credentials::new("testing", "testing", None, None, "sagemaker-local");
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::from_static(arn::REGION))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .endpoint_url(endpoint)
            .retry_config(RetryConfig::standard().with_max_attempts(3))
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(Duration::from_secs(5))
                    .operation_attempt_timeout(Duration::from_mins(1))
                    .build(),
            )
            .load()
            .await;
        let s3 = aws_sdk_s3::config::Builder::from(&config)
            .force_path_style(true)
            .build();
        Self {
            s3: aws_sdk_s3::Client::from_conf(s3),
            events: aws_sdk_eventbridge::Client::new(&config),
            scheduler: aws_sdk_scheduler::Client::new(&config),
            sqs: aws_sdk_sqs::Client::new(&config),
            iam: aws_sdk_iam::Client::new(&config),
        }
    }
}
