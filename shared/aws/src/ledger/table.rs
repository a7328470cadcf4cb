//! The ledger's table for tests and the local world. In AWS `infra/template.yaml` makes it, with
//! the same keys and index, and with encryption, point-in-time recovery and expiry besides.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType,
};
use tidegate_core::ledger::LedgerError;

use super::keys::{PARTITION, PENDING, SORT};
use super::unread;
use crate::error::failed;

/// Makes the table, unless it is there.
pub async fn create_table(client: &Client, table: &str) -> Result<(), LedgerError> {
    let request = request(client, table)
        .map_err(|error| LedgerError::Refused(format!("CreateTable: {error}")))?;
    match request.send().await.map_err(failed("CreateTable")) {
        Ok(_) => Ok(()),
        Err(failure) if failure.already => Ok(()),
        Err(failure) => Err(unread(failure)),
    }
}

fn request(
    client: &Client,
    table: &str,
) -> Result<aws_sdk_dynamodb::operation::create_table::builders::CreateTableFluentBuilder, BuildError>
{
    let index = GlobalSecondaryIndex::builder()
        .index_name(PENDING)
        .key_schema(key(PENDING, KeyType::Hash)?)
        .key_schema(key(SORT, KeyType::Range)?)
        .projection(
            Projection::builder()
                .projection_type(ProjectionType::KeysOnly)
                .build(),
        )
        .build()?;
    Ok(client
        .create_table()
        .table_name(table)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(text(PARTITION)?)
        .attribute_definitions(text(SORT)?)
        .attribute_definitions(text(PENDING)?)
        .key_schema(key(PARTITION, KeyType::Hash)?)
        .key_schema(key(SORT, KeyType::Range)?)
        .global_secondary_indexes(index))
}

fn key(name: &str, kind: KeyType) -> Result<KeySchemaElement, BuildError> {
    KeySchemaElement::builder()
        .attribute_name(name)
        .key_type(kind)
        .build()
}

fn text(name: &str) -> Result<AttributeDefinition, BuildError> {
    AttributeDefinition::builder()
        .attribute_name(name)
        .attribute_type(ScalarAttributeType::S)
        .build()
}
