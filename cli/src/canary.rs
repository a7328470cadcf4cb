//! `tidegate canary`: judges canaries on counts that one has, on plans, and on the past.

pub(crate) mod args;
mod backtest;
mod course;
mod dice;
mod forecast;
mod input;
mod json;
mod judge;
mod judge_text;
mod plan;
mod plan_text;
mod simulate;
mod source;

use crate::answer::Answer;
use crate::error::Problem;
use crate::render::Screen;
use args::Canary;

/// Runs one of the commands; the ledger in `table` is opened where a pipeline is named.
pub(crate) async fn run(
    args: &Canary,
    table: Option<&str>,
    screen: &Screen,
) -> Result<Answer, Problem> {
    match args {
        Canary::Judge(args) => judge::run(args, screen),
        Canary::Plan(args) => plan::run(args, table, screen).await,
        Canary::Backtest(args) => backtest::run(args, table, screen).await,
    }
}

/// A share that a person wrote, as a percentage without digits that say nothing: `1 %`, `0.25 %`.
fn short_percent(share: f64) -> String {
    let text = format!("{:.4}", share * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use tidegate_core::evidence::Rule;
    use tidegate_core::pipeline::Judge;

    use super::course::{Course, Traffic};

    #[test]
    fn a_share_is_shown_as_it_was_written() {
        assert_eq!(super::short_percent(0.01), "1 %");
        assert_eq!(super::short_percent(0.0025), "0.25 %");
        assert_eq!(super::short_percent(0.2), "20 %");
    }

    /// A policy's default course.
    pub(super) fn course() -> Course {
        Course {
            steps: vec![5, 25, 50],
            minutes: 10,
            min_requests: 100,
            longest: None,
            warmup: 0,
            rule: Rule::from(&Judge::default()),
            guards: 1,
        }
    }

    /// Traffic without bursts.
    pub(super) fn traffic(requests: f64, rate: f64) -> Traffic {
        Traffic {
            requests,
            rate,
            phi: 1.0,
            ceiling: None,
        }
    }
}
