//! `tidegate canary judge`: what a rollout would say of counts that one has.
//!
//! The verdict is that after the last minute; since a rollout takes a canary back at the first
//! minute that says so, an earlier such minute is said, too.

use std::fmt::Write as _;

use serde::Serialize;
use tidegate_core::evidence::{
    Evidence, Minute, Report, Verdict, dispersion, needed, tests_alone, verdict, verdict_alone,
};
use tidegate_core::rollout::{Against, GuardReport};

use super::args;
use super::input::{self, Case};
use super::{judge_text, short_percent};
use crate::answer::Answer;
use crate::error::{Exit, Problem};
use crate::render::Screen;

/// Judges the cases of a file.
pub(super) fn run(args: &args::Judge, screen: &Screen) -> Result<Answer, Problem> {
    let input = match input::read(&args.file) {
        Ok(input) => input,
        Err(problems) => return Ok(Answer::new(serde_json::Value::Null, "")?.with(problems)),
    };
    let cases: Vec<Judged> = input.cases.iter().map(judge).collect();
    let text = judge_text::text(&cases, screen);
    let taken_back = cases.iter().any(|case| case.rolled_back_at.is_some());
    let answer = match cases.first() {
        Some(case) if !input.is_many => Answer::new(case, text)?,
        _ => Answer::new(Many { cases }, text)?,
    };
    Ok(if args.fail_on_roll_back && taken_back {
        answer.ending(Exit::No)
    } else {
        answer
    })
}

/// What is printed of many cases.
#[derive(Debug, Serialize)]
struct Many {
    cases: Vec<Judged>,
}

/// What is said of a case.
#[derive(Debug, Serialize)]
pub(super) struct Judged {
    pub(super) name: Option<String>,
    /// After the last minute.
    pub(super) verdict: Word,
    /// The same in a sentence.
    pub(super) why: String,
    /// How many minutes there are.
    pub(super) minutes: usize,
    /// The minute, from 1, after which a rollout takes the canary back.
    pub(super) rolled_back_at: Option<usize>,
    /// The first minute, from 1, after which all metrics said safe.
    pub(super) safe_at: Option<usize>,
    pub(super) rule: RuleSaid,
    pub(super) metrics: Vec<JudgedMetric>,
}

/// A verdict, as the golden cases spell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Word {
    RollBack,
    Safe,
    Continue,
}

/// The policy with its defaults filled in.
#[derive(Debug, Serialize)]
pub(super) struct RuleSaid {
    pub(super) alpha: f64,
    pub(super) beta: f64,
    pub(super) tolerated_ratio: f64,
    pub(super) margin_ratio: f64,
    pub(super) ceiling: Option<f64>,
    pub(super) alone: bool,
    /// The evidence that says safe, a natural logarithm.
    pub(super) safe_needed: f64,
}

/// What is said of a metric.
#[derive(Debug, Serialize)]
pub(super) struct JudgedMetric {
    pub(super) name: String,
    /// The evidence of harm that takes the canary back, a natural logarithm.
    pub(super) needed: f64,
    /// The minute, from 1, after which this metric had it.
    pub(super) crossed: Option<usize>,
    /// Minutes in which only one side had requests: there is nothing to compare them with.
    pub(super) not_compared: usize,
    #[serde(flatten)]
    pub(super) report: Report,
}

impl JudgedMetric {
    /// The evidence of harm that the verdict looks at.
    pub(super) fn looked_at(&self, alone: bool) -> f64 {
        self.said(alone).looked_at()
    }

    /// The same facts as a rollout's, for the sentence that notices have.
    fn said(&self, alone: bool) -> GuardReport {
        GuardReport {
            guard: self.name.clone(),
            key: self.name.clone(),
            of: "requests".to_owned(),
            against: if alone {
                Against::History
            } else {
                Against::Champion
            },
            needed: self.needed,
            crossed: None,
            report: self.report.clone(),
        }
    }
}

fn is_one_sided(minute: &Minute) -> bool {
    (minute.baseline.requests > 0) != (minute.canary.requests > 0)
}

fn judge(case: &Case) -> Judged {
    let Case {
        rule,
        ceiling,
        alone,
        metrics,
        ..
    } = case;
    let mut evidence: Vec<Evidence> = metrics
        .iter()
        .map(|metric| Evidence::new(rule, *ceiling, dispersion(&metric.history)))
        .collect();
    let tests = if *alone {
        tests_alone(&evidence)
    } else {
        evidence.len()
    };
    let needed = needed(rule, tests);
    let minutes = metrics.first().map_or(0, |metric| metric.minutes.len());
    let mut crossed = vec![None; metrics.len()];
    let (mut rolled_back_at, mut safe_at) = (None, None);
    let says = |evidence: &[Evidence]| {
        if *alone {
            verdict_alone(rule, evidence)
        } else {
            verdict(rule, evidence)
        }
    };
    for i in 0..minutes {
        for ((metric, evidence), crossed) in metrics.iter().zip(&mut evidence).zip(&mut crossed) {
            if let Some(minute) = metric.minutes.get(i) {
                evidence.add(minute);
            }
            let harm = if *alone {
                evidence.strongest_harm()
            } else {
                evidence.harm()
            };
            if harm >= needed {
                crossed.get_or_insert(i + 1);
            }
        }
        match says(&evidence) {
            Verdict::RollBack { .. } => {
                rolled_back_at.get_or_insert(i + 1);
            }
            Verdict::Safe => {
                safe_at.get_or_insert(i + 1);
            }
            Verdict::Continue => {}
        }
    }
    let last = says(&evidence);
    let metrics: Vec<JudgedMetric> = metrics
        .iter()
        .zip(&evidence)
        .zip(crossed)
        .map(|((metric, evidence), crossed)| JudgedMetric {
            name: metric.name.clone(),
            needed,
            crossed,
            not_compared: metric.minutes.iter().filter(|m| is_one_sided(m)).count(),
            report: evidence.report(*alone),
        })
        .collect();
    let rule = RuleSaid {
        alpha: rule.alpha,
        beta: rule.beta,
        tolerated_ratio: rule.tolerated_ratio,
        margin_ratio: rule.margin_ratio,
        ceiling: *ceiling,
        alone: *alone,
        safe_needed: -rule.beta.ln(),
    };
    let verdict = match last {
        Verdict::RollBack { .. } => Word::RollBack,
        Verdict::Safe => Word::Safe,
        Verdict::Continue => Word::Continue,
    };
    let mut judged = Judged {
        name: case.name.clone(),
        verdict,
        why: String::new(),
        minutes,
        rolled_back_at,
        safe_at,
        rule,
        metrics,
    };
    judged.why = why(&judged);
    judged
}

/// The verdict in a sentence or two.
fn why(judged: &Judged) -> String {
    let alone = judged.rule.alone;
    let worst = judged
        .metrics
        .iter()
        .max_by(|a, b| a.looked_at(alone).total_cmp(&b.looked_at(alone)));
    let Some(worst) = worst else {
        return String::new();
    };
    let sentence = worst.said(alone).sentence("the canary");
    let odds_needed = tidegate_core::evidence::odds(worst.needed);
    let mut text = match judged.verdict {
        Word::RollBack => format!("{sentence}."),
        Word::Safe => {
            let bound = |metric: &JudgedMetric| metric.report.safe_ratio >= judged.rule.safe_needed;
            let all_by_ratio = judged.metrics.iter().all(bound);
            let ceiling = judged.rule.ceiling.map(short_percent).unwrap_or_default();
            let against = if alone {
                "the past's"
            } else {
                "the champion's"
            };
            let what = if all_by_ratio {
                format!("{} times {against} rate", judged.rule.margin_ratio)
            } else if judged.metrics.iter().any(bound) {
                format!(
                    "{} times {against} rate, or the ceiling of {ceiling},",
                    judged.rule.margin_ratio
                )
            } else {
                format!("the ceiling of {ceiling}")
            };
            let who = if judged.metrics.len() == 1 {
                worst.name.clone()
            } else {
                "every metric".to_owned()
            };
            format!("{who} rules out a rate above {what}.")
        }
        Word::Continue if judged.minutes == 0 => "There are no minutes yet.".to_owned(),
        Word::Continue => {
            format!("Not sure either way. {sentence}; {odds_needed} would take it back.")
        }
    };
    if let Some(at) = judged.rolled_back_at
        && judged.verdict != Word::RollBack
    {
        let _ = write!(
            text,
            " A rollout would have taken the canary back after minute {at}, and not waited for \
             the minutes that came after."
        );
    }
    text
}
