//! Clients of the local world's AWS, as a user's program would have them.

use aws_config::{BehaviorVersion, Region, SdkConfig};

use crate::{ACCOUNT, REGION};

/// One client of each service.
#[derive(Debug, Clone)]
pub struct Clients {
    /// `CloudWatch`.
    pub cloudwatch: aws_sdk_cloudwatch::Client,
    /// `DynamoDB`.
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// `EventBridge`.
    pub events: aws_sdk_eventbridge::Client,
    /// IAM.
    pub iam: aws_sdk_iam::Client,
    /// S3.
    pub s3: aws_sdk_s3::Client,
    /// `EventBridge` Scheduler.
    pub scheduler: aws_sdk_scheduler::Client,
    /// SNS.
    pub sns: aws_sdk_sns::Client,
    /// SQS.
    pub sqs: aws_sdk_sqs::Client,
    /// `SageMaker`.
    pub sagemaker: aws_sdk_sagemaker::Client,
    /// `SageMaker` Runtime.
    pub runtime: aws_sdk_sagemakerruntime::Client,
}

impl Clients {
    /// Clients of a moto server and an emulator. Nothing of the caller's AWS environment or files
    /// is looked at: the local world can't touch an account.
    pub fn new(moto: &str, sagemaker: &str) -> Self {
        let (moto, sagemaker) = (config(moto), config(sagemaker));
        let s3 = aws_sdk_s3::config::Builder::from(&moto)
            .force_path_style(true)
            .build();
        Self {
            cloudwatch: aws_sdk_cloudwatch::Client::new(&sagemaker),
            dynamodb: aws_sdk_dynamodb::Client::new(&moto),
            events: aws_sdk_eventbridge::Client::new(&moto),
            iam: aws_sdk_iam::Client::new(&moto),
            s3: aws_sdk_s3::Client::from_conf(s3),
            scheduler: aws_sdk_scheduler::Client::new(&moto),
            sns: aws_sdk_sns::Client::new(&moto),
            sqs: aws_sdk_sqs::Client::new(&moto),
            sagemaker: aws_sdk_sagemaker::Client::new(&sagemaker),
            runtime: aws_sdk_sagemakerruntime::Client::new(&sagemaker),
        }
    }
}

fn config(endpoint: &str) -> SdkConfig {
    let credentials =
        aws_sdk_s3::config::Credentials::new("testing", "testing", None, None, "local");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(aws_sdk_s3::config::SharedCredentialsProvider::new(
            credentials,
        ))
        .endpoint_url(endpoint)
        .build()
}

/// The environment in which the AWS CLI, boto3 and our own programs work against the local world.
pub fn environment(moto: &str, sagemaker: &str) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ACCESS_KEY_ID", "testing".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "testing".to_owned()),
        ("AWS_SESSION_TOKEN", "testing".to_owned()),
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_DEFAULT_REGION", REGION.to_owned()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ("AWS_ENDPOINT_URL", moto.to_owned()),
        ("AWS_ENDPOINT_URL_SAGEMAKER", sagemaker.to_owned()),
        ("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", sagemaker.to_owned()),
        ("AWS_ENDPOINT_URL_CLOUDWATCH", sagemaker.to_owned()),
        // Which passes on to moto what it does not answer itself.
        ("AWS_ENDPOINT_URL_IAM", sagemaker.to_owned()),
    ]
}

/// An ARN of the local account.
pub fn arn(service: &str, resource: &str) -> String {
    format!("arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}")
}

/// A role's ARN; roles exist by their names only.
pub fn role(name: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:role/{name}")
}
