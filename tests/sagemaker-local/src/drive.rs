//! The driver: does what is due, in order of emulator time.
//!
//! Live, it sleeps until the next thing is due by the running clock. When time is moved by hand it
//! steps from one due thing to the next, so an advance of an hour does all that the hour holds,
//! each at its own time.

use std::sync::Arc;

use crate::app::App;
use crate::events::Event;
use crate::moment::{Moment, Span};
use crate::monitor::execution;
use crate::world::Due;
use crate::{capture, deployment, events, schedules, traffic};

/// Whether time runs or is moved by hand; then things are waited for that live happen beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    Live,
    ByHand,
}

/// Runs for ever, doing what is due by the running clock.
pub(crate) async fn run(app: Arc<App>) {
    loop {
        let next = app.world().next_due();
        let wait = next.and_then(|at| app.clock.until(at));
        tokio::select! {
            () = sleep(wait) => {}
            () = app.wake.notified() => {}
        }
        let _turn = app.driving.lock().await;
        let mut did_something = false;
        loop {
            let now = app.clock.now();
            let Some((at, due)) = app.world().take_due(now) else {
                break;
            };
            perform(&app, at, due, Pace::Live).await;
            did_something = true;
        }
        if did_something {
            events::flush(&app).await;
        }
    }
}

/// Moves the clock forward by hand and does everything due on the way. Answers the new time.
pub(crate) async fn advance(app: &Arc<App>, span: Span) -> Moment {
    let _turn = app.driving.lock().await;
    let target = app.clock.now() + span;
    loop {
        app.idle().await;
        let Some((at, due)) = app.world().take_due(target) else {
            break;
        };
        app.clock.hold(at);
        perform(app, at, due, Pace::ByHand).await;
        events::flush(app).await;
    }
    app.clock.release(target);
    app.wake.notify_one();
    target
}

async fn perform(app: &Arc<App>, at: Moment, due: Due, pace: Pace) {
    match due {
        Due::Deployment {
            endpoint,
            generation,
        } => {
            deployment::check(app, &endpoint, generation, at, pace).await;
        }
        Due::RolledBack {
            endpoint,
            generation,
        } => {
            deployment::rolled_back(&mut app.world(), &endpoint, generation, at);
        }
        Due::Deleted {
            endpoint,
            generation,
        } => {
            deployment::deleted(&mut app.world(), &endpoint, generation);
        }
        Due::Traffic {
            endpoint,
            generation,
        } => {
            traffic::slice(app, &endpoint, generation, at, pace).await;
        }
        Due::Captures { endpoint } => capture::deliver(app, &endpoint, pace).await,
        Due::Monitor {
            schedule,
            generation,
        } => execution::begin(app, &schedule, generation, at),
        Due::ReadSchedules => schedules::read(app, at, pace).await,
        Due::Fire {
            schedule,
            generation,
        } => {
            schedules::fire(app, schedule, generation, at, pace).await;
        }
        Due::Emit(event) => app.world().send(Event::clone(&event)),
        Due::Wake(sender) => {
            // If the sleeper has gone, its work ends as it is dropped here.
            let _gone = sender.send(app.working());
        }
    }
}

async fn sleep(wait: Option<std::time::Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}
