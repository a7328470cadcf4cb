//! What many stories came to together: for people, and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::fault::Tally;
use crate::invariant::{Broken, Checked};
use crate::run::Told;

/// Milliseconds of a year.
const YEAR: f64 = 365.25 * 24.0 * 3_600_000.0;

/// What many stories came to.
#[derive(Debug, Default)]
pub struct Report {
    /// How many stories were told.
    pub stories: u64,
    /// How long they were together, milliseconds of their own time.
    pub lasted: i64,
    /// Faults by kind.
    pub tally: Tally,
    /// Checks by invariant.
    pub checked: Checked,
    /// The seeds that broke an invariant.
    pub broken: Vec<(u64, Broken)>,
}

impl Report {
    /// Takes in a story.
    pub fn add(&mut self, seed: u64, told: &Told) {
        self.stories += 1;
        self.lasted += told.lasted;
        self.tally.add(&told.tally);
        self.checked.add(&told.checked);
        if let Some(broken) = &told.broken {
            self.broken.push((seed, broken.clone()));
        }
    }

    /// Adds another report.
    pub fn merge(&mut self, other: Self) {
        self.stories += other.stories;
        self.lasted += other.lasted;
        self.tally.add(&other.tally);
        self.checked.add(&other.checked);
        self.broken.extend(other.broken);
        self.broken.sort_by_key(|(seed, _)| *seed);
    }

    /// How many years the stories were long together.
    pub fn years(&self) -> f64 {
        // Far below the largest whole number of a float.
        #[allow(clippy::cast_precision_loss)]
        let lasted = self.lasted as f64;
        lasted / YEAR
    }

    /// As people read it.
    pub fn text(&self, seconds: f64) -> String {
        let mut text = String::new();
        // A count of stories is exact in a float.
        #[allow(clippy::cast_precision_loss)]
        let rate = self.stories as f64 / seconds.max(1e-9);
        let _ = writeln!(
            text,
            "{} seeds, {:.1} simulated years, {seconds:.1} s, {rate:.1} seeds a second",
            self.stories,
            self.years()
        );
        let _ = writeln!(text, "\nfaults injected");
        for (fault, n) in self.tally.by_kind() {
            let _ = writeln!(text, "  {:<20} {n:>10}  {}", fault.word(), fault.says());
        }
        let _ = writeln!(text, "\ninvariants checked");
        for (invariant, n) in self.checked.by_name() {
            let _ = writeln!(text, "  {:<28} {n:>12}", invariant.word());
        }
        for (seed, broken) in &self.broken {
            let _ = writeln!(
                text,
                "\nseed {seed} breaks {} at {}: {}",
                broken.invariant.word(),
                broken.at,
                broken.what
            );
        }
        text
    }

    /// As JSON.
    pub fn json(&self, seeds: (u64, u64), seconds: f64) -> Value {
        let faults: serde_json::Map<String, Value> = self
            .tally
            .by_kind()
            .map(|(fault, n)| (fault.word().to_owned(), json!(n)))
            .collect();
        let invariants: serde_json::Map<String, Value> = self
            .checked
            .by_name()
            .map(|(invariant, n)| (invariant.word().to_owned(), json!(n)))
            .collect();
        json!({
            "seeds": { "first": seeds.0, "count": self.stories, "asked": seeds.1 },
            "simulated_years": self.years(),
            "seconds": seconds,
            "faults": faults,
            "invariants": invariants,
            "broken": self.broken.iter().map(|(seed, b)| json!({ "seed": seed, "broken": b }))
                .collect::<Vec<_>>(),
        })
    }
}
