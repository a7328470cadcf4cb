//! `tidegate monitor run`: a schedule's job once, now, and what it found.
//!
//! `SageMaker` runs a job once by a schedule with the expression `NOW`, which needs a window of data
//! of 24 hours at most (API reference, `ScheduleConfig`). It is named after the schedule, so that
//! Tidegate deals with what it finds as with the schedule's own findings.

use std::time::Duration;

use aws_sdk_sagemaker::error::ProvideErrorMetadata as _;
use aws_sdk_sagemaker::types::ScheduleConfig;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use tidegate_core::name::ScheduleName;
use tidegate_core::run_once;
use tokio::time::{Instant, sleep};

use super::args::Run;
use super::aws::{Execution, Monitors, Schedule};
use super::definition;
use super::show;
use super::shown::{self, Shown};
use crate::answer::Answer;
use crate::error::{Exit, Problem};
use crate::render::{Screen, clean};

/// How long a run is waited for: it may begin 20 minutes late, and an hour is its usual longest.
const LONGEST_WAIT: Duration = Duration::from_hours(3);
/// The longest between two looks.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// How often a deletion is tried: a schedule that changes refuses it for some seconds.
const DELETIONS: u32 = 10;

/// What `monitor run --json` prints.
#[derive(Debug, Serialize)]
struct Ran {
    schedule: ScheduleName,
    /// The name of the run.
    run: ScheduleName,
    hours: u8,
    /// How it ended; none if that was not waited for.
    ended: Option<Shown>,
    /// Whether the run's schedule is gone again.
    deleted: bool,
}

/// How waiting ended.
enum Waited {
    Ended(Execution),
    /// The schedule itself failed, for this reason.
    Failed(String),
    /// A person or the limit of time ended it.
    Left,
}

/// Runs a schedule's job.
pub(super) async fn run(
    args: &Run,
    monitors: &Monitors,
    screen: &Screen,
) -> Result<Answer, Problem> {
    let name = super::named(&args.schedule, monitors).await?;
    let Some(schedule) = monitors.find(&name).await? else {
        return Err(monitors.no_schedule(&args.schedule).await);
    };
    if run_once::origin(&name).is_some() && schedule.expression.as_deref() == Some("NOW") {
        return Err(Problem::new(Exit::Usage, format!("{name} is a run itself"))
            .help("run the schedule that it was made from"));
    }
    let run = run_once::name(&name, Timestamp::now());
    if schedule.endpoint.is_none() && run_once::origin(&run).as_ref() != Some(&name) {
        return Err(Problem::new(
            Exit::No,
            format!(
                "{name} has a name of more than {} characters",
                run_once::LONGEST
            ),
        )
        .why("it names no endpoint, so Tidegate knows a run of it by its name alone")
        .help("run it from the SageMaker console, or give the schedule a shorter name"));
    }
    let input = definition::of(monitors, &schedule).await?;
    let offsets = input.and_then(|definition| show::offsets(&definition.input));
    create(monitors, &schedule, &run, args.hours).await?;
    say(&format!(
        "{run} is asked for: {}",
        shown::subject(&schedule)
    ));
    if let Some(offsets) = offsets {
        say(&format!(
            "The definition says itself which data it looks at, {offsets}: that may go before --hours."
        ));
    }
    let mut ran = Ran {
        schedule: name,
        run,
        hours: args.hours,
        ended: None,
        deleted: false,
    };
    if !args.wait {
        let text = how_to_look(&ran.run);
        return Answer::new(ran, text);
    }
    match wait(monitors, &ran.run).await? {
        Waited::Left => {
            let text = format!("{} goes on.\n{}", ran.run, how_to_look(&ran.run));
            Ok(Answer::new(ran, text)?.ending(Exit::No))
        }
        Waited::Failed(why) => {
            let deleted = delete(monitors, &ran.run).await;
            let problem = Problem::new(Exit::No, format!("{} failed", ran.run)).why(why);
            let problems = std::iter::once(problem).chain(deleted.err()).collect();
            Ok(Answer::new(json!(null), "")?.with(problems))
        }
        Waited::Ended(execution) => {
            let is_well = execution.status == "completed";
            let shown = show::read(execution, monitors).await;
            let deleted = delete(monitors, &ran.run).await;
            ran.deleted = deleted.is_ok();
            let screen = screen.no_earlier_than(Some(shown.run.changed));
            let mut text = shown::run(&shown, &screen);
            text.push_str(&what_now(&shown, &ran.run));
            ran.ended = Some(shown);
            let answer = Answer::new(ran, text)?.with(deleted.err().into_iter().collect());
            Ok(if is_well {
                answer
            } else {
                answer.ending(Exit::No)
            })
        }
    }
}

/// Makes the schedule of the run.
async fn create(
    monitors: &Monitors,
    schedule: &Schedule,
    run: &ScheduleName,
    hours: u8,
) -> Result<(), Problem> {
    let once = ScheduleConfig::builder()
        .schedule_expression("NOW")
        .data_analysis_start_time(format!("-PT{hours}H"))
        .data_analysis_end_time("-PT0H")
        .build();
    let mut config = schedule
        .config
        .clone()
        .ok_or_else(|| Problem::new(Exit::Aws, format!("{} has no definition", schedule.name)))?;
    config.schedule_config = Some(once);
    let create = monitors.sagemaker.create_monitoring_schedule();
    let create = create
        .monitoring_schedule_name(run.as_str())
        .monitoring_schedule_config(config);
    let Err(error) = create.send().await else {
        return Ok(());
    };
    let code = error.as_service_error().and_then(|said| said.code());
    if code == Some("ResourceInUse") {
        return Err(Problem::new(Exit::No, format!("{run} runs already"))
            .help(format!("`tidegate monitor show {run}` shows it")));
    }
    let problem = monitors.failed("CreateMonitoringSchedule", &error);
    Err(if code.is_some_and(|code| code.contains("AccessDenied")) {
        problem.help("the stack's output MonitorRunPolicyArn is a policy for it")
    } else {
        problem
    })
}

/// Looks at the run until it has ended, and tells when something changed.
async fn wait(monitors: &Monitors, run: &ScheduleName) -> Result<Waited, Problem> {
    tokio::select! {
        waited = look(monitors, run) => waited,
        // Without a handler for it, the signal ends the program as usual.
        Ok(()) = tokio::signal::ctrl_c() => Ok(Waited::Left),
    }
}

async fn look(monitors: &Monitors, run: &ScheduleName) -> Result<Waited, Problem> {
    let begin = Instant::now();
    let mut pause = Duration::from_secs(1);
    let mut told = String::new();
    while begin.elapsed() < LONGEST_WAIT {
        let execution = monitors.executions(run, 1).await?.pop();
        let status = match &execution {
            Some(execution) => execution.status.replace('_', " "),
            None => match monitors.find(run).await? {
                Some(schedule) if schedule.state == "failed" => {
                    let why = schedule.failure.unwrap_or_default();
                    return Ok(Waited::Failed(why));
                }
                Some(_) => "waiting to begin".to_owned(),
                None => return Ok(Waited::Failed("somebody deleted it".to_owned())),
            },
        };
        if status != told {
            let minutes = begin.elapsed().as_secs() / 60;
            say(&format!("{status}, after {minutes} min"));
            told = status;
        }
        match execution {
            Some(execution) if execution.is_over() => return Ok(Waited::Ended(execution)),
            _ => sleep(pause).await,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Ok(Waited::Left)
}

/// Deletes the schedule of the run; its runs stay known.
async fn delete(monitors: &Monitors, run: &ScheduleName) -> Result<(), Problem> {
    let mut left = DELETIONS;
    loop {
        left -= 1;
        let delete = monitors.sagemaker.delete_monitoring_schedule();
        match delete.monitoring_schedule_name(run.as_str()).send().await {
            Ok(_) => return Ok(()),
            Err(error) => {
                let said = error.as_service_error();
                if said.and_then(|said| said.code()) == Some("ResourceNotFound") {
                    return Ok(());
                }
                let message = said.and_then(|said| said.message()).unwrap_or_default();
                if left == 0 || !message.contains("Pending") {
                    let problem = monitors.failed("DeleteMonitoringSchedule", &error);
                    return Err(problem.help(format!("it has done its work: {}", by_hand(run))));
                }
            }
        }
        sleep(Duration::from_secs(3)).await;
    }
}

/// What a person should know after the end.
fn what_now(shown: &Shown, run: &ScheduleName) -> String {
    if shown.run.has_violations() {
        format!(
            "\nTidegate hears of this by its event. What it did, in some minutes:\n  \
             tidegate monitor show {run}\n"
        )
    } else if shown.run.is_failed() {
        "\nNothing is known of the data. \"No data\" means that none was captured in these hours.\n"
            .to_owned()
    } else {
        "\nNothing was found.\n".to_owned()
    }
}

fn how_to_look(run: &ScheduleName) -> String {
    format!(
        "How it goes (it may begin 20 minutes late):\n  tidegate monitor show {run}\n\
         Its schedule stays until you delete it:\n  {}\n",
        by_hand(run)
    )
}

fn by_hand(run: &ScheduleName) -> String {
    format!("aws sagemaker delete-monitoring-schedule --monitoring-schedule-name {run}")
}

/// Says something on standard error while it goes on.
fn say(text: &str) {
    use std::io::Write as _;
    // Nowhere is left to say that it can't be said.
    let _ = writeln!(std::io::stderr().lock(), "{}", clean(text));
}
