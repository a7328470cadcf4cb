//! How a rollout's record stays small enough to be kept, whatever AWS said and however long it runs.
//! What the verdict needs is never touched: older minutes are added up, texts are cut.

use super::{Phase, Rollout, judge};
use crate::bounds::cut;

/// What AWS or an alarm said is cut at so many bytes of JSON.
pub const LONGEST_SENTENCE: usize = 2_048;

/// How many changes of the canary's share are kept. A rollout of Tidegate's has no more than its
/// steps; what somebody else shifts has no end.
pub const MOST_WEIGHTS: usize = 100;

/// Minutes of the champion's history that a verdict needs at the least: what the candidate is
/// compared with if there is nothing else.
const LEAST_HISTORY: usize = 60;

impl Rollout {
    /// Cuts what has no bound by itself.
    pub fn fit(&mut self) {
        let sentence = match &mut self.phase {
            Phase::RollingBack { why, .. }
            | Phase::RolledBack { why }
            | Phase::Superseded { why } => Some(&mut why.sentence),
            Phase::Failed { why } | Phase::Observed { why, .. } => Some(why),
            _ => None,
        };
        for text in sentence.into_iter().chain(&mut self.refused) {
            *text = cut(text, LONGEST_SENTENCE);
        }
        while self.weights.len() > MOST_WEIGHTS {
            // Since when the candidate has all the traffic is asked for long after.
            let oldest = self.weights.iter().position(|(_, share)| *share != 100);
            self.weights.remove(oldest.unwrap_or(1));
        }
    }

    /// Keeps no more counts than these of the judged minutes, the older ones added up.
    pub(crate) fn keep_counts(&mut self, most: usize) {
        let most = most / self.evidence.len().max(1);
        while self.minutes.len() > most.max(2) {
            judge::thin_out_to(self, most.max(2));
        }
    }

    /// Keeps no more of the champion's history than has to be.
    pub(crate) fn keep_less_history(&mut self) {
        for guard in &mut self.history {
            guard.drain(..guard.len().saturating_sub(LEAST_HISTORY));
        }
    }
}
