//! SageMaker Pipelines as far as retraining needs them: definitions with Training steps, and their
//! executions as real training jobs. What runs them is in `execution` below.
//!
//! Parameters, `Std:Join` and execution variables are filled in; properties of other steps and
//! step types but Training are not here and fail the step with that reason.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::app::App;
use crate::arn;
use crate::errors::ApiError;
use crate::events::{self, Event};
use crate::json::{list, pick, required, text, without};
use crate::moment::Moment;
use crate::page::{self, Order, Row};
use crate::sagemaker::{self, Call};
use crate::training;
use crate::world::World;

/// A definition may have this many steps.
const MOST_STEPS: usize = 50;
/// Deeper nesting than any request has.
const MOST_DEPTH: usize = 64;

/// Pipelines by name and executions by ARN.
#[derive(Debug, Default)]
pub(crate) struct Pipelines {
    pipelines: BTreeMap<String, Pipeline>,
    executions: BTreeMap<String, Execution>,
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

#[derive(Debug)]
struct Execution {
    pipeline: String,
    id: String,
    status: &'static str,
    created: Moment,
    modified: Moment,
    by: Value,
    body: Map<String, Value>,
    failure: Option<String>,
    steps: Vec<Step>,
}

#[derive(Debug, Clone)]
struct Step {
    name: String,
    kind: String,
    arguments: Value,
    after: Vec<String>,
    status: &'static str,
    started: Option<Moment>,
    ended: Option<Moment>,
    job_arn: Option<String>,
    failure: Option<String>,
}

pub(crate) fn create(call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    let name = required(input, "PipelineName");
    let arn = arn::sagemaker("pipeline", &name);
    if world.pipelines.pipelines.contains_key(&name) {
        return Err(ApiError::validation(format!(
            "Pipeline names must be unique within an AWS account and region. Pipeline with name ({name}) already exists."
        )));
    }
    steps(definition(input)?)?;
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
    world.pipelines.pipelines.insert(name, pipeline);
    Ok(json!({"PipelineArn": arn}))
}

pub(crate) fn update(call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    let name = find(world, &required(input, "PipelineName"))?.0;
    if text(input, "PipelineDefinition").is_some() {
        steps(definition(input)?)?;
    }
    let Some(pipeline) = world.pipelines.pipelines.get_mut(&name) else {
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
    world.pipelines.pipelines.remove(&name);
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
        .pipelines
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
    let definition: Value = serde_json::from_str(definition(&Value::Object(
        pipeline.body.clone(),
    ))?)
    .map_err(|error| ApiError::validation(format!("Invalid pipeline definition: {error}")))?;
    let parameters = parameters(&definition, list(input, "PipelineParameters"))?;
    let steps = steps(&definition.to_string())?;
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
    if let Some(pipeline) = world.pipelines.pipelines.get_mut(&name) {
        pipeline.last_run = Some(call.now);
    }
    world.emit(event);
    tokio::spawn(run(call.app.clone(), arn.clone(), call.caller.clone()));
    Ok(json!({"PipelineExecutionArn": arn}))
}

pub(crate) fn describe_execution(
    _call: &Call,
    world: &mut World,
    input: &Value,
) -> Result<Value, ApiError> {
    let arn = required(input, "PipelineExecutionArn");
    let execution = execution(world, &arn)?;
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
    let execution = execution(world, &required(input, "PipelineExecutionArn"))?;
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
        .pipelines
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

fn execution<'a>(world: &'a World, arn: &str) -> Result<&'a Execution, ApiError> {
    world
        .pipelines
        .executions
        .get(arn)
        .ok_or_else(|| ApiError::not_found(format!("PipelineExecution '{arn}' does not exist.")))
}

fn definition(body: &Value) -> Result<&str, ApiError> {
    text(body, "PipelineDefinition").ok_or_else(|| {
        ApiError::validation(
            "PipelineDefinition must be specified (definitions in S3 are not implemented here).",
        )
    })
}

/// The steps of a definition in an order in which each comes after those it depends on.
fn steps(definition: &str) -> Result<Vec<Step>, ApiError> {
    let definition: Value = serde_json::from_str(definition)
        .map_err(|error| ApiError::validation(format!("Invalid pipeline definition: {error}")))?;
    let given = list(&definition, "Steps");
    if given.is_empty() || given.len() > MOST_STEPS {
        return Err(ApiError::validation(format!(
            "Invalid pipeline definition: it must have 1 to {MOST_STEPS} steps."
        )));
    }
    let mut open: Vec<Step> = given.iter().map(step).collect();
    let names: BTreeSet<String> = open.iter().map(|step| step.name.clone()).collect();
    if names.len() != open.len() || names.contains("") {
        return Err(ApiError::validation(
            "Invalid pipeline definition: step names must be unique.",
        ));
    }
    let mut ordered: Vec<Step> = Vec::new();
    while !open.is_empty() {
        let ready = open.iter().position(|step| {
            step.after
                .iter()
                .all(|before| ordered.iter().any(|done| done.name == *before))
        });
        let Some(index) = ready else {
            return Err(ApiError::validation(
                "Invalid pipeline definition: steps depend on each other in a circle or on a step that is not there.",
            ));
        };
        ordered.push(open.remove(index));
    }
    Ok(ordered)
}

fn step(given: &Value) -> Step {
    Step {
        name: required(given, "Name"),
        kind: required(given, "Type"),
        arguments: given.get("Arguments").cloned().unwrap_or_else(|| json!({})),
        after: list(given, "DependsOn")
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        status: "Starting",
        started: None,
        ended: None,
        job_arn: None,
        failure: None,
    }
}

/// The definition's defaults, overridden by the request.
fn parameters(definition: &Value, given: &[Value]) -> Result<BTreeMap<String, Value>, ApiError> {
    let mut all = BTreeMap::new();
    for parameter in list(definition, "Parameters") {
        let name = required(parameter, "Name");
        let own = given.iter().find(|one| text(one, "Name") == Some(&name));
        let value = match (own, parameter.get("DefaultValue")) {
            (Some(own), _) => typed(
                &required(own, "Value"),
                text(parameter, "Type").unwrap_or("String"),
            ),
            (None, Some(default)) => default.clone(),
            (None, None) => {
                return Err(ApiError::validation(format!(
                    "Pipeline parameter {name} has no value."
                )));
            }
        };
        all.insert(name, value);
    }
    if let Some(unknown) = given
        .iter()
        .map(|one| required(one, "Name"))
        .find(|name| !all.contains_key(name))
    {
        return Err(ApiError::validation(format!(
            "Unknown pipeline parameter: {unknown} is not in the definition."
        )));
    }
    Ok(all)
}

fn typed(text: &str, kind: &str) -> Value {
    match kind {
        "Integer" => text
            .parse::<i64>()
            .map_or(json!(text), |number| json!(number)),
        "Float" => text
            .parse::<f64>()
            .map_or(json!(text), |number| json!(number)),
        "Boolean" => text
            .parse::<bool>()
            .map_or(json!(text), |truth| json!(truth)),
        _ => json!(text),
    }
}

/// What references in a step's arguments stand for.
struct Variables {
    parameters: BTreeMap<String, Value>,
    pipeline: String,
    id: String,
    arn: String,
    at: Moment,
}

impl Variables {
    fn fill(&self, value: &Value, depth: usize) -> Result<Value, String> {
        if depth > MOST_DEPTH {
            return Err("The arguments are nested too deeply.".to_owned());
        }
        match value {
            Value::Array(items) => items
                .iter()
                .map(|item| self.fill(item, depth + 1))
                .collect(),
            Value::Object(object) => {
                if let (1, Some(reference)) =
                    (object.len(), object.get("Get").and_then(Value::as_str))
                {
                    return self.get(reference);
                }
                if let (1, Some(join)) = (object.len(), object.get("Std:Join")) {
                    let parts = list(join, "Values").iter().map(|part| {
                        self.fill(part, depth + 1).map(|part| match part {
                            Value::String(text) => text,
                            other => other.to_string(),
                        })
                    });
                    let parts: Vec<String> = parts.collect::<Result<_, _>>()?;
                    return Ok(json!(parts.join(text(join, "On").unwrap_or_default())));
                }
                let filled: Result<Map<_, _>, String> = object
                    .iter()
                    .map(|(key, value)| Ok((key.clone(), self.fill(value, depth + 1)?)))
                    .collect();
                filled.map(Value::Object)
            }
            other => Ok(other.clone()),
        }
    }

    fn get(&self, reference: &str) -> Result<Value, String> {
        if let Some(value) = reference
            .strip_prefix("Parameters.")
            .and_then(|name| self.parameters.get(name))
        {
            return Ok(value.clone());
        }
        match reference {
            "Execution.PipelineName" => Ok(json!(self.pipeline)),
            "Execution.PipelineArn" => Ok(json!(arn::sagemaker("pipeline", &self.pipeline))),
            "Execution.PipelineExecutionId" => Ok(json!(self.id)),
            "Execution.PipelineExecutionArn" => Ok(json!(self.arn)),
            "Execution.StartDateTime" | "Execution.CurrentDateTime" => {
                Ok(json!(self.at.iso_seconds()))
            }
            _ => Err(format!("not implemented here: the reference {reference}")),
        }
    }
}

impl Execution {
    fn event(&self, arn: &str, previous: Option<&str>, at: Moment) -> Event {
        let pipeline = arn::sagemaker("pipeline", &self.pipeline);
        let mut detail = json!({
            "pipelineArn": pipeline,
            "pipelineExecutionArn": arn,
            "currentPipelineExecutionStatus": self.status,
            "executionStartTime": self.created.iso(),
        });
        if let Some(previous) = previous {
            detail["previousPipelineExecutionStatus"] = json!(previous);
        }
        for (member, from) in [
            (
                "pipelineExecutionDisplayName",
                "PipelineExecutionDisplayName",
            ),
            (
                "pipelineExecutionDescription",
                "PipelineExecutionDescription",
            ),
        ] {
            if let Some(value) = self.body.get(from) {
                detail[member] = value.clone();
            }
        }
        if self.status != "Executing" {
            detail["executionEndTime"] = json!(at.iso());
        }
        Event {
            at,
            detail_type: "SageMaker Model Building Pipeline Execution Status Change",
            resources: vec![pipeline, arn.to_owned()],
            detail,
        }
    }

    fn step_event(&self, arn: &str, step: &Step, previous: Option<&str>, at: Moment) -> Event {
        let pipeline = arn::sagemaker("pipeline", &self.pipeline);
        let mut detail = json!({
            "stepName": step.name,
            "stepType": step.kind,
            "currentStepStatus": step.status,
            "pipelineArn": pipeline,
            "pipelineExecutionArn": arn,
            "metadata": {},
        });
        if let Some(previous) = previous {
            detail["previousStepStatus"] = json!(previous);
        }
        if let Some(started) = step.started {
            detail["stepStartTime"] = json!(started.iso());
        }
        if let Some(ended) = step.ended {
            detail["stepEndTime"] = json!(ended.iso());
        }
        if let Some(job) = &step.job_arn {
            detail["metadata"] = json!({"trainingJob": {"arn": job}});
        }
        if let Some(failure) = &step.failure {
            detail["failureReason"] = json!(failure);
        }
        Event {
            at,
            detail_type: "SageMaker Model Building Pipeline Execution Step Status Change",
            resources: vec![pipeline, arn.to_owned()],
            detail,
        }
    }
}

/// Runs the steps of an execution one after the other.
async fn run(app: Arc<App>, arn: String, caller: String) {
    let count = app
        .world()
        .pipelines
        .executions
        .get(&arn)
        .map_or(0, |one| one.steps.len());
    let mut failure = None;
    for index in 0..count {
        if let Err(reason) = run_step(&app, &arn, index, &caller).await {
            failure = Some(reason);
            break;
        }
    }
    let now = app.clock.now();
    {
        let mut world = app.world();
        let Some(execution) = world.pipelines.executions.get_mut(&arn) else {
            return;
        };
        execution.status = if failure.is_some() {
            "Failed"
        } else {
            "Succeeded"
        };
        execution.modified = now;
        execution.failure =
            failure.map(|reason| format!("Step failure: One or multiple steps failed. {reason}"));
        let event = execution.event(&arn, Some("Executing"), now);
        world.emit(event);
    }
    events::flush(&app).await;
}

async fn run_step(app: &Arc<App>, arn: &str, index: usize, caller: &str) -> Result<(), String> {
    change_step(app, arn, index, "Starting", |step, now| {
        step.started = Some(now)
    });
    let (step, id) = {
        let world = app.world();
        let execution = world
            .pipelines
            .executions
            .get(arn)
            .ok_or("the execution is gone")?;
        (execution.steps[index].clone(), execution.id.clone())
    };
    let result = match (&step.failure, step.kind.as_str()) {
        (Some(failure), _) => Err(failure.clone()),
        (None, "Training") => train(app, arn, index, step, &id, caller).await,
        (None, other) => Err(format!("not implemented here: steps of type {other}")),
    };
    let (status, failure) = match &result {
        Ok(()) => ("Succeeded", None),
        Err(reason) => ("Failed", Some(reason.clone())),
    };
    change_step(app, arn, index, status, |step, now| {
        step.ended = Some(now);
        step.failure.clone_from(&failure);
    });
    events::flush(app).await;
    result
}

async fn train(
    app: &Arc<App>,
    arn: &str,
    index: usize,
    step: Step,
    id: &str,
    caller: &str,
) -> Result<(), String> {
    let mut request = step.arguments;
    if training::name_in(&request).is_none() {
        let suffix = app.world().suffix(10);
        let short: String = step
            .name
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .take(20)
            .collect();
        request["TrainingJobName"] = json!(format!("pipelines-{id}-{short}-{suffix}"));
    }
    let job = required(&request, "TrainingJobName");
    sagemaker::perform(app, "CreateTrainingJob", request, caller.to_owned())
        .await
        .map_err(|error| format!("ClientError: {error}"))?;
    let job_arn = arn::sagemaker("training-job", &job);
    change_step(app, arn, index, "Executing", |step, _| {
        step.job_arn = Some(job_arn)
    });
    loop {
        let (status, failure) = {
            let world = app.world();
            let job = world.jobs.get(&job).ok_or("the training job is gone")?;
            (job.status, job.failure.clone())
        };
        match status {
            training::Status::Completed => return Ok(()),
            status if status.ended() => {
                return Err(failure
                    .unwrap_or_else(|| format!("The training job ended as {}.", status.api())));
            }
            _ => {}
        }
        // Looked at in real time, since the job runs in it; the clock may stand.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

fn change_step(
    app: &Arc<App>,
    arn: &str,
    index: usize,
    status: &'static str,
    change: impl FnOnce(&mut Step, Moment),
) {
    let now = app.clock.now();
    let mut world = app.world();
    let Some(execution) = world.pipelines.executions.get_mut(arn) else {
        return;
    };
    let previous = execution.steps[index].status;
    execution.modified = now;
    let step = &mut execution.steps[index];
    step.status = status;
    change(step, now);
    let step = step.clone();
    let previous = (previous != status).then_some(previous);
    let event = execution.step_event(arn, &step, previous, now);
    world.emit(event);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn variables() -> Variables {
        Variables {
            parameters: BTreeMap::from([
                ("Bucket".to_owned(), json!("data")),
                ("Count".to_owned(), json!(2)),
            ]),
            pipeline: "retrain".to_owned(),
            id: "abc".to_owned(),
            arn: "arn".to_owned(),
            at: Moment::from_millis(0),
        }
    }

    #[test]
    fn parameters_are_filled_in_at_any_depth() {
        let arguments = json!({"A": {"Get": "Parameters.Count"}, "B": [{"Std:Join": {"On": "/", "Values": ["s3:/", {"Get": "Parameters.Bucket"}, {"Get": "Execution.PipelineExecutionId"}]}}]});
        assert_eq!(
            variables().fill(&arguments, 0).unwrap(),
            json!({"A": 2, "B": ["s3://data/abc"]})
        );
        assert!(
            variables()
                .fill(&json!({"Get": "Steps.Train.X"}), 0)
                .is_err()
        );
    }

    #[test]
    fn steps_come_after_those_they_depend_on() {
        let definition = json!({"Steps": [
            {"Name": "b", "Type": "Training", "DependsOn": ["a"]}, {"Name": "a", "Type": "Training"}]});
        let names: Vec<String> = steps(&definition.to_string())
            .unwrap()
            .into_iter()
            .map(|step| step.name)
            .collect();
        assert_eq!(names, ["a", "b"]);
        let circle = json!({"Steps": [{"Name": "a", "Type": "Training", "DependsOn": ["a"]}]});
        assert!(steps(&circle.to_string()).is_err());
    }

    #[test]
    fn a_parameter_that_the_definition_lacks_is_refused() {
        let definition =
            json!({"Parameters": [{"Name": "Count", "Type": "Integer", "DefaultValue": 1}]});
        assert_eq!(
            parameters(&definition, &[json!({"Name": "Count", "Value": "3"})]).unwrap()["Count"],
            3
        );
        assert!(parameters(&definition, &[json!({"Name": "Other", "Value": "3"})]).is_err());
    }
}
