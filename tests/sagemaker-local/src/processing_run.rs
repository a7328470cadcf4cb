//! One processing job over time: its container comes up, works, and ends or is stopped.
//!
//! The lengths are the emulator's; the work itself takes real time, in which the clock that is
//! moved by hand waits.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;

use crate::app::{App, Working};
use crate::cloudwatch;
use crate::events;
use crate::json::required;
use crate::moment::Span;
use crate::monitor::{analyzer, clarify};
use crate::processing::{self, Outcome};

/// Until the container runs.
const START: Span = Span::seconds(120);
/// What the analysis takes.
const WORK: Span = Span::seconds(180);

/// Starts a job that the world already knows.
pub(crate) fn start(app: &Arc<App>, name: String) {
    let (app, working) = (app.clone(), app.working());
    tokio::spawn(async move { run(&app, &name, working).await });
}

/// Runs a job to its end; answers whether time is still waited for, as [`App::sleep`] does.
pub(crate) async fn run(app: &Arc<App>, name: &str, working: Working) -> Option<Working> {
    let (body, mut stops) = {
        let world = app.world();
        let job = world.processing.get(name)?;
        (Value::Object(job.body.clone()), job.stops())
    };
    let mut working = Some(working);
    let mut outcome = Outcome::Stopped;
    if waited(app, START, &mut working, &mut stops).await {
        if let Some(job) = app.world().processing.get_mut(name) {
            job.start(app.clock.now());
        }
        if waited(app, WORK, &mut working, &mut stops).await {
            outcome = work(app, name, &body).await;
        }
    }
    let now = app.clock.now();
    {
        let mut world = app.world();
        let arn = &world.processing.get(name)?.arn;
        let tags = world.tags.map(arn);
        let event = world.processing.get_mut(name)?.end(outcome, now, tags);
        world.emit(event);
    }
    events::flush(app).await;
    working
}

/// Sleeps; false if the job was stopped meanwhile.
async fn waited(
    app: &Arc<App>,
    span: Span,
    working: &mut Option<Working>,
    stops: &mut watch::Receiver<bool>,
) -> bool {
    let own = working.take().unwrap_or_else(|| app.working());
    let stopped = tokio::select! {
        woken = app.sleep(span, own) => {
            *working = woken;
            false
        }
        _ = stops.wait_for(|stop| *stop) => true,
    };
    if stopped {
        *working = Some(app.working());
    }
    !stopped
}

async fn work(app: &Arc<App>, name: &str, body: &Value) -> Outcome {
    let image = required(&body["AppSpecification"], "ImageUri");
    let analyzed = match app.aws() {
        Ok(_) if processing::is_clarify(&image) => clarify::analyze(app, name, body).await,
        Ok(aws) => analyzer::analyze(&aws.s3, body).await,
        Err(error) => Err(format!("{error:#}")),
    };
    let now = app.clock.now();
    let mut world = app.world();
    let (log, outcome) = match analyzed {
        Ok(report) => {
            if let Some(metrics) = report.metrics {
                let _no_answer = cloudwatch::perform(&mut world, "PutMetricData", &metrics, now);
            }
            (report.log, Outcome::Completed(report.exit))
        }
        Err(reason) => (vec![reason.clone()], Outcome::Failed(reason)),
    };
    if let Some(job) = world.processing.get_mut(name) {
        tracing::info!(job = name, ?log, "processing job");
        job.log.extend(log);
    }
    outcome
}
