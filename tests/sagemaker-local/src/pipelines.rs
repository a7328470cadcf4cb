//! SageMaker Pipelines as far as retraining needs them: what the API says and refuses.
//!
//! `definition.rs` reads definitions with Training steps, `execution.rs` runs them as real jobs.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::arn;
use crate::definition::{self, Variables};
use crate::errors::ApiError;
use crate::execution::{self, Execution};
use crate::json::{list, pick, required, text, without};
use crate::moment::Moment;
use crate::page::{self, Order, Row};
use crate::sagemaker::Call;
use crate::world::World;

/// Pipelines by name and executions by ARN.
#[derive(Debug, Default)]
pub(crate) struct Pipelines {
    known: BTreeMap<String, Pipeline>,
    pub(crate) executions: BTreeMap<String, Execution>,
    /// Client tokens of executions.
    tokens: BTreeMap<(String, String), String>,
}

#[derive(Debug)]
struct Pipeline {
    arn: String,
    created: Moment,
    modified: Moment,
    last_run: Option<Moment>,
    by: Value,
    body: Map<String, Value>,
    version: u64,
}

pub(crate) fn create(call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    let name = required(input, "PipelineName");
    let arn = arn::sagemaker("pipeline", &name);
    if world.pipelines.known.contains_key(&name) {
        return Err(ApiError::validation(format!(
            "Pipeline names must be unique within an AWS account and region. Pipeline with name ({name}) already exists."
        )));
    }
    definition::steps(definition::of(input)?)?;
    world.tags.create(&arn, input);
    let pipeline = Pipeline {
        arn: arn.clone(),
        created: call.now,
        modified: call.now,
        last_run: None,
        by: call.user(),
        body: without(input, &["Tags", "ClientRequestToken"]),
        version: 1,
    };
    world.pipelines.known.insert(name, pipeline);
    Ok(json!({"PipelineArn": arn}))
}

pub(crate) fn update(call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    let name = find(world, &required(input, "PipelineName"))?.0;
    if text(input, "PipelineDefinition").is_some() {
        definition::steps(definition::of(input)?)?;
    }
    let Some(pipeline) = world.pipelines.known.get_mut(&name) else {
        return Ok(json!({}));
    };
    pipeline.body.extend(without(input, &["PipelineName"]));
    pipeline.modified = call.now;
    pipeline.version += 1;
    Ok(json!({"PipelineArn": pipeline.arn, "PipelineVersionId": pipeline.version}))
}

pub(crate) fn delete(_call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    let name = find(world, &required(input, "PipelineName"))?.0;
    let arn = arn::sagemaker("pipeline", &name);
    world.pipelines.known.remove(&name);
    world.tags.remove(&arn);
    Ok(json!({"PipelineArn": arn}))
}

pub(crate) fn describe(_call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    let (_, pipeline) = find(world, &required(input, "PipelineName"))?;
    let mut body = pipeline.body.clone();
    body.insert("PipelineArn".into(), json!(pipeline.arn));
    body.insert("PipelineStatus".into(), json!("Active"));
    body.insert("CreationTime".into(), pipeline.created.json());
    body.insert("LastModifiedTime".into(), pipeline.modified.json());
    body.insert("CreatedBy".into(), pipeline.by.clone());
    if let Some(at) = pipeline.last_run {
        body.insert("LastRunTime".into(), at.json());
    }
    Ok(Value::Object(body))
}

pub(crate) fn list_pipelines(
    _call: &Call,
    world: &mut World,
    input: &Value,
) -> Result<Value, ApiError> {
    let prefix = text(input, "PipelineNamePrefix").unwrap_or_default();
    let named = world
        .pipelines
        .known
        .iter()
        .filter(|(name, _)| name.starts_with(prefix));
    let rows = named.map(|(name, pipeline)| {
        let mut summary = pick(
            &Value::Object(pipeline.body.clone()),
            &[
                "PipelineName",
                "PipelineDisplayName",
                "PipelineDescription",
                "RoleArn",
            ],
        );
        summary.insert("PipelineArn".into(), json!(pipeline.arn));
        summary.insert("CreationTime".into(), pipeline.created.json());
        summary.insert("LastModifiedTime".into(), pipeline.modified.json());
        Row {
            name: name.clone(),
            status: "Active".to_owned(),
            created: pipeline.created,
            modified: pipeline.modified,
            summary: Value::Object(summary),
        }
    });
    page::answer(
        input,
        "PipelineSummaries",
        rows.collect(),
        Order::Descending,
    )
}

pub(crate) fn start(call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    let (name, pipeline) = find(world, &required(input, "PipelineName"))?;
    let token = (name.clone(), required(input, "ClientRequestToken"));
    if let Some(arn) = world.pipelines.tokens.get(&token) {
        return Ok(json!({"PipelineExecutionArn": arn}));
    }
    let definition: Value = serde_json::from_str(definition::of(&Value::Object(
        pipeline.body.clone(),
    ))?)
    .map_err(|error| ApiError::validation(format!("Invalid pipeline definition: {error}")))?;
    let parameters = definition::parameters(&definition, list(input, "PipelineParameters"))?;
    let steps = definition::steps(&definition.to_string())?;
    let id = world.suffix(12);
    let arn = format!("{}/execution/{id}", arn::sagemaker("pipeline", &name));
    let body = without(input, &["PipelineName", "ClientRequestToken"]);
    let variables = Variables {
        parameters,
        pipeline: name.clone(),
        id: id.clone(),
        arn: arn.clone(),
        at: call.now,
    };
    let mut filled = Vec::new();
    for mut step in steps {
        match variables.fill(&step.arguments, 0) {
            Ok(arguments) => step.arguments = arguments,
            Err(error) => step.failure = Some(error),
        }
        filled.push(step);
    }
    let execution = Execution {
        pipeline: name.clone(),
        id,
        status: "Executing",
        created: call.now,
        modified: call.now,
        by: call.user(),
        body,
        failure: None,
        steps: filled,
    };
    let event = execution.event(&arn, None, call.now);
    world.pipelines.executions.insert(arn.clone(), execution);
    world.pipelines.tokens.insert(token, arn.clone());
    if let Some(pipeline) = world.pipelines.known.get_mut(&name) {
        pipeline.last_run = Some(call.now);
    }
    world.emit(event);
    tokio::spawn(execution::run(
        call.app.clone(),
        arn.clone(),
        call.caller.clone(),
    ));
    Ok(json!({"PipelineExecutionArn": arn}))
}

pub(crate) fn describe_execution(
    _call: &Call,
    world: &mut World,
    input: &Value,
) -> Result<Value, ApiError> {
    let arn = required(input, "PipelineExecutionArn");
    let execution = find_execution(world, &arn)?;
    let mut body = without(
        &Value::Object(execution.body.clone()),
        &["PipelineParameters"],
    );
    body.insert(
        "PipelineArn".into(),
        json!(arn::sagemaker("pipeline", &execution.pipeline)),
    );
    body.insert("PipelineExecutionArn".into(), json!(arn));
    body.entry("PipelineExecutionDisplayName")
        .or_insert(json!(format!("execution-{}", execution.id)));
    body.insert("PipelineExecutionStatus".into(), json!(execution.status));
    body.insert("CreationTime".into(), execution.created.json());
    body.insert("LastModifiedTime".into(), execution.modified.json());
    body.insert("CreatedBy".into(), execution.by.clone());
    if let Some(failure) = &execution.failure {
        body.insert("FailureReason".into(), json!(failure));
    }
    Ok(Value::Object(body))
}

pub(crate) fn list_executions(
    _call: &Call,
    world: &mut World,
    input: &Value,
) -> Result<Value, ApiError> {
    let (name, _) = find(world, &required(input, "PipelineName"))?;
    let of_pipeline = world
        .pipelines
        .executions
        .iter()
        .filter(|(_, execution)| execution.pipeline == name);
    let rows = of_pipeline.map(|(arn, execution)| {
        let mut summary = json!({
            "PipelineExecutionArn": arn,
            "StartTime": execution.created.json(),
            "PipelineExecutionStatus": execution.status,
            "PipelineExecutionDisplayName": format!("execution-{}", execution.id),
        });
        for member in [
            "PipelineExecutionDisplayName",
            "PipelineExecutionDescription",
        ] {
            if let Some(value) = execution.body.get(member) {
                summary[member] = value.clone();
            }
        }
        Row {
            name: arn.clone(),
            status: execution.status.to_owned(),
            created: execution.created,
            modified: execution.modified,
            summary,
        }
    });
    page::answer(
        input,
        "PipelineExecutionSummaries",
        rows.collect(),
        Order::Descending,
    )
}

pub(crate) fn list_steps(
    _call: &Call,
    world: &mut World,
    input: &Value,
) -> Result<Value, ApiError> {
    let execution = find_execution(world, &required(input, "PipelineExecutionArn"))?;
    let mut steps: Vec<Value> = execution
        .steps
        .iter()
        .filter(|step| step.started.is_some())
        .map(|step| {
            let mut body =
                json!({"StepName": step.name, "StepStatus": step.status, "AttemptCount": 1});
            if let Some(started) = step.started {
                body["StartTime"] = started.json();
            }
            if let Some(ended) = step.ended {
                body["EndTime"] = ended.json();
            }
            if let Some(failure) = &step.failure {
                body["FailureReason"] = json!(failure);
            }
            if let Some(arn) = &step.job_arn {
                body["Metadata"] = json!({"TrainingJob": {"Arn": arn}});
            }
            body
        })
        .collect();
    if text(input, "SortOrder") != Some("Ascending") {
        steps.reverse();
    }
    page::cut(input, "PipelineExecutionSteps", steps, 20)
}

/// The pipeline of a name or ARN. ARNs fold case.
fn find<'a>(world: &'a World, given: &str) -> Result<(String, &'a Pipeline), ApiError> {
    let wanted = arn::name_of("pipeline", given);
    world
        .pipelines
        .known
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
        .map(|(name, pipeline)| (name.clone(), pipeline))
        .ok_or_else(|| {
            ApiError::not_found(format!(
                "Pipeline '{}' does not exist.",
                arn::sagemaker("pipeline", wanted)
            ))
        })
}

fn find_execution<'a>(world: &'a World, arn: &str) -> Result<&'a Execution, ApiError> {
    world
        .pipelines
        .executions
        .get(arn)
        .ok_or_else(|| ApiError::not_found(format!("PipelineExecution '{arn}' does not exist.")))
}
