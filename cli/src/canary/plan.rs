//! `tidegate canary plan`: what a rollout can see, how soon, and how rarely it errs; computed, and
//! confirmed by simulation.

use serde::Serialize;
use tidegate_core::rollout::percent;

use super::args;
use super::course::{Course, Traffic};
use super::forecast::{bound, expected, smallest};
use super::plan_text;
use super::simulate::{Line, Simulated, Spread, affordable, simulate, wilson};
use super::source::{Planned, Setup, setup};
use crate::answer::Answer;
use crate::error::Problem;
use crate::render::{Screen, number};

/// How many times worse a canary is planned to be.
const RATIOS: [f64; 4] = [1.5, 2.0, 5.0, 10.0];

/// The chance with which the smallest regression is seen.
const CHANCE: f64 = 0.8;

/// The standard normal value that is not exceeded with that chance.
const CHANCE_NORMAL: f64 = 0.841_621;

/// How often the smallest regression is corrected by simulation.
const CORRECTIONS: u32 = 5;

/// A step that gives the canary fewer requests an hour is told.
const HANDFUL_AN_HOUR: f64 = 5.0;

/// Plans a rollout.
pub(super) async fn run(
    args: &args::Plan,
    table: Option<&str>,
    screen: &Screen,
) -> Result<Answer, Problem> {
    let setup = setup(args, table).await?;
    let plan = plan(setup, args.runs, args.seed);
    let text = plan_text::text(&plan, screen);
    Answer::new(plan, text)
}

/// What is printed.
#[derive(Debug, Serialize)]
pub(super) struct Plan {
    pub(super) pipeline: Option<String>,
    pub(super) stage: Option<String>,
    pub(super) endpoint: Option<String>,
    pub(super) steps: Vec<StepSaid>,
    /// The end of the last step, minutes, if nothing says safe earlier.
    pub(super) minutes: u32,
    pub(super) alpha: f64,
    pub(super) beta: f64,
    pub(super) tolerated_ratio: f64,
    pub(super) margin_ratio: f64,
    /// How many guards share alpha.
    pub(super) guards_watched: usize,
    /// The evidence that takes a canary back, a natural logarithm.
    pub(super) needed: f64,
    pub(super) guards: Vec<GuardSaid>,
    pub(super) healthy: HealthySaid,
    pub(super) runs: u32,
    pub(super) seed: u64,
    pub(super) notes: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct StepSaid {
    /// Percent.
    pub(super) share: u8,
    /// The canary's requests an hour, by the guard that counts most.
    pub(super) requests_per_hour: f64,
    /// How long it takes, if nothing says safe earlier.
    pub(super) minutes: u32,
}

/// What one guard can see.
#[derive(Debug, Serialize)]
pub(super) struct GuardSaid {
    pub(super) guard: Option<String>,
    /// `options` or `cloudwatch`.
    pub(super) traffic_from: &'static str,
    pub(super) requests_per_minute: f64,
    pub(super) error_rate: f64,
    pub(super) dispersion: f64,
    pub(super) regressions: Vec<Regression>,
    /// The smallest that is seen by the end, four times of five.
    pub(super) smallest: Smallest,
}

/// A canary that is so many times worse.
#[derive(Debug, Serialize)]
pub(super) struct Regression {
    pub(super) ratio: f64,
    /// Wald's bound, minutes, as if the last step went on.
    pub(super) best_possible: Option<f64>,
    /// The minute after which it is taken back, as if the last step went on.
    pub(super) computed: Option<u32>,
    /// The same in simulated rollouts; none beyond the end of the last step.
    pub(super) simulated: SpreadSaid,
    /// The chance that it is taken back by the end of the last step.
    pub(super) computed_share: f64,
    /// The same in simulated rollouts.
    pub(super) simulated_share: f64,
    /// Bad answers above the champion's rate until then, on average.
    pub(super) bad_answers: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct Smallest {
    pub(super) chance: f64,
    pub(super) computed: Option<f64>,
    pub(super) simulated: Option<f64>,
}

/// A canary that is no worse.
#[derive(Debug, Serialize)]
pub(super) struct HealthySaid {
    /// The share of simulated rollouts that were taken back.
    pub(super) taken_back: f64,
    /// Where it is, at 95 %.
    pub(super) interval: [f64; 2],
    /// The minute after which all guards say safe.
    pub(super) safe_computed: Option<u32>,
    pub(super) safe_simulated: SpreadSaid,
    /// The share that said safe by the end.
    pub(super) safe_share: f64,
    /// The end of the last step, computed.
    pub(super) end_computed: u32,
    pub(super) end_simulated: SpreadSaid,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct SpreadSaid {
    pub(super) p5: Option<u32>,
    pub(super) median: Option<u32>,
    pub(super) p95: Option<u32>,
}

impl From<Spread> for SpreadSaid {
    fn from(Spread { p5, median, p95 }: Spread) -> Self {
        Self { p5, median, p95 }
    }
}

fn plan(setup: Setup, runs: u32, seed: u64) -> Plan {
    let Setup {
        of,
        course,
        guards: planned,
        mut notes,
    } = setup;
    let mut all: Vec<Traffic> = planned.iter().map(|p| p.traffic.clone()).collect();
    // By options, all guards see the same.
    if let [one] = &all[..] {
        all = vec![one.clone(); course.guards];
    }
    let steps = steps(&course, &all, &mut notes);
    let line = |guards, ratio, number| Line {
        course: &course,
        guards,
        ratio,
        seed,
        number,
    };
    let affordable = affordable(&line(&all, 1.0, 0), runs);
    if affordable < runs {
        notes.push(format!(
            "Only {} rollouts are simulated for each line, since they are so long.",
            number(affordable.into())
        ));
    }
    let guards: Vec<GuardSaid> = (0..)
        .zip(&planned)
        .map(|(g, planned)| {
            let numbered = |ratio, row: u64| {
                let guards = std::slice::from_ref(&planned.traffic);
                simulate(&line(guards, ratio, 100 * (g + 1) + row), affordable)
            };
            of_guard(&course, planned, &numbered, &mut notes)
        })
        .collect();
    let healthy = healthy(&course, &all, &simulate(&line(&all, 1.0, 1), affordable));
    Plan {
        pipeline: of.as_ref().map(|of| of.pipeline.clone()),
        stage: of.as_ref().map(|of| of.stage.clone()),
        endpoint: of.as_ref().map(|of| of.endpoint.to_string()),
        minutes: steps.iter().map(|s| s.minutes).sum(),
        steps,
        alpha: course.rule.alpha,
        beta: course.rule.beta,
        tolerated_ratio: course.rule.tolerated_ratio,
        margin_ratio: course.rule.margin_ratio,
        guards_watched: course.guards,
        needed: course.needed(),
        guards,
        healthy,
        runs: affordable,
        seed,
        notes,
    }
}

fn steps(course: &Course, guards: &[Traffic], notes: &mut Vec<String>) -> Vec<StepSaid> {
    let busiest = guards.iter().map(|t| t.requests).fold(0.0, f64::max);
    let mut said = Vec::with_capacity(course.steps.len());
    for &share in &course.steps {
        let requests = busiest * f64::from(share) / 100.0;
        let minutes = course.step_minutes(requests);
        let an_hour = requests * 60.0;
        if an_hour < HANDFUL_AN_HOUR {
            notes.push(format!(
                "The step at {share} % gives the canary {an_hour:.1} requests an hour: too few to \
                 judge by. Give it a larger share."
            ));
        }
        said.push(StepSaid {
            share,
            requests_per_hour: an_hour,
            minutes,
        });
    }
    let is_longer = |step: &&StepSaid| step.minutes > course.minutes;
    let longer: Vec<String> = said
        .iter()
        .filter(is_longer)
        .map(|step| format!("{} %", step.share))
        .collect();
    if !longer.is_empty() {
        let until = match course.longest {
            Some(longest) => format!("or for {} minutes", number(longest.into())),
            None => "however long that takes".to_owned(),
        };
        notes.push(format!(
            "Steps at {} take longer than {} minutes: until the canary has had {} requests, {until}.",
            longer.join(", "),
            number(course.minutes.into()),
            number(course.min_requests),
        ));
    }
    let paired = |share: f64| {
        let both =
            |t: &Traffic| -(-t.requests * share).exp_m1() * -(-t.requests * (1.0 - share)).exp_m1();
        guards.iter().map(both).fold(0.0, f64::max)
    };
    if let Some(&share) = course.steps.first() {
        let paired = paired(f64::from(share) / 100.0);
        if paired < 0.5 {
            notes.push(format!(
                "At {share} %, in {} of the minutes only one of the variants, or none, has \
                 requests: such minutes are judged together with those that follow, until both \
                 have had some.",
                percent(1.0 - paired)
            ));
        }
    }
    said
}

fn of_guard(
    course: &Course,
    planned: &Planned,
    simulated: &impl Fn(f64, u64) -> Simulated,
    notes: &mut Vec<String>,
) -> GuardSaid {
    let Planned {
        guard,
        traffic,
        measured,
    } = planned;
    let regressions: Vec<Regression> = (0..)
        .zip(RATIOS)
        .filter(|(_, ratio)| ratio * traffic.rate <= 1.0 && *ratio > course.rule.tolerated_ratio)
        .map(|(row, ratio)| {
            let expected = expected(course, std::slice::from_ref(traffic), ratio);
            let simulated = simulated(ratio, row);
            Regression {
                ratio,
                best_possible: bound(course, traffic, ratio),
                computed: expected.taken_back,
                simulated: simulated.minutes.into(),
                computed_share: expected.chance,
                simulated_share: share(&simulated),
                bad_answers: simulated.hit,
            }
        })
        .collect();
    let smallest = find_smallest(course, traffic, simulated);
    let who = guard.as_ref().map(|g| format!("{g}: ")).unwrap_or_default();
    if smallest.simulated.is_none() {
        let most = (0.99 / traffic.rate).min(100.0);
        notes.push(format!(
            "{who}There is too little traffic for these steps: not even {most:.0} times the bad \
             answers are seen four times of five. Larger shares, longer steps or more \
             `min_requests` see more."
        ));
    }
    GuardSaid {
        guard: guard.clone(),
        traffic_from: if *measured { "cloudwatch" } else { "options" },
        requests_per_minute: traffic.requests,
        error_rate: traffic.rate,
        dispersion: traffic.phi,
        regressions,
        smallest,
    }
}

fn share(simulated: &Simulated) -> f64 {
    f64::from(simulated.taken_back) / f64::from(simulated.runs.max(1))
}

/// The smallest regression that is seen four times of five: computed, then corrected by what the
/// simulation says of it, as if the chance were that of a normal variable in the log ratio.
fn find_smallest(
    course: &Course,
    traffic: &Traffic,
    simulated: &impl Fn(f64, u64) -> Simulated,
) -> Smallest {
    let computed = smallest(course, traffic, CHANCE);
    let most = (0.99 / traffic.rate).min(100.0);
    let least = course.rule.tolerated_ratio;
    let mut ratio = computed.unwrap_or(most);
    let mut found: Option<f64> = None;
    for row in 0..CORRECTIONS {
        let seen = share(&simulated(ratio, 10 + u64::from(row)));
        if seen >= CHANCE - 0.02 {
            found = Some(found.map_or(ratio, |smallest| smallest.min(ratio)));
        }
        let one_more = row + 1 < CORRECTIONS;
        if (seen - CHANCE).abs() < 0.02 || (ratio >= most && seen < CHANCE) || !one_more {
            break;
        }
        let wider = (ratio * 1.1).min(most);
        let chance = |r: f64| {
            let guards = std::slice::from_ref(traffic);
            normal(expected(course, guards, r).chance)
        };
        let slope =
            ((chance(wider * 1.001) - chance(ratio / 1.1)) / (wider * 1.1 / ratio).ln()).max(1.0);
        let shift = ((CHANCE_NORMAL - normal(seen)) / slope).clamp(-0.7, 0.7);
        ratio = (ratio * shift.exp()).clamp(least, most);
    }
    Smallest {
        chance: CHANCE,
        computed,
        simulated: found,
    }
}

/// The standard normal value that is not exceeded with this chance, kept within three.
fn normal(chance: f64) -> f64 {
    let (mut low, mut high) = (-3.0_f64, 3.0);
    for _ in 0..40 {
        let middle = 0.5 * (low + high);
        if 0.5 * libm::erfc(-middle / std::f64::consts::SQRT_2) < chance {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

fn healthy(course: &Course, guards: &[Traffic], simulated: &Simulated) -> HealthySaid {
    let expected = expected(course, guards, 1.0);
    let (low, high) = wilson(simulated.taken_back, simulated.runs);
    HealthySaid {
        taken_back: share(simulated),
        interval: [low, high],
        safe_computed: expected.safe,
        safe_simulated: simulated.safe.into(),
        safe_share: simulated.safe_share,
        end_computed: expected.end,
        end_simulated: simulated.ended.into(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::{course, traffic};
    use super::*;

    pub(in super::super) fn example(requests: f64, rate: f64) -> Plan {
        of(course(), requests, rate)
    }

    fn of(course: Course, requests: f64, rate: f64) -> Plan {
        plan(
            Setup {
                of: None,
                course,
                guards: vec![Planned {
                    guard: None,
                    traffic: traffic(requests, rate),
                    measured: false,
                }],
                notes: Vec::new(),
            },
            400,
            1,
        )
    }

    #[test]
    fn a_plan_says_how_soon_and_how_rarely() {
        let plan = example(600.0, 0.01);
        let guard = &plan.guards[0];
        assert_eq!(guard.regressions.len(), 4);
        let ten = &guard.regressions[3];
        assert!(ten.simulated_share > 0.99 && ten.simulated.p95.unwrap() < 20);
        let (computed, simulated) = (
            guard.smallest.computed.unwrap(),
            guard.smallest.simulated.unwrap(),
        );
        assert!(
            (computed / simulated).ln().abs() < 0.2,
            "{computed} {simulated}"
        );
        assert!((1.5..2.5).contains(&simulated), "{simulated}");
        // 1 % of 400 are 4; more than 11 has a chance of 1 in 1,000.
        assert!(plan.healthy.taken_back <= 11.0 / 400.0);
        assert!(plan.notes.is_empty(), "{:?}", plan.notes);
    }

    #[test]
    fn too_little_traffic_is_said() {
        let short = Course {
            min_requests: 0,
            ..course()
        };
        let plan = of(short, 0.5, 0.01);
        let notes = plan.notes.join("\n");
        for word in [
            "1.5 requests an hour",
            "one of the variants",
            "too little traffic",
        ] {
            assert!(notes.contains(word), "{word}: {notes}");
        }
        assert_eq!(plan.guards[0].smallest.simulated, None);
    }

    #[test]
    fn steps_that_wait_for_requests_are_said() {
        let plan = example(20.0, 0.01);
        assert_eq!(plan.steps[0].minutes, 100);
        assert!(
            plan.notes[0].contains("Steps at 5 %, 25 % take longer"),
            "{:?}",
            plan.notes
        );
    }

    #[test]
    fn what_can_not_be_worse_is_left_out() {
        let plan = example(600.0, 0.3);
        let ratios: Vec<f64> = plan.guards[0].regressions.iter().map(|r| r.ratio).collect();
        assert_eq!(ratios, [1.5, 2.0]);
    }

    #[test]
    fn the_chance_of_four_in_five_is_where_it_is() {
        assert!((normal(CHANCE) - CHANCE_NORMAL).abs() < 1e-5);
        assert!((normal(1.0) - 3.0).abs() < 1e-6);
    }
}
