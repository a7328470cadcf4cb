//! `tidegate canary backtest`: what the judge would have said on past `CloudWatch` data, of a canary
//! that anybody shifted. It asks, and changes nothing; without a pipeline it needs no ledger.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use tidegate_core::name::EndpointName;
use tidegate_core::pipeline::Judge;

use crate::answer::Answer;
use crate::connect::{Connection, open_world};
use crate::error::{Exit, Problem};
use crate::render::{Screen, utc};
use crate::rollout::chart::whole_minute;
use crate::rollout::terminal::Glyphs;
use crate::rollout::write_svg;
use crate::when::When;

mod by;
mod past;
mod replay;
mod told;
mod variants;

use by::{By, read};
use past::Past;
use told::Told;

/// How long `CloudWatch` keeps minutes, and so the longest window.
const KEPT_DAYS: i64 = 15;

const BACKTEST: &str = "\
The canary is the variant whose traffic began later; its champion is the other one. Begin before the
canary did: up to 180 minutes of the champion alone, before the canary's first request, tell how
bursty bad answers are. A minute counts here whatever share of traffic the canary had in it.

Examples:
  tidegate canary backtest --endpoint fraud-prod --from 2026-11-24T20:00 --to 2026-11-24T23:00
  tidegate canary backtest --endpoint fraud-prod --from -6h --policy infra/pipelines/fraud.toml
  tidegate canary backtest --endpoint fraud-prod --from -3d --to -2d --canary v12 --baseline v11
  tidegate canary backtest --endpoint fraud-prod --from -6h --svg past.svg
  tidegate canary backtest --endpoint fraud-prod --from -6h --json | jq '{verdict, taken_back}'

Exit codes:
  0  judged, whatever the verdict
  1  there is no data, or it isn't clear which variant is the canary
  2  the command line or the policy is wrong
  3  AWS or the ledger can't be reached, or refuses";

/// Say what would have been said on past CloudWatch data.
// Doc comments are help texts here, and a terminal shows no Markdown.
#[allow(clippy::doc_markdown)]
#[derive(Debug, Args)]
#[command(after_help = BACKTEST)]
pub(crate) struct Backtest {
    /// The endpoint
    #[arg(long, value_name = "ENDPOINT", value_parser = endpoint)]
    pub(crate) endpoint: EndpointName,

    /// The first minute: 2026-11-24T21:00 (UTC unless it says else), or -90m, -3h, -2d before now
    #[arg(long, value_name = "TIME", value_parser = When::parse, allow_hyphen_values = true)]
    pub(crate) from: When,

    /// The end of the last minute, likewise; at most 15 days after the first
    #[arg(long, value_name = "TIME", value_parser = When::parse, allow_hyphen_values = true, default_value = "now")]
    pub(crate) to: When,

    /// The canary's variant [default: the one whose traffic began later]
    #[arg(long, value_name = "VARIANT")]
    pub(crate) canary: Option<String>,

    /// The variant that it is compared with [default: the other one]
    #[arg(long, value_name = "VARIANT")]
    pub(crate) baseline: Option<String>,

    /// Judge by this policy file's guards and statistics [default: model_errors, and the defaults
    /// of a policy]
    #[arg(long, value_name = "FILE", conflicts_with = "pipeline")]
    pub(crate) policy: Option<PathBuf>,

    /// Judge by the policy in force of this pipeline (its name or its model package group)
    #[arg(long, value_name = "PIPELINE")]
    pub(crate) pipeline: Option<String>,

    /// Write the chart as an SVG picture, too; - is standard output, with nothing else
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,

    /// Draw with ASCII characters only, as without a UTF-8 locale
    #[arg(long)]
    pub(crate) ascii: bool,
}

fn endpoint(text: &str) -> Result<EndpointName, String> {
    EndpointName::parse(text).map_err(|error| error.to_string())
}

/// Judges the past.
pub(crate) async fn run(
    args: &Backtest,
    table: Option<&str>,
    screen: &Screen,
) -> Result<Answer, Problem> {
    // What is wrong by this machine's clock is said before AWS is asked.
    let times = |now| window(args.from.at(now), args.to.at(now), now);
    let (mut from, mut to) = times(screen.now)?;
    let (world, by) = if let Some(name) = &args.pipeline {
        let connection = Connection::open(table).await?;
        let (_, snapshot) = connection.find(name).await?;
        (from, to) = times(screen.no_earlier_than(snapshot.head.now).now)?;
        let by = By::of(&snapshot.applied.policy, &args.endpoint, name);
        (connection.world().clone(), by)
    } else {
        let by = args
            .policy
            .as_deref()
            .map(|file| read(file, &args.endpoint));
        let by = by.transpose()?.unwrap_or_else(By::default);
        (open_world().await?, by)
    };
    let past = Past::gather(&world, args, &by, from, to).await?;
    let told = Told::of(args, by, past);
    let chart = told.chart();
    let mut text = told.text(&chart, Glyphs::of(args.ascii), screen);
    if let Some(path) = &args.svg {
        match write_svg(&chart, path)? {
            Some(picture) => text = picture,
            None => {
                let _ = writeln!(text, "\nThe picture is in {}.", path.display());
            }
        }
    }
    Answer::new(told.json(), text)
}

/// Whole minutes from `from` to `to`, without those that `CloudWatch` may not have yet.
fn window(
    from: Timestamp,
    to: Timestamp,
    now: Timestamp,
) -> Result<(Timestamp, Timestamp), Problem> {
    let wrong = |what: &str| Err(Problem::new(Exit::Usage, what));
    if from >= to {
        return wrong("--from is not before --to");
    }
    if to.duration_since(from) > SignedDuration::from_hours(24 * KEPT_DAYS) {
        return wrong(
            "--from and --to are more than 15 days apart, which is how long CloudWatch keeps minutes",
        );
    }
    let settle = SignedDuration::from_mins(i64::from(Judge::default().settle_minutes));
    let settled = whole_minute(now) - settle;
    let from = whole_minute(from);
    let mut end = whole_minute(to);
    // A time to come is of another clock, a simulated one say, and is taken at its word.
    if end > settled && to <= now {
        end = settled;
    }
    if from >= end {
        return wrong(
            "there is no whole minute in that time that CloudWatch has all of: the newest take two minutes",
        );
    }
    Ok((from, end))
}

/// A time to the minute.
fn short(at: Timestamp) -> String {
    utc(at).get(..16).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn time(text: &str) -> Timestamp {
        format!("2026-11-24T{text}Z").parse().unwrap()
    }

    #[test]
    fn a_window_has_whole_minutes_that_have_come_in() {
        let now = time("22:00:30");
        let of = |from, to| window(time(from), time(to), now).unwrap();
        assert_eq!(
            of("20:00:59", "21:00:59"),
            (time("20:00:00"), time("21:00:00"))
        );
        assert_eq!(of("20:00:00", "22:00:30").1, time("21:58:00"));
        // A simulated clock may be ahead of this one.
        assert_eq!(of("22:10:00", "22:20:00").1, time("22:20:00"));
        assert!(window(time("21:59:00"), now, now).is_err());
        assert!(window(now, now, now).is_err());
    }
}
