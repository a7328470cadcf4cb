//! One tuning job over time: it launches its training jobs, so many at once, each a real one with
//! hyperparameters of the plan, and ends when they have ended.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::app::App;
use crate::errors::ApiError;
use crate::events;
use crate::sagemaker::Call;
use crate::training::{self, Status};
use crate::tuning::{self, Trial, Tuning, definitions};
use crate::tuning_plan::Planned;
use crate::world::World;

/// Looked at in real time, since jobs run in it; the clock may stand.
const LOOK: Duration = Duration::from_millis(50);

/// What of a definition is a training job's as it is.
const OF_DEFINITION: [&str; 13] = [
    "AlgorithmSpecification",
    "RoleArn",
    "InputDataConfig",
    "VpcConfig",
    "OutputDataConfig",
    "ResourceConfig",
    "StoppingCondition",
    "EnableNetworkIsolation",
    "EnableInterContainerTrafficEncryption",
    "EnableManagedSpotTraining",
    "CheckpointConfig",
    "RetryStrategy",
    "Environment",
];

/// Runs a tuning job to its end.
pub(crate) async fn run(app: Arc<App>, name: String, caller: String, mut plan: VecDeque<Planned>) {
    loop {
        let is_over = {
            let call = Call {
                app: app.clone(),
                now: app.clock.now(),
                caller: caller.clone(),
            };
            let mut world = app.world();
            match turn(&call, &mut world, &name, &mut plan) {
                Turn::Running => false,
                Turn::Over(status, failure) => {
                    tuning::enter(&mut world, &name, status, failure, call.now);
                    true
                }
                Turn::Gone => return,
            }
        };
        app.wake.notify_one();
        events::flush(&app).await;
        if is_over {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What one look came to.
enum Turn {
    Running,
    Over(Status, Option<String>),
    Gone,
}

/// Launches what there is room for.
fn turn(call: &Call, world: &mut World, name: &str, plan: &mut VecDeque<Planned>) -> Turn {
    loop {
        let Some(tuning) = world.tunings.get(name) else {
            return Turn::Gone;
        };
        let statuses = || {
            let jobs = tuning.trials.iter().filter_map(|t| world.jobs.get(&t.job));
            jobs.map(|job| job.status)
        };
        let running = statuses().filter(|status| !status.ended()).count();
        if tuning.status == Status::Stopping {
            plan.clear();
        }
        if running < at_once(tuning)
            && let Some(next) = plan.pop_front()
        {
            if let Err(error) = launch(call, world, name, next) {
                plan.clear();
                return Turn::Over(Status::Failed, Some(format!("ClientError: {error}")));
            }
            continue;
        }
        if running > 0 || !plan.is_empty() {
            return Turn::Running;
        }
        let all_failed = statuses().all(|status| status == Status::Failed);
        return if tuning.status == Status::Stopping {
            Turn::Over(Status::Stopped, None)
        } else if all_failed {
            let why = "All training jobs failed. Please take a look at the training jobs failures to get more details.";
            Turn::Over(Status::Failed, Some(why.to_owned()))
        } else {
            Turn::Over(Status::Completed, None)
        };
    }
}

fn at_once(tuning: &Tuning) -> usize {
    let limits = &tuning.body["HyperParameterTuningJobConfig"]["ResourceLimits"];
    let most = limits["MaxParallelTrainingJobs"].as_u64();
    most.and_then(|most| usize::try_from(most).ok())
        .unwrap_or(1)
}

/// Launches a training job; it gets the tags of the tuning job, and its name as the start of its own.
fn launch(call: &Call, world: &mut World, name: &str, planned: Planned) -> Result<(), ApiError> {
    let suffix = world.suffix(8);
    let gone = || ApiError::validation("the tuning job is gone");
    let tuning = world.tunings.get(name).ok_or_else(gone)?;
    let number = tuning.trials.len() + 1;
    let job = format!("{name}-{number:03}-{suffix}");
    let definition = definitions(&tuning.body).get(planned.definition).copied();
    let definition = definition.ok_or_else(gone)?;
    let mut request = Map::new();
    for member in OF_DEFINITION {
        if let Some(value) = definition.get(member) {
            request.insert(member.to_owned(), value.clone());
        }
    }
    if let Some(resources) = definition.get("HyperParameterTuningResourceConfig") {
        request.insert("ResourceConfig".into(), resources.clone());
    }
    let mut values = definition["StaticHyperParameters"].clone();
    for (key, value) in &planned.values {
        values[key] = json!(value);
    }
    request.insert("HyperParameters".into(), values);
    request.insert("TrainingJobName".into(), json!(job));
    let arn = tuning.arn.clone();
    request.insert("Tags".into(), Value::Array(world.tags.pairs(&arn)));
    training::launch(call, world, &Value::Object(request), Some(&arn))?;
    if let Some(tuning) = world.tunings.get_mut(name) {
        tuning.trials.push(Trial { job, planned });
    }
    Ok(())
}
