//! Cuts a story that breaks an invariant down to what is needed to break it: kinds of fault, then
//! pipelines, then acts, then single faults are left out as long as the same invariant breaks.

use std::collections::BTreeSet;

use crate::fault::Fault;
use crate::invariant::Invariant;
use crate::run::{Told, tell};
use crate::story::Story;

/// How many times a story is told again at most.
const MOST_TELLINGS: u32 = 600;

/// A smaller story that breaks the same invariant, and how often it was told to find it.
pub fn shrink(story: &Story, invariant: Invariant) -> (Story, u32) {
    let mut shrinking = Shrinking {
        best: story.clone(),
        invariant,
        told: 0,
    };
    shrinking.weather();
    shrinking.acts();
    shrinking.faults();
    shrinking.acts();
    (shrinking.best, shrinking.told)
}

struct Shrinking {
    best: Story,
    invariant: Invariant,
    told: u32,
}

impl Shrinking {
    /// Takes a smaller story if it breaks the same invariant.
    fn offer(&mut self, smaller: Story) -> Option<Told> {
        if self.told >= MOST_TELLINGS {
            return None;
        }
        self.told += 1;
        let told = tell(&smaller);
        let is_it = told
            .broken
            .as_ref()
            .is_some_and(|b| b.invariant == self.invariant);
        if !is_it {
            return None;
        }
        self.best = smaller;
        Some(told)
    }

    fn weather(&mut self) {
        let calm = Story {
            weather: crate::fault::Weather::default(),
            ..self.best.clone()
        };
        if self.offer(calm).is_some() {
            return;
        }
        for &fault in Fault::ALL {
            if self.best.weather.rate(fault) > 0 {
                let mut smaller = self.best.clone();
                smaller.weather.set(fault, 0);
                self.offer(smaller);
            }
        }
    }

    /// Leaves out acts: first many at once, then fewer.
    fn acts(&mut self) {
        let mut size = self.best.acts.len().div_ceil(2).max(1);
        loop {
            let mut from = 0;
            while from < self.best.acts.len() {
                let mut smaller = self.best.clone();
                let to = (from + size).min(smaller.acts.len());
                smaller.acts.drain(from..to);
                if self.offer(smaller).is_none() {
                    from += size;
                }
            }
            if size == 1 {
                return;
            }
            size = size.div_ceil(2);
        }
    }

    /// Leaves out single faults of the weather: first many at once, then fewer.
    fn faults(&mut self) {
        self.told += 1;
        let mut needed: Vec<u64> = tell(&self.best).injected;
        needed.sort_unstable();
        needed.dedup();
        let mut size = needed.len().div_ceil(2).max(1);
        while !needed.is_empty() {
            let mut from = 0;
            while from < needed.len() {
                let to = (from + size).min(needed.len());
                let only: BTreeSet<u64> = needed[..from]
                    .iter()
                    .chain(&needed[to..])
                    .copied()
                    .collect();
                let smaller = Story {
                    only: Some(only.clone()),
                    ..self.best.clone()
                };
                if self.offer(smaller).is_some() {
                    needed = only.into_iter().collect();
                } else {
                    from += size;
                }
            }
            if size == 1 || self.told >= MOST_TELLINGS {
                return;
            }
            size = size.div_ceil(2);
        }
    }
}
