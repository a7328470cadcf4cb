//! What judging costs: the time for a minute of a guard, and the bytes that are kept of it, early in
//! a rollout and late.

use std::hint::black_box;
use std::time::Instant;

use serde::Serialize;
use tidegate_core::evidence::{Evidence, Minute, Outlook, Rule, needed, verdict};
use tidegate_core::pipeline::Judge;

use crate::random::Dice;

/// Early in a rollout.
const EARLY: u32 = 10;

/// Late in a very long one.
const LATE: u32 = 10_000;

/// Minutes judged in one measurement.
const BATCH: u32 = 500;

/// Measurements; the least of them is what it costs, the others were disturbed.
const BATCHES: u32 = 40;

/// What a minute of one guard costs.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Cost {
    /// Microseconds to add the 10th minute and give a verdict.
    pub(crate) early_microseconds: f64,
    /// The same for the 10,000th.
    pub(crate) late_microseconds: f64,
    /// Bytes of the state as JSON after 10 minutes, the most of several rollouts.
    pub(crate) early_bytes: usize,
    /// The same after 10,000.
    pub(crate) late_bytes: usize,
}

/// Measures it on this machine.
///
/// # Errors
/// If the state can't be written as JSON.
pub(crate) fn measure(seed: u64) -> serde_json::Result<Cost> {
    Ok(Cost {
        early_microseconds: microseconds(seed, EARLY),
        late_microseconds: microseconds(seed, LATE),
        early_bytes: bytes(seed, EARLY)?,
        late_bytes: bytes(seed, LATE)?,
    })
}

/// Counts of an endpoint with some 6,000 requests a minute and 1 % errors.
fn some_minutes(dice: &mut Dice, count: u32) -> Vec<Minute> {
    (0..count)
        .map(|_| {
            let (nb, nc) = (dice.binomial(6_000, 0.9), dice.binomial(6_000, 0.1));
            Minute::from([nb, dice.binomial(nb, 0.01), nc, dice.binomial(nc, 0.01)])
        })
        .collect()
}

fn evidence_after(dice: &mut Dice, minutes: u32) -> Evidence {
    let rule = Rule::from(&Judge::default());
    let outlook = Outlook {
        requests: 6_000.0,
        rate: 0.01,
        steps: vec![(0.1, 60.0)],
    };
    let mut evidence =
        Evidence::new(&rule, Some(0.02), 1.234_567_890_123).aimed(&outlook, needed(&rule, 1));
    for minute in some_minutes(dice, minutes) {
        evidence.add(&minute);
    }
    evidence
}

fn microseconds(seed: u64, after: u32) -> f64 {
    let rule = Rule::from(&Judge::default());
    let mut dice = Dice::new(seed, "cost", u64::from(after));
    let start = [evidence_after(&mut dice, after)];
    let minutes = some_minutes(&mut dice, BATCH);
    let mut least = f64::INFINITY;
    for _ in 0..BATCHES {
        let mut guards = start.clone();
        let clock = Instant::now();
        for minute in &minutes {
            guards[0].add(black_box(minute));
            black_box(verdict(&rule, &guards));
        }
        least = least.min(clock.elapsed().as_secs_f64() * 1e6 / f64::from(BATCH));
    }
    least
}

fn bytes(seed: u64, after: u32) -> serde_json::Result<usize> {
    let mut most = 0;
    for run in 0..5 {
        let mut dice = Dice::new(seed, "bytes", run);
        let state = serde_json::to_vec(&evidence_after(&mut dice, after))?;
        most = most.max(state.len());
    }
    Ok(most)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_state_stays_small_however_long_the_rollout_is() {
        for minutes in [1, EARLY, 1_000] {
            let bytes = bytes(1, minutes).unwrap();
            assert!((100..=2_048).contains(&bytes), "{minutes}: {bytes}");
        }
    }
}
