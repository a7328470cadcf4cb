//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Parser;

use crate::moment::Moment;

/// The part of Amazon SageMaker and CloudWatch that no local tool has: training jobs and
/// endpoints as real processes, the model registry, metrics, events and schedules, by a clock of
/// its own. Prints one line of JSON with its address when it is ready; logs to stderr.
#[derive(Debug, Clone, Parser)]
#[command(name = "sagemaker-local", version, args_override_self = true)]
pub(crate) struct Args {
    /// Port on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    pub(crate) port: u16,

    /// Where S3, EventBridge, Scheduler and SQS are (a moto server). Without it nothing that
    /// needs them works: no real jobs or models, no events sent, no schedules.
    #[arg(long, value_name = "URL")]
    pub(crate) aws_endpoint: Option<String>,

    /// Emulator seconds per real second; 60 is a minute a second, 0 stands still until the admin
    /// API moves it.
    #[arg(long, default_value_t = 1.0, value_parser = parse_speed)]
    pub(crate) speed: f64,

    /// Emulator time at the start (RFC 3339); the machine's time if not given.
    #[arg(long, value_name = "RFC3339", value_parser = parse_moment)]
    pub(crate) start: Option<Moment>,

    /// Folder for jobs, models and logs; a temporary one, removed at the end, if not given.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// Python that runs training and inference code, and whose botocore has the service models.
    #[arg(
        long,
        value_name = "PATH",
        env = "TIDEGATE_PYTHON",
        default_value = "python3"
    )]
    pub(crate) python: PathBuf,

    /// Folder with train.py and serve.py, which stand for the framework containers.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "tests/sagemaker-local/container"
    )]
    pub(crate) container: PathBuf,

    /// Appends each request and response to a file as a line of JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,

    /// Sends each event twice, with different ids, the second up to 30 s later.
    #[arg(long)]
    pub(crate) duplicate_events: bool,

    /// How late metrics become visible, in emulator seconds.
    #[arg(long, value_name = "MIN..MAX", default_value = "60..120")]
    pub(crate) metric_delay_seconds: Range,

    /// Queues `<prefix><function>` in SQS stand for the functions that schedules invoke.
    #[arg(long, default_value = "lambda-")]
    pub(crate) function_queue_prefix: String,

    /// Seed of everything random: routing, scripted answers, jitter.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,

    /// Emulator seconds that creating an endpoint takes, at least; jittered by a tenth.
    #[arg(long, default_value_t = 180)]
    pub(crate) create_seconds: u32,

    /// Emulator seconds that updating an endpoint takes, at least; jittered by a tenth.
    #[arg(long, default_value_t = 180)]
    pub(crate) update_seconds: u32,

    /// Emulator seconds that a change of weights or capacity takes; jittered by a tenth.
    #[arg(long, default_value_t = 60)]
    pub(crate) weights_seconds: u32,

    /// Emulator seconds that each stage of a training job before and after training takes.
    #[arg(long, default_value_t = 15)]
    pub(crate) stage_seconds: u32,

    /// Real seconds that a model server has to answer /ping before its deployment fails.
    #[arg(long, default_value_t = 60)]
    pub(crate) ping_timeout_real_seconds: u32,

    /// Real seconds that a model server has to answer an invocation.
    #[arg(long, default_value_t = 60)]
    pub(crate) invocation_timeout_real_seconds: u32,

    /// Keeps running when the process that started it has ended.
    #[arg(long)]
    pub(crate) outlive_parent: bool,
}

/// A range of seconds, `60..120`, or one number for both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) min: u32,
    pub(crate) max: u32,
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (min, max) = text.split_once("..").unwrap_or((text, text));
        let number = |part: &str| {
            part.parse::<u32>()
                .map_err(|_| format!("{part:?} is no whole number of seconds; write 60..120 or 90"))
        };
        let (min, max) = (number(min)?, number(max)?);
        if min > max || max > 3600 {
            return Err(format!("{text:?} must rise and end within 3600"));
        }
        Ok(Self { min, max })
    }
}

fn parse_moment(text: &str) -> Result<Moment, String> {
    Moment::parse(text).map_err(|error| format!("{error}; write 2026-03-01T12:00:00Z"))
}

fn parse_speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if (0.0..=100_000.0).contains(&speed) => Ok(speed),
        _ => Err("a speed is a number from 0 to 100000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_one_number_or_two() {
        assert_eq!("60..120".parse(), Ok(Range { min: 60, max: 120 }));
        assert_eq!("0".parse(), Ok(Range { min: 0, max: 0 }));
        assert!("120..60".parse::<Range>().is_err());
        assert!("soon".parse::<Range>().is_err());
    }
}
