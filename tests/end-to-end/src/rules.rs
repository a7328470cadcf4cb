//! What the local world takes from `infra/template.yaml` (by `template_rules.py`): the event rules,
//! the functions and their retries, the ledger's keys. So the two can't drift apart.

use anyhow::{Context as _, Result, bail};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType,
};
use aws_sdk_eventbridge::types::Target;
use serde::Deserialize;
use serde_json::Value;
use tokio::process::Command;

use crate::clients::Clients;
use crate::place::Place;
use crate::queues;

/// The template, as far as the local world follows it.
#[derive(Debug, Clone, Deserialize)]
pub struct Template {
    /// Event rules.
    pub rules: Vec<Rule>,
    /// Functions.
    pub functions: Vec<Function>,
    /// What EventBridge Scheduler invokes all the time.
    pub schedules: Vec<Schedule>,
    /// The ledger's table.
    pub table: Table,
}

/// An event rule.
#[derive(Debug, Clone, Deserialize)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// Its pattern.
    pub pattern: Value,
    /// The function that it invokes.
    pub function: String,
}

/// A schedule.
#[derive(Debug, Clone, Deserialize)]
pub struct Schedule {
    /// Its name.
    pub name: String,
    /// How often, for example `rate(5 minutes)`.
    pub expression: String,
    /// What the function is invoked with.
    pub input: String,
    /// The function that it invokes.
    pub function: String,
}

/// A function.
#[derive(Debug, Clone, Deserialize)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// How often Lambda tries again when it fails.
    pub retries: u32,
    /// The names of its environment variables.
    pub environment: Vec<String>,
}

/// The ledger's table, in the words of `CreateTable`.
#[derive(Debug, Clone, Deserialize)]
pub struct Table {
    keys: Keys,
    indexes: Vec<Index>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Keys {
    attribute_definitions: Vec<Attribute>,
    key_schema: Vec<Key>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attribute {
    attribute_name: String,
    attribute_type: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Key {
    attribute_name: String,
    key_type: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Index {
    #[serde(rename = "IndexName")]
    name: String,
    key_schema: Vec<Key>,
    projection: Projected,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Projected {
    projection_type: String,
}

impl Template {
    /// Reads the template of the checkout.
    pub async fn read(place: &Place) -> Result<Self> {
        let output = Command::new(place.python()?)
            .arg(place.root().join("tests/end-to-end/template_rules.py"))
            .arg(place.root().join("infra/template.yaml"))
            .kill_on_drop(true)
            .output()
            .await?;
        if !output.status.success() {
            bail!(
                "infra/template.yaml can't be followed: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        serde_json::from_slice(&output.stdout)
            .context("template_rules.py prints something else than expected")
    }

    /// Fails if a function has an environment variable that the local world doesn't set.
    pub fn check_environment(&self, set: &[(&str, String)]) -> Result<()> {
        for function in &self.functions {
            for name in &function.environment {
                if !set.iter().any(|(set, _)| set == name) {
                    bail!(
                        "infra/template.yaml gives {} the variable {name}, which the local world doesn't",
                        function.name
                    );
                }
            }
        }
        Ok(())
    }

    /// How often Lambda tries a function again.
    pub fn retries(&self, function: &str) -> u32 {
        self.functions
            .iter()
            .find(|f| f.name == function)
            .map_or(2, |f| f.retries)
    }

    /// Makes the ledger's table.
    pub async fn create_table(&self, clients: &Clients, name: &str) -> Result<()> {
        let mut request = clients
            .dynamodb
            .create_table()
            .table_name(name)
            .billing_mode(BillingMode::PayPerRequest)
            .set_key_schema(Some(schema(&self.table.keys.key_schema)?));
        for attribute in &self.table.keys.attribute_definitions {
            request = request.attribute_definitions(
                AttributeDefinition::builder()
                    .attribute_name(&attribute.attribute_name)
                    .attribute_type(ScalarAttributeType::from(attribute.attribute_type.as_str()))
                    .build()?,
            );
        }
        for index in &self.table.indexes {
            let projection = ProjectionType::from(index.projection.projection_type.as_str());
            request = request.global_secondary_indexes(
                GlobalSecondaryIndex::builder()
                    .index_name(&index.name)
                    .set_key_schema(Some(schema(&index.key_schema)?))
                    .projection(Projection::builder().projection_type(projection).build())
                    .build()?,
            );
        }
        request
            .send()
            .await
            .with_context(|| format!("the table {name} can't be made"))?;
        Ok(())
    }

    /// Puts the rules on the default event bus, each with its function's queue as the target.
    pub async fn put_rules(&self, clients: &Clients) -> Result<()> {
        for rule in &self.rules {
            let put = clients
                .events
                .put_rule()
                .name(&rule.name)
                .event_pattern(rule.pattern.to_string());
            put.send()
                .await
                .with_context(|| format!("the rule {} can't be put", rule.name))?;
            let target = Target::builder()
                .id(&rule.function)
                .arn(queues::arn(&queues::of(&rule.function)))
                .build()?;
            let put = clients
                .events
                .put_targets()
                .rule(&rule.name)
                .targets(target)
                .send()
                .await?;
            if put.failed_entry_count() > 0 {
                bail!(
                    "the target of rule {} can't be put: {:?}",
                    rule.name,
                    put.failed_entries()
                );
            }
        }
        Ok(())
    }
}

impl Template {
    /// Makes the schedules in `group`, each with its function's queue as the target.
    pub async fn put_schedules(&self, clients: &Clients, group: &str) -> Result<()> {
        for schedule in &self.schedules {
            let target = aws_sdk_scheduler::types::Target::builder()
                .arn(queues::arn(&queues::of(&schedule.function)))
                .role_arn(crate::clients::role("tidegate-scheduler"))
                .input(&schedule.input)
                .build()?;
            let window = aws_sdk_scheduler::types::FlexibleTimeWindow::builder()
                .mode(aws_sdk_scheduler::types::FlexibleTimeWindowMode::Off)
                .build()?;
            clients
                .scheduler
                .create_schedule()
                .group_name(group)
                .name(&schedule.name)
                .schedule_expression(&schedule.expression)
                .flexible_time_window(window)
                .target(target)
                .send()
                .await
                .with_context(|| format!("the schedule {} can't be made", schedule.name))?;
        }
        Ok(())
    }
}

fn schema(keys: &[Key]) -> Result<Vec<KeySchemaElement>> {
    let element = |key: &Key| {
        KeySchemaElement::builder()
            .attribute_name(&key.attribute_name)
            .key_type(KeyType::from(key.key_type.as_str()))
            .build()
    };
    Ok(keys.iter().map(element).collect::<Result<_, _>>()?)
}
