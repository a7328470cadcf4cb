//! Labelled rows that no model was trained on, and how good the model that serves is on them: the
//! endpoint is asked, and what it says is held against the labels.

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::clients::Clients;

/// Labelled rows.
#[derive(Debug)]
pub(super) struct HeldOut {
    labels: Vec<bool>,
    /// The rows before the data changed, as they are sent.
    before: Vec<String>,
    /// The same rows afterwards.
    pub(super) after: Vec<String>,
    /// The columns in which they differ.
    pub(super) changed: Vec<String>,
}

/// How good a model is on them; shares from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quality {
    /// How likely a malignant one is rated above a benign one.
    pub auc: f64,
    /// The share that is told right, at 0.5.
    pub accuracy: f64,
    /// The share of malignant ones that are found, at 0.5.
    pub recall: f64,
}

/// Which data it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Data {
    /// As it was when the champion was trained.
    Before,
    /// As it is since it changed.
    After,
}

#[derive(Deserialize)]
struct Answer {
    malignant: Vec<f64>,
}

impl HeldOut {
    /// Reads the rows afterwards, a CSV file with a header and the label first.
    pub(super) fn read(csv: &str, before: Vec<String>) -> Result<Self> {
        let mut lines = csv.lines();
        let header = lines.next().context("the file has a header")?;
        let (mut labels, mut after) = (Vec::new(), Vec::new());
        for line in lines {
            let (label, row) = line.split_once(',').context("a row has measurements")?;
            labels.push(label == "1");
            after.push(row.to_owned());
        }
        let differs = |column: usize| {
            let mut pairs = before.iter().zip(&after);
            pairs.any(|(old, new)| old.split(',').nth(column) != new.split(',').nth(column))
        };
        let columns = header.split(',').skip(1).enumerate();
        let changed = columns.filter(|(column, _)| differs(*column));
        let changed = changed.map(|(_, name)| name.to_owned()).collect();
        Ok(Self {
            labels,
            before,
            after,
            changed,
        })
    }

    /// Asks an endpoint about all of them, as they were before or as they are now.
    pub(super) async fn ask(
        &self,
        clients: &Clients,
        endpoint: &str,
        data: Data,
    ) -> Result<Quality> {
        let rows = match data {
            Data::Before => &self.before,
            Data::After => &self.after,
        };
        let answer = clients
            .runtime
            .invoke_endpoint()
            .endpoint_name(endpoint)
            .content_type("text/csv")
            .accept("application/json")
            .body(rows.join("\n").into_bytes().into())
            .send()
            .await?;
        let body = answer.body.context("an answer has a body")?;
        let scores = serde_json::from_slice::<Answer>(body.as_ref())?.malignant;
        ensure!(
            scores.len() == self.labels.len(),
            "{} rows, {} answers",
            self.labels.len(),
            scores.len()
        );
        Quality::of(&self.labels, &scores).context("there are malignant and benign rows")
    }
}

impl Quality {
    /// None unless there are rows of both kinds.
    #[expect(clippy::cast_precision_loss, reason = "counts of rows")]
    fn of(labels: &[bool], scores: &[f64]) -> Option<Self> {
        let of = |wanted: bool| {
            let all = labels.iter().zip(scores);
            let some = all.filter(move |(label, _)| **label == wanted);
            some.map(|(_, score)| *score).collect::<Vec<f64>>()
        };
        let (malignant, benign) = (of(true), of(false));
        if malignant.is_empty() || benign.is_empty() {
            return None;
        }
        let wins = |high: &f64| -> f64 {
            let win = |low: &f64| match high.partial_cmp(low) {
                Some(std::cmp::Ordering::Greater) => 1.0,
                Some(std::cmp::Ordering::Equal) => 0.5,
                _ => 0.0,
            };
            benign.iter().map(win).sum()
        };
        let found = malignant.iter().filter(|score| **score > 0.5).count();
        let cleared = benign.iter().filter(|score| **score <= 0.5).count();
        Some(Self {
            auc: malignant.iter().map(wins).sum::<f64>() / (malignant.len() * benign.len()) as f64,
            accuracy: (found + cleared) as f64 / labels.len() as f64,
            recall: found as f64 / malignant.len() as f64,
        })
    }

    /// For people.
    pub(super) fn in_words(self) -> String {
        format!(
            "AUC {:.3}, {:.0} % told right, {:.0} % of the malignant ones found",
            self.auc,
            self.accuracy * 100.0,
            self.recall * 100.0
        )
    }

    /// Whether it is better by each number.
    pub(super) fn is_better_than(self, other: Self) -> bool {
        self.auc > other.auc && self.accuracy > other.accuracy && self.recall > other.recall
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quality_is_counted_by_hand() {
        let labels = [true, true, false, false];
        let quality = |scores: &[f64]| Quality::of(&labels, scores);
        let of = |auc, accuracy, recall| {
            Some(Quality {
                auc,
                accuracy,
                recall,
            })
        };
        assert_eq!(quality(&[0.9, 0.8, 0.2, 0.1]), of(1.0, 1.0, 1.0));
        assert_eq!(quality(&[0.9, 0.3, 0.4, 0.1]), of(0.75, 0.75, 0.5));
        assert_eq!(quality(&[0.6, 0.6, 0.6, 0.6]), of(0.5, 0.5, 1.0));
        assert_eq!(Quality::of(&[true], &[0.9]), None);
    }

    #[test]
    fn the_columns_that_changed_are_named() -> Result<()> {
        let before = vec!["1,2,3".to_owned(), "4,,5".to_owned()];
        let held_out = HeldOut::read("label,a,b,c\n1,1,2,3\n0,4,,6\n", before)?;
        assert_eq!(held_out.changed, ["c"]);
        assert_eq!(held_out.after, ["1,2,3", "4,,6"]);
        assert_eq!(held_out.labels, [true, false]);
        Ok(())
    }
}
