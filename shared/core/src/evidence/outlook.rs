//! Which regressions a planned rollout can find, so that its stake goes on those.
//!
//! A test needs ln(1 / alpha) of evidence and gets, each minute, the Kullback-Leibler information
//! of the regression that there is (Wald, "Sequential Analysis", 1947). Both are known before the
//! canary has its first request, from the champion's history and the steps. A bet on a regression
//! that is too small for them is lost whatever happens.

use super::{Counts, Evidence, GRID, LN_GRID, real, shift};

/// The part of the stake that is spread over all alternatives, for rollouts that turn out to be
/// longer, or to have more traffic, than they were planned with.
const FOR_ALL: f64 = 0.1;

/// At least the alternatives from this place on are aimed at, 14 times and more, since rates
/// that are measured on few bad events are uncertain.
const LATEST: usize = 30;

/// What a rollout is planned with.
#[derive(Debug, Clone, PartialEq)]
pub struct Outlook {
    /// Requests a minute to champion and canary together.
    pub requests: f64,
    /// The champion's share of bad ones, 0 to 1.
    pub rate: f64,
    /// The steps: the canary's share of traffic, 0 to 1, and for how many minutes.
    pub steps: Vec<(f64, f64)>,
}

impl Outlook {
    /// Requests a minute and the rate of a champion's minutes; none if there were no requests. The
    /// rate has half a bad event more, so that none at all is no certainty.
    pub fn traffic(history: &[Counts]) -> Option<(f64, f64)> {
        let all = history
            .iter()
            .map(|c| c.clamped())
            .fold(Counts::default(), Counts::plus);
        #[allow(clippy::cast_precision_loss)]
        let minutes = history.len() as f64;
        let requests = real(all.requests);
        (all.requests > 0).then(|| {
            let rate = (real(all.bad) + 0.5) / (requests + 1.0);
            (requests / minutes, rate)
        })
    }

    /// The evidence that the steps bring on average if the canary is so many times worse than
    /// `tolerated`, for a bet on just that.
    fn brings(&self, tolerated: f64, ln_g: f64) -> f64 {
        let worse = (self.rate * tolerated * ln_g.exp()).min(1.0);
        let steps = self.steps.iter().map(|(share, minutes)| {
            let (kept, given) = (self.requests * (1.0 - share), self.requests * share);
            minutes
                * shift(
                    [kept, kept * self.rate, given, given * worse],
                    tolerated,
                    ln_g,
                )
        });
        steps.sum()
    }
}

impl Evidence {
    /// The same, with most of the stake on harm put on what this rollout can find: the alternatives
    /// for which its steps bring at least the `needed` evidence on average. It has to be said before
    /// the first minute: evidence is valid for any stakes that don't depend on what it is about.
    #[must_use]
    pub fn aimed(self, outlook: &Outlook, needed: f64) -> Self {
        let is_found = |ln_g: &f64| outlook.brings(self.tolerated, *ln_g) / self.phi >= needed;
        let first = LN_GRID.iter().position(is_found).unwrap_or(LATEST);
        Self {
            aim: u8::try_from(first.min(LATEST)).ok(),
            ..self
        }
    }
}

/// The stakes on the alternatives, 1 in all: even without an aim.
///
/// With one, the stakes from there on are as 1 / ln g. Evidence on a regression of `g` is shared by
/// alternatives around it, and by the more of them the larger ln g is, in proportion; so each
/// regression is found with the same delay, as a part of the time that it needs anyway.
pub(super) fn stakes(aim: Option<u8>) -> [f64; GRID] {
    #[allow(clippy::cast_precision_loss)]
    let even = 1.0 / GRID as f64;
    let Some(aim) = aim else {
        return [even; GRID];
    };
    let first = usize::from(aim).min(LATEST);
    let sum: f64 = LN_GRID[first..].iter().map(|x| x.recip()).sum();
    std::array::from_fn(|k| {
        let aimed = if k < first {
            0.0
        } else {
            (LN_GRID[k] * sum).recip()
        };
        FOR_ALL * even + (1.0 - FOR_ALL) * aimed
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::{FACTORS, Minute, Rule, needed};
    use super::*;

    const RULE: Rule = Rule {
        alpha: 0.009,
        beta: 0.05,
        tolerated_ratio: 1.0,
        margin_ratio: 1.5,
    };

    fn outlook(requests: f64, minutes: f64) -> Outlook {
        Outlook {
            requests,
            rate: 0.01,
            steps: [0.05, 0.1, 0.25, 0.5]
                .map(|share| (share, minutes))
                .to_vec(),
        }
    }

    fn aimed(requests: f64, minutes: f64, phi: f64) -> Evidence {
        Evidence::new(&RULE, None, phi).aimed(&outlook(requests, minutes), needed(&RULE, 1))
    }

    /// The smallest regression that is aimed at.
    fn smallest(evidence: &Evidence) -> f64 {
        FACTORS[usize::from(evidence.aim.unwrap())]
    }

    #[test]
    fn the_stakes_are_one_in_all_whatever_they_are_aimed_at() {
        for aim in [None, Some(0), Some(7), Some(30), Some(39), Some(255)] {
            let stakes = stakes(aim);
            let sum: f64 = stakes.iter().sum();
            assert!((sum - 1.0).abs() < 1e-12, "{aim:?}: {sum}");
            assert!(stakes.iter().all(|stake| *stake >= 0.002), "{aim:?}");
        }
    }

    #[test]
    fn what_a_canary_no_worse_than_tolerated_can_expect_is_its_stake() {
        for tolerated_ratio in [1.0, 1.3] {
            let rule = Rule {
                tolerated_ratio,
                ..RULE
            };
            for requests in [1.0, 600.0, 100_000.0] {
                let start = Evidence::new(&rule, None, 1.0).aimed(&outlook(requests, 15.0), 4.7);
                let after = |minute: [u64; 4]| {
                    let mut evidence = start.clone();
                    evidence.add(&Minute::from([900, 3, 100, 1]));
                    evidence.add(&Minute::from(minute));
                    evidence.harm().exp()
                };
                // One bad answer more is the canary's by its share.
                let share = 100.0 * tolerated_ratio / (100.0 * tolerated_ratio + 900.0);
                let expected =
                    share * after([900, 0, 100, 1]) + (1.0 - share) * after([900, 1, 100, 0]);
                let before = after([900, 0, 100, 0]);
                assert!(
                    (expected / before - 1.0).abs() < 1e-12,
                    "{expected} {before}"
                );
            }
        }
    }

    #[test]
    fn more_traffic_and_longer_steps_find_smaller_regressions_and_bursts_hide_them() {
        // Wald's test needs 55 of these 60 minutes for 1.5 times, at ln(1 / 0.01).
        let ours = smallest(&aimed(600.0, 15.0, 1.0));
        assert!((1.45..1.65).contains(&ours), "{ours}");
        assert!(smallest(&aimed(60.0, 15.0, 1.0)) > 1.3 * ours);
        assert!(smallest(&aimed(600.0, 5.0, 1.0)) > 1.1 * ours);
        assert!(smallest(&aimed(600.0, 15.0, 4.0)) > 1.3 * ours);
        assert!(smallest(&aimed(1e9, 15.0, 1.0)) < 1.16);
        // What can't find anything aims at what is largest.
        for requests in [0.01, 0.0, f64::NAN] {
            let most = smallest(&aimed(requests, 1.0, 1.0));
            assert!((10.0..20.0).contains(&most), "{most}");
        }
    }

    #[test]
    fn the_smallest_that_can_be_found_is_found_sooner_than_without_an_aim() {
        // Twice the rate; and a quiet endpoint, a hundred minutes at once, with four times.
        for (traffic, counts) in [
            (600_000.0, [540_000, 5_400, 60_000, 1_200]),
            (6_000.0, [5_400, 54, 600, 12]),
            (60.0, [5_400, 54, 600, 24]),
        ] {
            let mut even = Evidence::new(&RULE, None, 1.0);
            let mut aimed = aimed(traffic, 15.0, 1.0);
            while even.harm() < needed(&RULE, 1) {
                even.add(&Minute::from(counts));
                aimed.add(&Minute::from(counts));
            }
            assert!(aimed.harm() > even.harm() + 0.2, "{traffic}");
        }
    }

    #[test]
    fn traffic_is_by_the_minute_and_no_bad_answer_is_half_of_one() {
        assert_eq!(Outlook::traffic(&[]), None);
        assert_eq!(Outlook::traffic(&[Counts::default(); 9]), None);
        let quiet = [Counts::new(30, 0), Counts::default(), Counts::new(69, 0)];
        assert_eq!(Outlook::traffic(&quiet), Some((33.0, 0.005)));
        let (requests, rate) = Outlook::traffic(&[Counts::new(600, 6); 180]).unwrap();
        assert!((requests - 600.0).abs() < 1e-9 && (rate - 0.01).abs() < 1e-5);
    }

    #[test]
    fn evidence_that_was_stored_before_there_were_aims_is_read() {
        let mut stored = serde_json::to_value(Evidence::new(&RULE, None, 1.0)).unwrap();
        assert!(stored.as_object().unwrap().get("aim").is_none());
        let read: Evidence = serde_json::from_value(stored.clone()).unwrap();
        assert_eq!(read, Evidence::new(&RULE, None, 1.0));
        stored["aim"] = 12.into();
        let read: Evidence = serde_json::from_value(stored).unwrap();
        assert_eq!(read.aim, Some(12));
    }
}
