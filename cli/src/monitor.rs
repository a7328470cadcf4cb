//! `tidegate monitor`: the monitoring schedules of pipelines, what they found and what Tidegate did
//! about it, and a run of one by hand.
//!
//! A run by hand is all that this program changes in `SageMaker`, and only what it made itself is
//! deleted.

use tidegate_core::name::ScheduleName;

use crate::answer::Answer;
use crate::connect::Connection;
use crate::error::Problem;
use crate::render::Screen;

pub(crate) mod args;
mod aws;
mod definition;
mod list;
mod once;
mod show;
mod shown;
mod timing;
mod trail;

use args::Monitor;
use aws::Monitors;

/// Lists, shows or runs.
pub(crate) async fn run(
    args: &Monitor,
    table: Option<&str>,
    screen: &Screen,
) -> Result<Answer, Problem> {
    match args {
        Monitor::List { pipeline } => {
            let connection = Connection::open(table).await?;
            let monitors = Monitors::open().await?;
            Box::pin(list::run(
                pipeline.as_deref(),
                &connection,
                &monitors,
                screen,
            ))
            .await
        }
        Monitor::Show(args) => {
            let connection = Connection::open(table).await?;
            let monitors = Monitors::open().await?;
            Box::pin(show::run(args, &connection, &monitors, screen)).await
        }
        Monitor::Run(args) => Box::pin(once::run(args, &Monitors::open().await?, screen)).await,
    }
}

/// The schedule that a person names; what is no name can't be one.
async fn named(name: &str, monitors: &Monitors) -> Result<ScheduleName, Problem> {
    match ScheduleName::parse(name) {
        Ok(name) => Ok(name),
        Err(_) => Err(monitors.no_schedule(name).await),
    }
}
