//! The command line of `tidegate canary`: options and their help.

// Doc comments are help texts here, and a terminal shows no Markdown.
#![allow(clippy::doc_markdown)]

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::backtest::Backtest;

const JUDGE: &str = "\
FILE is one object, or an object with many of them in `cases`:

  {\"policy\": {\"alpha\": 0.01, \"beta\": 0.05, \"tolerated_ratio\": 1.0, \"margin_ratio\": 1.5,
              \"ceiling\": 0.02, \"alone\": false},
   \"metrics\": [{\"name\": \"5xx\",
                \"history\": [[600, 3], [612, 5]],
                \"minutes\": [[570, 3, 30, 1], [575, 2, 28, 4]]}]}

`history` has requests and bad answers of the champion alone, a minute a row, before the canary;
`minutes` has the champion's requests and bad answers, then the canary's. Everything in `policy` may
be left out. With `alone` there is no champion beside the canary: its columns hold the same minutes
of another day, and the ceiling counts for harm as well.

Examples:
  tidegate canary judge minutes.json
  tidegate canary judge minutes.json --json | jq '.metrics[] | {name, harm, needed, odds}'
  echo '{\"metrics\": [{\"history\": [], \"minutes\": [[950, 9, 50, 6]]}]}' | tidegate canary judge -
  tidegate canary judge load-test.json --fail-on-roll-back      in CI

Exit codes:
  0  judged, whatever the verdict
  1  with --fail-on-roll-back: a canary would have been taken back
  2  the command line or the file is wrong; every mistake is named with its place";

const PLAN: &str = "\
Traffic and error rate are those of the endpoint's last 3 hours in CloudWatch, unless options give
them; steps, times, guards and statistics are the policy's. Without PIPELINE all is by options, and
no AWS account is needed.

Each line of the answer is computed (from the evidence that such a minute brings on average) and
confirmed by simulated rollouts, drawn from a seed. BEST is Wald's bound: a test that knew both
rates beforehand could not do better on average. A rollout with a canary keeps a tenth of alpha for
the time when the candidate has all the traffic; what is planned here has nine tenths.

Examples:
  tidegate canary plan --requests-per-minute 600 --error-rate 1%
  tidegate canary plan --requests-per-minute 40 --error-rate 0.002 --steps 10,50 --step-minutes 30
  tidegate canary plan fraud --stage production
  tidegate canary plan infra/pipelines/fraud.toml --requests-per-minute 600 --error-rate 0.5%

Exit codes:
  0  planned
  1  no such pipeline or stage
  2  the command line or the policy is wrong, or it isn't known how much traffic there is
  3  AWS or the ledger can't be reached, or refuses";

/// Judge canaries: on counts that you have, on plans, on the past.
#[derive(Debug, Subcommand)]
pub(crate) enum Canary {
    /// Judge counts from a file as a rollout would
    #[command(after_help = JUDGE)]
    Judge(Judge),
    /// Say what a rollout can see, how soon, and how rarely it errs
    #[command(after_help = PLAN)]
    Plan(Plan),
    /// Say what would have been said on past CloudWatch data
    Backtest(Backtest),
}

/// Judge counts from a file as a rollout would.
#[derive(Debug, Args)]
pub(crate) struct Judge {
    /// A JSON file; - is standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// End with exit code 1 if a canary would have been taken back, at any minute
    #[arg(long)]
    pub(crate) fail_on_roll_back: bool,
}

/// Say what a rollout can see, how soon, and how rarely it errs.
#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// A pipeline in force (its name or its model package group), or a policy file (TOML)
    #[arg(value_name = "PIPELINE")]
    pub(crate) pipeline: Option<String>,

    /// The stage [default: the last]
    #[arg(long, value_name = "STAGE", requires = "pipeline")]
    pub(crate) stage: Option<String>,

    /// Requests a minute on the whole endpoint, up to 10,000,000 [default: CloudWatch's]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = requests)]
    pub(crate) requests_per_minute: Option<f64>,

    /// The champion's share of bad answers: 0.01 or 1% [default: CloudWatch's]
    #[arg(long, value_name = "RATE", allow_negative_numbers = true, value_parser = rate)]
    pub(crate) error_rate: Option<f64>,

    /// How much burstier than independent the bad answers come, 1 to 1,000, by their variance over
    /// that of independent ones in a minute [default: CloudWatch's, else 1]
    #[arg(long, value_name = "PHI", allow_negative_numbers = true, value_parser = dispersion)]
    pub(crate) dispersion: Option<f64>,

    /// The canary's shares of traffic, percent, rising [default: the policy's, else 5,25,50]
    #[arg(long, value_name = "PERCENT,...", value_delimiter = ',', value_parser = clap::value_parser!(u8).range(1..=99))]
    pub(crate) steps: Option<Vec<u8>>,

    /// The shortest time of a step, minutes [default: the policy's, else 10]
    #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u32).range(1..=1_440))]
    pub(crate) step_minutes: Option<u32>,

    /// The fewest requests of the canary in a step [default: the policy's, else 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=1_000_000_000))]
    pub(crate) min_requests: Option<u64>,

    /// How many guards share alpha, without PIPELINE [default: 1]
    #[arg(long, value_name = "N", conflicts_with = "pipeline", value_parser = clap::value_parser!(u8).range(1..=8))]
    pub(crate) guards: Option<u8>,

    /// The chance that a healthy canary is taken back [default: the policy's, else 0.01]
    #[arg(long, value_name = "CHANCE", allow_negative_numbers = true, value_parser = alpha)]
    pub(crate) alpha: Option<f64>,

    /// The chance that a harmful canary is called safe early [default: the policy's, else 0.05]
    #[arg(long, value_name = "CHANCE", allow_negative_numbers = true, value_parser = beta)]
    pub(crate) beta: Option<f64>,

    /// How many times the champion's rate is tolerated [default: the policy's, else 1]
    #[arg(long, value_name = "TIMES", allow_negative_numbers = true, value_parser = tolerated)]
    pub(crate) tolerated_ratio: Option<f64>,

    /// How many times the champion's rate "safe" rules out [default: the policy's, else 1.5]
    #[arg(long, value_name = "TIMES", allow_negative_numbers = true, value_parser = margin)]
    pub(crate) margin_ratio: Option<f64>,

    /// Simulated rollouts for each line
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(100..=100_000))]
    pub(crate) runs: u32,

    /// What the simulation is drawn from: the same seed gives the same answer
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
}

fn requests(text: &str) -> Result<f64, String> {
    within(text, |n| n > 0.0 && n <= 1e7).ok_or_else(|| {
        "requests a minute are a number above 0, up to 10000000, without commas".to_owned()
    })
}

/// A share, or a percentage.
fn rate(text: &str) -> Result<f64, String> {
    let (number, of) = match text.trim().strip_suffix('%') {
        Some(number) => (number.trim_end(), 100.0),
        None => (text, 1.0),
    };
    within(number, |n| n > 0.0 && n / of <= 0.5)
        .map(|n| n / of)
        .ok_or_else(|| {
            "an error rate is above 0, up to 0.5: 0.01 and 1% are one bad answer in a hundred"
                .to_owned()
        })
}

fn dispersion(text: &str) -> Result<f64, String> {
    within(text, |n| (1.0..=1e3).contains(&n))
        .ok_or_else(|| "a dispersion is 1 (independent) to 1000".to_owned())
}

fn alpha(text: &str) -> Result<f64, String> {
    within(text, |n| (1e-4..=0.2).contains(&n))
        .ok_or_else(|| "alpha is 0.0001 to 0.2, as in a policy".to_owned())
}

fn beta(text: &str) -> Result<f64, String> {
    within(text, |n| (1e-4..=0.5).contains(&n))
        .ok_or_else(|| "beta is 0.0001 to 0.5, as in a policy".to_owned())
}

fn tolerated(text: &str) -> Result<f64, String> {
    within(text, |n| (1.0..=10.0).contains(&n))
        .ok_or_else(|| "a tolerated ratio is 1 to 10, as in a policy".to_owned())
}

fn margin(text: &str) -> Result<f64, String> {
    within(text, |n| n > 1.0 && n <= 100.0)
        .ok_or_else(|| "a margin ratio is above 1, up to 100, as in a policy".to_owned())
}

fn within(text: &str, is_fine: impl Fn(f64) -> bool) -> Option<f64> {
    let number: f64 = text.trim().parse().ok()?;
    is_fine(number).then_some(number)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp)]
    use super::*;

    #[test]
    fn a_rate_is_a_share_or_a_percentage() {
        assert_eq!(rate("0.01"), Ok(0.01));
        assert_eq!(rate("1%"), Ok(0.01));
        assert_eq!(rate("0.5 %"), Ok(0.005));
        assert_eq!(rate("50%"), Ok(0.5));
        for bad in [
            "", "0", "0%", "-1%", "51%", "1", "NaN", "inf", "1e999", "one",
        ] {
            assert!(rate(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn options_stay_where_a_policy_could_have_them() {
        assert_eq!(requests("0.5"), Ok(0.5));
        assert_eq!(alpha("0.0001"), Ok(0.0001));
        for bad in ["0", "-1", "nan", "10000001", "1,000"] {
            assert!(requests(bad).is_err(), "{bad:?}");
        }
        assert!(alpha("0.5").is_err() && alpha("0").is_err());
        assert!(beta("0.51").is_err() && tolerated("0.9").is_err());
        assert!(margin("1").is_err() && margin("101").is_err());
        assert!(dispersion("0.99").is_err() && dispersion("1001").is_err());
    }
}
