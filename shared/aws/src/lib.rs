//! Tidegate's adapters: the ledger on `DynamoDB`, the world through the AWS SDK, and what the
//! Lambda functions share. Nothing is decided here; `tidegate-core` does that.

pub mod config;
mod error;
mod in_time;
pub mod lambda;
pub mod ledger;
pub mod world;

pub use config::{Clients, Settings, SettingsError};
pub use ledger::DynamoLedger;
pub use world::AwsWorld;
