//! How much burstier than independent requests a champion's bad events come.
//!
//! Bad events come in bursts (a slow database, one broken client), and evidence that took them for
//! independent would be too sure. Pearson's statistic over its degrees of freedom measures by how
//! much; the evidence's exponents are divided by it (`McCullagh`, Nelder, "Generalized Linear
//! Models", section 4.5).

use super::{Counts, real};

/// With fewer minutes than this there is nothing to measure on.
const FEWEST_MINUTES: u32 = 30;

/// With fewer bad events than this neither.
const FEWEST_BAD: u64 = 5;

/// The dispersion of the champion's minutes before a rollout, 1 (independent) or more.
pub fn dispersion(history: &[Counts]) -> f64 {
    let minutes = || {
        history
            .iter()
            .filter(|c| c.requests > 0)
            .map(|c| c.clamped())
    };
    let all = minutes().fold(Counts::default(), Counts::plus);
    let count = u32::try_from(minutes().count()).unwrap_or(u32::MAX);
    if count < FEWEST_MINUTES || all.bad < FEWEST_BAD || all.bad >= all.requests {
        return 1.0;
    }
    let p = real(all.bad) / real(all.requests);
    let pearson: f64 = minutes()
        .map(|c| {
            let expected = real(c.requests) * p;
            (real(c.bad) - expected).powi(2) / (expected * (1.0 - p))
        })
        .sum();
    (pearson / f64::from(count - 1)).max(1.0)
}
