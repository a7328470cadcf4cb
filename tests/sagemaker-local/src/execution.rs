//! One execution of a pipeline: its steps one after the other, each a real training job.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::app::App;
use crate::arn;
use crate::definition::Step;
use crate::events::{self, Event};
use crate::json::required;
use crate::moment::Moment;
use crate::sagemaker;
use crate::training;

/// One execution.
#[derive(Debug)]
pub(crate) struct Execution {
    pub(crate) pipeline: String,
    pub(crate) id: String,
    pub(crate) status: &'static str,
    pub(crate) created: Moment,
    pub(crate) modified: Moment,
    pub(crate) by: Value,
    pub(crate) body: Map<String, Value>,
    pub(crate) failure: Option<String>,
    pub(crate) steps: Vec<Step>,
}

impl Execution {
    /// The event of the execution's status.
    pub(crate) fn event(&self, arn: &str, previous: Option<&str>, at: Moment) -> Event {
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
pub(crate) async fn run(app: Arc<App>, arn: String, caller: String) {
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
        step.started = Some(now);
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
        step.job_arn = Some(job_arn);
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
        tokio::time::sleep(Duration::from_millis(50)).await;
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
