//! The local world: everything that Tidegate meets in AWS, on one machine, with the functions as
//! they are built for AWS.
//!
//! moto stands for DynamoDB, S3, SNS, SQS, EventBridge and Scheduler, `sagemaker-local` for
//! SageMaker and CloudWatch, `cargo lambda watch` for Lambda. Events take the real way: `PutEvents`,
//! the rules of `infra/template.yaml`, a queue per function, an invocation.

pub mod clients;
pub mod emulator;
pub mod guarded;
pub mod invoke;
pub mod kill;
pub mod lambda;
pub mod ledger;
pub mod moto;
pub mod notices;
pub mod place;
pub mod project;
pub mod proxy;
pub mod pump;
pub mod queues;
pub mod rules;
pub mod storm;
pub mod story;
pub mod training;
pub mod tuning;
pub mod wait;
pub mod world;

/// The account of the local world.
pub const ACCOUNT: &str = "123456789012";
/// The region of the local world.
pub const REGION: &str = "us-east-1";
