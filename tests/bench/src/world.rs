//! One simulated rollout: the champion's history, then minute after minute of both variants.

use tidegate_core::evidence::{Counts, Minute, pair_with_history};

use crate::random::Dice;
use crate::scenario::{Baseline, Cycle, DAY, Guard, HISTORY_MINUTES, Scenario};

/// Days of the same hour that the day-to-day spread is measured on.
const DAYS: u32 = 7;

/// Each minute, a population so many times the traffic has this chance each to ask once; that is
/// how requests come in independently.
const ASKING: f64 = 0.05;

/// A rollout under way.
pub(crate) struct World<'a> {
    scenario: &'a Scenario,
    dice: Dice,
    /// Where in the daily cycle the rollout begins, in minutes.
    phase: f64,
    incident_at: u32,
    /// By how much today's rates differ from the usual ones.
    today: f64,
    past: Past,
}

/// What is known of the champion when a rollout begins, by guard.
#[derive(Debug, Clone, Default)]
pub(crate) struct Past {
    /// Its minutes: the last ones, or yesterday's from the same time on.
    pub(crate) history: Vec<Vec<Counts>>,
    /// Its totals in the same hours of the last days; empty with a live baseline.
    pub(crate) days: Vec<Vec<Counts>>,
}

/// One minute.
#[derive(Debug, Clone, Default)]
pub(crate) struct Moment {
    /// What each guard counted.
    pub(crate) guards: Vec<Minute>,
    /// Bad answers that the canary gave.
    pub(crate) bad: u64,
    /// How many of them the champion would not have given, as expected; noise can make it negative.
    pub(crate) excess: f64,
}

impl<'a> World<'a> {
    /// The world just before the first minute.
    pub(crate) fn new(scenario: &'a Scenario, mut dice: Dice) -> Self {
        let phase = dice.uniform() * DAY;
        let minutes = scenario.minutes();
        let incident_at = scenario.incident.map_or(0, |incident| {
            let last = f64::from(minutes.saturating_sub(incident.minutes));
            (dice.uniform() * last) as u32
        });
        let mut world = Self {
            scenario,
            dice,
            phase,
            incident_at,
            today: 1.0,
            past: Past::default(),
        };
        match scenario.baseline {
            Baseline::Live => world.live_past(),
            Baseline::Yesterday { spread } => world.yesterdays_past(spread),
        }
        world
    }

    /// What is known of the champion.
    pub(crate) fn past(&self) -> &Past {
        &self.past
    }

    fn live_past(&mut self) {
        let minutes = i64::from(HISTORY_MINUTES);
        self.past.history = vec![Vec::new(); self.scenario.guards.len()];
        for at in -minutes..0 {
            let requests = self.requests(at);
            for (g, guard) in self.scenario.guards.iter().enumerate() {
                let rate = self.usual_rate(guard, at);
                let bad = self.bad(requests, rate, guard.icc);
                self.past.history[g].push(Counts::new(requests, bad));
            }
        }
    }

    /// Days each have a factor of their own; the last of them is yesterday, of which the minutes
    /// are known.
    fn yesterdays_past(&mut self, spread: f64) {
        let mut days = vec![Vec::new(); self.scenario.guards.len()];
        let minutes = self.scenario.minutes().max(HISTORY_MINUTES);
        let hours = self.scenario.minutes() as usize;
        for day in 1..=DAYS {
            let factor = (spread * self.dice.normal()).exp();
            let mut history = vec![Vec::new(); self.scenario.guards.len()];
            for at in 0..i64::from(minutes) {
                let requests = self.requests(at);
                for (g, guard) in self.scenario.guards.iter().enumerate() {
                    let rate = (self.usual_rate(guard, at) * factor).min(1.0);
                    let bad = self.bad(requests, rate, guard.icc);
                    history[g].push(Counts::new(requests, bad));
                }
            }
            for (g, minutes) in history.iter().enumerate() {
                let same_hours = minutes.iter().take(hours);
                let total = same_hours.fold(Counts::default(), |sum, m| sum.plus(*m));
                days[g].push(total);
            }
            if day == DAYS {
                self.past.history = history;
            }
        }
        self.past.days = days;
        self.today = (spread * self.dice.normal()).exp();
    }

    /// The minute `at`, counted from 0, into `moment`.
    pub(crate) fn minute(&mut self, at: u32, moment: &mut Moment) {
        let scenario = self.scenario;
        let weight = scenario.weight(at);
        let requests = self.requests(i64::from(at));
        let to_canary = self.dice.binomial(requests, weight);
        moment.guards.clear();
        moment.bad = 0;
        moment.excess = 0.0;
        for (g, guard) in scenario.guards.iter().enumerate() {
            let fine = (self.rate_during(guard, at) * self.today).min(1.0);
            let bad = self.bad(to_canary, fine * guard.ratio, guard.icc);
            let canary = Counts::new(to_canary, bad);
            moment.bad += bad;
            moment.excess += bad as f64 - to_canary as f64 * fine;
            let minute = match scenario.baseline {
                Baseline::Live => {
                    let kept = requests - to_canary;
                    let baseline = Counts::new(kept, self.bad(kept, fine, guard.icc));
                    Minute { baseline, canary }
                }
                Baseline::Yesterday { .. } => {
                    pair_with_history(&self.past.history[g], at as usize, canary)
                }
            };
            moment.guards.push(minute);
        }
    }

    fn requests(&mut self, at: i64) -> u64 {
        let burst = self
            .scenario
            .burst_shape
            .map_or(1.0, |shape| self.dice.gamma(shape) / shape);
        let cycle = self.swing(at, |c| c.traffic);
        let population = (self.scenario.traffic * burst * cycle / ASKING).round();
        self.dice.binomial(population as u64, ASKING)
    }

    fn bad(&mut self, requests: u64, rate: f64, icc: f64) -> u64 {
        if requests == 0 {
            return 0;
        }
        let rate = rate.clamp(0.0, 1.0);
        let rate = if icc > 0.0 && rate > 0.0 && rate < 1.0 {
            let size = (1.0 - icc) / icc;
            self.dice.beta(rate * size, (1.0 - rate) * size)
        } else {
            rate
        };
        self.dice.binomial(requests, rate)
    }

    fn swing(&self, at: i64, by: impl Fn(&Cycle) -> f64) -> f64 {
        self.scenario.cycle.as_ref().map_or(1.0, |cycle| {
            let angle = std::f64::consts::TAU * (at as f64 + self.phase) / DAY;
            1.0 + by(cycle) * angle.sin()
        })
    }

    fn usual_rate(&self, guard: &Guard, at: i64) -> f64 {
        guard.rate * self.swing(at, |c| c.rate)
    }

    /// The champion's rate while the rollout goes on: incident and cold start included.
    fn rate_during(&self, guard: &Guard, at: u32) -> f64 {
        let mut rate = self.usual_rate(guard, i64::from(at));
        if let Some(hump) = guard.hump {
            let since = f64::from(at % self.scenario.step_minutes.max(1));
            rate *= 1.0 + (hump.times - 1.0) * (-since / hump.minutes).exp();
        }
        if let Some(incident) = self.scenario.incident
            && (self.incident_at..self.incident_at + incident.minutes).contains(&at)
        {
            rate += incident.added;
        }
        rate
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::scenario::catalogue;

    fn scenario(name: &str) -> Scenario {
        catalogue().into_iter().find(|s| s.name == name).unwrap()
    }

    fn run(scenario: &Scenario) -> (Past, Vec<Moment>) {
        let mut world = World::new(scenario, Dice::new(3, scenario.name, 0));
        let past = world.past().clone();
        let moments = (0..scenario.minutes())
            .map(|at| {
                let mut moment = Moment::default();
                world.minute(at, &mut moment);
                moment
            })
            .collect();
        (past, moments)
    }

    #[test]
    fn a_minute_has_the_traffic_the_weight_and_the_rates_that_were_asked_for() {
        let (past, moments) = run(&scenario("1%x5"));
        assert_eq!(past.history[0].len(), 180);
        let last: Vec<Minute> = moments[45..].iter().map(|m| m.guards[0]).collect();
        let sum = |of: &dyn Fn(&Minute) -> u64| last.iter().map(of).sum::<u64>() as f64;
        let (canary, baseline) = (sum(&|m| m.canary.requests), sum(&|m| m.baseline.requests));
        assert!((canary / (canary + baseline) - 0.5).abs() < 0.02);
        assert!(((canary + baseline) / 15.0 - 600.0).abs() < 30.0);
        assert!((sum(&|m| m.canary.bad) / canary - 0.05).abs() < 0.02);
        assert!((sum(&|m| m.baseline.bad) / baseline - 0.01).abs() < 0.01);
    }

    #[test]
    fn the_excess_is_what_the_champion_would_not_have_done() {
        let (_, moments) = run(&scenario("1%x50"));
        let bad: u64 = moments.iter().map(|m| m.bad).sum();
        let excess: f64 = moments.iter().map(|m| m.excess).sum();
        assert!(
            (excess / bad as f64 - 0.98).abs() < 0.01,
            "{excess} of {bad}"
        );
    }

    #[test]
    fn without_a_live_baseline_a_minute_is_paired_with_yesterdays() {
        let (past, moments) = run(&scenario("alone-0.2"));
        assert_eq!(past.days[0].len(), 7);
        assert_eq!(moments[30].guards[0].baseline, past.history[0][30]);
        assert!(moments[30].guards[0].canary.requests > 400);
        let hour = past.history[0][..60].iter();
        let total = hour.fold(Counts::default(), |sum, m| sum.plus(*m));
        assert_eq!(past.days[0][6], total);
    }

    #[test]
    fn an_incident_hits_both_for_its_minutes() {
        let (_, moments) = run(&scenario("fine-incident"));
        let busy = moments
            .iter()
            .filter(|m| m.guards[0].baseline.bad + m.guards[0].canary.bad > 20)
            .count();
        assert!((4..=6).contains(&busy), "{busy}");
    }
}
