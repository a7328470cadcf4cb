//! Hyperparameter tuning jobs: what the API says and refuses. `tuning_plan.rs` draws the values that
//! are tried, `tuning_run.rs` launches the training jobs.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::arn;
use crate::errors::ApiError;
use crate::events::Event;
use crate::json::{list, required, text, without};
use crate::moment::Moment;
use crate::page::{self, Order};
use crate::sagemaker::Call;
use crate::training::{self, Job, Status};
use crate::tuning_plan::{self, Planned};
use crate::tuning_run;
use crate::world::World;

/// SageMaker tells each training job the objective by this hyperparameter, and takes it from nobody.
pub(crate) const OBJECTIVE: &str = "_tuning_objective_metric";

/// One tuning job.
#[derive(Debug)]
pub(crate) struct Tuning {
    pub(crate) name: String,
    pub(crate) arn: String,
    pub(crate) body: Map<String, Value>,
    pub(crate) status: Status,
    created: Moment,
    modified: Moment,
    ended: Option<Moment>,
    pub(crate) failure: Option<String>,
    /// The training jobs that it launched, in their order.
    pub(crate) trials: Vec<Trial>,
}

/// One training job of a tuning job.
#[derive(Debug, Clone)]
pub(crate) struct Trial {
    pub(crate) job: String,
    pub(crate) planned: Planned,
}

impl Tuning {
    /// Enters a status; each is an event.
    pub(crate) fn enter(&mut self, status: Status, at: Moment) {
        self.status = status;
        self.modified = at;
        if status.ended() {
            self.ended = Some(at);
        }
    }

    /// The event names no best training job; its times are milliseconds in strings.
    pub(crate) fn event(&self, world: &World, at: Moment) -> Event {
        let mut detail = json!({
            "HyperParameterTuningJobName": self.name,
            "HyperParameterTuningJobArn": self.arn,
            "HyperParameterTuningJobStatus": self.status.api(),
            "CreationTime": self.created.millis_text(),
            "LastModifiedTime": self.modified.millis_text(),
            "Tags": world.tags.map(&self.arn),
        });
        if let Some(definition) = self.body.get("TrainingJobDefinition") {
            detail["TrainingJobDefinition"] = definition.clone();
        }
        self.count(world, &mut detail);
        let kind = "SageMaker HyperParameter Tuning Job State Change";
        Event::new(at, kind, &self.arn, detail)
    }

    fn count(&self, world: &World, into: &mut Value) {
        let jobs = || self.trials.iter().filter_map(|t| world.jobs.get(&t.job));
        let count = |of: &[Status]| jobs().filter(|job| of.contains(&job.status)).count();
        into["TrainingJobStatusCounters"] = json!({
            "Completed": count(&[Status::Completed]),
            "InProgress": count(&[Status::InProgress, Status::Stopping]),
            "RetryableError": 0,
            "NonRetryableError": count(&[Status::Failed]),
            "Stopped": count(&[Status::Stopped]),
        });
        let objective = |of: &str| {
            let trials = self.trials.iter();
            let is = |trial: &&Trial| self.objective_status(world, trial) == of;
            trials.filter(is).count()
        };
        into["ObjectiveStatusCounters"] = json!({
            "Succeeded": objective("Succeeded"),
            "Pending": objective("Pending"),
            "Failed": objective("Failed"),
        });
    }

    fn objective_status(&self, world: &World, trial: &Trial) -> &'static str {
        let job = world.jobs.get(&trial.job);
        match job.filter(|job| job.status.ended()) {
            None => "Pending",
            Some(job) if job.status != Status::Failed && self.value(job, trial).is_some() => {
                "Succeeded"
            }
            Some(_) => "Failed",
        }
    }

    /// The objective of the trial's definition, else the tuning job's.
    fn objective(&self, trial: &Trial) -> Option<&Value> {
        let of_all = || {
            self.body
                .get("HyperParameterTuningJobConfig")?
                .get("HyperParameterTuningJobObjective")
        };
        let definition = definitions(&self.body)
            .get(trial.planned.definition)
            .copied();
        definition
            .and_then(|definition| definition.get("TuningObjective"))
            .or_else(of_all)
    }

    fn value(&self, job: &Job, trial: &Trial) -> Option<f64> {
        let metric = text(self.objective(trial)?, "MetricName")?;
        let found = job.metrics.iter().find(|known| known.name == metric)?;
        found.last.map(|(_, value)| value)
    }

    /// The training job that completed with the best value of the objective.
    fn best(&self, world: &World) -> Option<&Trial> {
        let goodness = |trial: &Trial| {
            let job = world.jobs.get(&trial.job)?;
            let value = self.value(job, trial)?;
            let is_least = text(self.objective(trial)?, "Type") == Some("Minimize");
            (job.status == Status::Completed).then_some(if is_least { -value } else { value })
        };
        let valued = self
            .trials
            .iter()
            .filter_map(|trial| Some((trial, goodness(trial)?)));
        // Of equals the first.
        let best = valued.reduce(|best, next| if next.1 > best.1 { next } else { best });
        best.map(|(trial, _)| trial)
    }

    fn summary(&self, world: &World, trial: &Trial) -> Value {
        let Some(job) = world.jobs.get(&trial.job) else {
            return json!({});
        };
        let mut summary = json!({
            "TrainingJobName": job.name,
            "TrainingJobArn": job.arn,
            "CreationTime": job.created.json(),
            "TrainingJobStatus": job.status.api(),
            "TunedHyperParameters": trial.planned.values,
            "ObjectiveStatus": self.objective_status(world, trial),
        });
        let definition = definitions(&self.body)
            .get(trial.planned.definition)
            .copied();
        if let Some(name) = definition.and_then(|one| text(one, "DefinitionName")) {
            summary["TrainingJobDefinitionName"] = json!(name);
        }
        if let Some(started) = job.started {
            summary["TrainingStartTime"] = started.json();
        }
        if let Some(ended) = job.ended {
            summary["TrainingEndTime"] = ended.json();
        }
        if let Some(failure) = &job.failure {
            summary["FailureReason"] = json!(failure);
        }
        if let (Some(objective), Some(value)) = (self.objective(trial), self.value(job, trial)) {
            summary["FinalHyperParameterTuningJobObjectiveMetric"] = json!({
                "Type": objective["Type"], "MetricName": objective["MetricName"], "Value": value,
            });
        }
        summary
    }

    fn describe(&self, world: &World) -> Value {
        let mut body = Value::Object(self.body.clone());
        body["HyperParameterTuningJobArn"] = json!(self.arn);
        body["HyperParameterTuningJobStatus"] = json!(self.status.api());
        body["CreationTime"] = self.created.json();
        body["LastModifiedTime"] = self.modified.json();
        if let Some(ended) = self.ended {
            body["HyperParameterTuningEndTime"] = ended.json();
            let seconds = (ended - self.created).as_millis() / 1000;
            body["ConsumedResources"] = json!({ "RuntimeInSeconds": seconds });
        }
        if let Some(failure) = &self.failure {
            body["FailureReason"] = json!(failure);
        }
        if let Some(best) = self.best(world) {
            body["BestTrainingJob"] = self.summary(world, best);
        }
        self.count(world, &mut body);
        body
    }
}

/// What training jobs are launched by: one definition, or several.
pub(crate) fn definitions(body: &Map<String, Value>) -> Vec<&Value> {
    let several = body.get("TrainingJobDefinitions").and_then(Value::as_array);
    let several = several.into_iter().flatten();
    body.get("TrainingJobDefinition")
        .into_iter()
        .chain(several)
        .collect()
}

pub(crate) fn create(call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    let name = required(input, "HyperParameterTuningJobName");
    let arn = arn::sagemaker("hyper-parameter-tuning-job", &name);
    // "The name is not case sensitive."
    if world
        .tunings
        .keys()
        .any(|known| known.eq_ignore_ascii_case(&name))
    {
        return Err(ApiError::in_use(
            "Hyperparameter tuning job names must be unique within an AWS account and region, and a hyperparameter tuning job with this name already exists",
        ));
    }
    let mut body = without(input, &["Tags"]);
    check(&body)?;
    let plan = tuning_plan::draw(&body, &mut world.rng)?;
    tell_objective(&mut body);
    world.tags.create(&arn, input);
    let tuning = Tuning {
        name: name.clone(),
        arn: arn.clone(),
        body,
        status: Status::InProgress,
        created: call.now,
        modified: call.now,
        ended: None,
        failure: None,
        trials: Vec::new(),
    };
    let event = tuning.event(world, call.now);
    world.tunings.insert(name.clone(), tuning);
    world.emit(event);
    tokio::spawn(tuning_run::run(
        call.app.clone(),
        name,
        call.caller.clone(),
        plan,
    ));
    Ok(json!({ "HyperParameterTuningJobArn": arn }))
}

fn check(body: &Map<String, Value>) -> Result<(), ApiError> {
    let has = |member| body.contains_key(member);
    if has("TrainingJobDefinition") == has("TrainingJobDefinitions") {
        return Err(ApiError::validation(
            "Exactly one of TrainingJobDefinition and TrainingJobDefinitions must be specified.",
        ));
    }
    let of_all = body["HyperParameterTuningJobConfig"].get("HyperParameterTuningJobObjective");
    for definition in definitions(body) {
        let fixed = definition.get("StaticHyperParameters");
        if fixed.is_some_and(|fixed| fixed.get(OBJECTIVE).is_some()) {
            return Err(ApiError::validation(format!(
                "The hyperparameter {OBJECTIVE} is reserved."
            )));
        }
        let objective = definition
            .get("TuningObjective")
            .or(of_all)
            .ok_or_else(|| {
                ApiError::validation(
                    "An objective for the hyperparameter tuning job must be specified.",
                )
            })?;
        let metric = required(objective, "MetricName");
        let known = list(&definition["AlgorithmSpecification"], "MetricDefinitions");
        if !known.iter().any(|one| text(one, "Name") == Some(&metric)) {
            return Err(ApiError::validation(format!(
                "The objective metric {metric} is not among the metric definitions."
            )));
        }
    }
    Ok(())
}

/// Descriptions show the hyperparameter that SageMaker adds.
fn tell_objective(body: &mut Map<String, Value>) {
    let of_all = body["HyperParameterTuningJobConfig"]
        .get("HyperParameterTuningJobObjective")
        .cloned();
    let tell = |definition: &mut Value| {
        let own = definition.get("TuningObjective").cloned();
        let objective = own.or_else(|| of_all.clone()).unwrap_or_default();
        if definition.get("StaticHyperParameters").is_none() {
            definition["StaticHyperParameters"] = json!({});
        }
        definition["StaticHyperParameters"][OBJECTIVE] = objective["MetricName"].clone();
    };
    if let Some(one) = body.get_mut("TrainingJobDefinition") {
        tell(one);
    }
    let several = body.get_mut("TrainingJobDefinitions");
    several
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .for_each(tell);
}

pub(crate) fn describe(_call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    Ok(find(world, input)?.describe(world))
}

pub(crate) fn stop(call: &Call, world: &mut World, input: &Value) -> Result<Value, ApiError> {
    let tuning = find(world, input)?;
    let running: Vec<String> = tuning
        .trials
        .iter()
        .map(|trial| trial.job.clone())
        .collect();
    match tuning.status {
        Status::InProgress => {}
        Status::Stopping => return Ok(json!({})),
        status => {
            return Err(ApiError::validation(format!(
                "The request was rejected because the hyperparameter tuning job is in status {}.",
                status.api()
            )));
        }
    }
    enter(
        world,
        &required(input, "HyperParameterTuningJobName"),
        Status::Stopping,
        None,
        call.now,
    );
    for job in running {
        // One that has ended can't be stopped, and need not be.
        let _ended = training::stop(call, world, &json!({ "TrainingJobName": job }));
    }
    Ok(json!({}))
}

/// A tuning job enters a status, and sends the event.
pub(crate) fn enter(
    world: &mut World,
    name: &str,
    status: Status,
    failure: Option<String>,
    at: Moment,
) {
    let Some(tuning) = world.tunings.get_mut(name) else {
        return;
    };
    tuning.failure = failure;
    tuning.enter(status, at);
    if let Some(tuning) = world.tunings.get(name) {
        let event = tuning.event(world, at);
        world.emit(event);
    }
}

pub(crate) fn list_training_jobs(
    _call: &Call,
    world: &mut World,
    input: &Value,
) -> Result<Value, ApiError> {
    let world = &*world;
    let tuning = find(world, input)?;
    let by = text(input, "SortBy").unwrap_or("Name");
    let value = |summary: &Value| {
        let metric = &summary["FinalHyperParameterTuningJobObjectiveMetric"];
        metric["Value"].as_f64()
    };
    let mut rows: Vec<Value> = tuning
        .trials
        .iter()
        .map(|trial| tuning.summary(world, trial))
        .filter(|row| {
            text(input, "StatusEquals").is_none_or(|s| text(row, "TrainingJobStatus") == Some(s))
        })
        // "any training jobs that did not return an objective metric are not listed"
        .filter(|row| by != "FinalObjectiveMetricValue" || value(row).is_some())
        .collect();
    match by {
        "FinalObjectiveMetricValue" => rows.sort_by(|a, b| {
            let (a, b) = (value(a).unwrap_or_default(), value(b).unwrap_or_default());
            a.total_cmp(&b)
        }),
        // They are launched in this order.
        "CreationTime" => {}
        "Status" => rows.sort_by_key(|row| required(row, "TrainingJobStatus")),
        _ => rows.sort_by_key(|row| required(row, "TrainingJobName")),
    }
    if page::order(input, Order::Ascending) == Order::Descending {
        rows.reverse();
    }
    page::cut(input, "TrainingJobSummaries", rows, 10)
}

fn find<'a>(world: &'a World, input: &Value) -> Result<&'a Tuning, ApiError> {
    let name = required(input, "HyperParameterTuningJobName");
    world.tunings.get(&name).ok_or_else(|| {
        ApiError::not_found(format!(
            "Amazon SageMaker can't find a tuning job with the name {name}."
        ))
    })
}

/// What is known of all tuning jobs.
pub(crate) type Tunings = BTreeMap<String, Tuning>;
