//! `[governance]`: what is kept of a version in SageMaker's own records, beside its package.
//!
//! Lineage is "Amazon SageMaker ML Lineage Tracking" in the developer guide, the life cycle its
//! "Staging Construct for your Model Life Cycle"; the card's fields and their lengths are the "Model
//! package model card schema" there.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The most characters of `ModelCardContent`; only texts full of control characters come near.
pub(super) const LONGEST_CARD: usize = 100_000;

/// What is kept in SageMaker's own records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Governance {
    /// Whether data, code, job, package and deployments are associated in SageMaker's lineage, which
    /// Studio shows as a graph.
    pub lineage: bool,
    /// Whether the package's metadata say who approved it.
    pub approver: bool,
    /// Whether the package's life cycle says how far a version is.
    pub lifecycle: bool,
    /// What the model card of a package that Tidegate registers says. Without it there is no card.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card: Option<Card>,
}

impl Default for Governance {
    fn default() -> Self {
        Self {
            lineage: true,
            approver: true,
            lifecycle: false,
            card: None,
        }
    }
}

impl Governance {
    /// Whether it is as without the table.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// The fields of a package's model card; what is not given is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Card {
    /// How far the review of the card is.
    pub status: CardStatus,
    /// Who made the model, up to 1,024 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub creator: Option<String>,
    /// What the model is for, up to 2,048 characters, as all that follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub purpose: Option<String>,
    /// The uses that it is meant for, and those that it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub intended_uses: Option<String>,
    /// What its answers' quality depends on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub factors: Option<String>,
    /// How much harm a wrong answer can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk_rating: Option<RiskRating>,
    /// Why it is rated so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub risk_explanation: Option<String>,
    /// The problem that it solves.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub business_problem: Option<String>,
    /// Who has a stake in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub stakeholders: Option<String>,
    /// The line of business.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub line_of_business: Option<String>,
    /// Ethical considerations.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub ethics: Option<String>,
    /// Caveats and recommendations.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub caveats: Option<String>,
}

/// How far the review of a card is (`ModelCardStatus`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CardStatus {
    /// It is being worked on.
    #[default]
    Draft,
    /// It waits for a review.
    PendingReview,
    /// It was approved for the models of this pipeline.
    Approved,
}

/// A risk rating.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RiskRating {
    /// Not rated yet.
    Unknown,
    /// Low.
    Low,
    /// Medium.
    Medium,
    /// High.
    High,
}

impl Card {
    /// The card's content as `ModelCardContent` takes it: JSON by the schema of a package's card, at
    /// most [`LONGEST_CARD`] characters.
    pub fn content(&self) -> String {
        let sections = [
            (
                "model_overview",
                section(&[("model_creator", &self.creator)]),
            ),
            ("intended_uses", self.uses()),
            (
                "business_details",
                section(&[
                    ("business_problem", &self.business_problem),
                    ("business_stakeholders", &self.stakeholders),
                    ("line_of_business", &self.line_of_business),
                ]),
            ),
            (
                "additional_information",
                section(&[
                    ("ethical_considerations", &self.ethics),
                    ("caveats_and_recommendations", &self.caveats),
                ]),
            ),
        ];
        let given = sections
            .into_iter()
            .filter(|(_, fields)| !fields.is_empty());
        let content: Map<String, Value> = given
            .map(|(name, fields)| (name.to_owned(), Value::Object(fields)))
            .collect();
        Value::Object(content).to_string()
    }

    fn uses(&self) -> Map<String, Value> {
        let mut uses = section(&[
            ("purpose_of_model", &self.purpose),
            ("intended_uses", &self.intended_uses),
            ("factors_affecting_model_efficiency", &self.factors),
            ("explanations_for_risk_rating", &self.risk_explanation),
        ]);
        if let Some(rating) = self.risk_rating {
            uses.insert("risk_rating".to_owned(), json!(format!("{rating:?}")));
        }
        uses
    }
}

/// The fields that are given.
fn section(fields: &[(&str, &Option<String>)]) -> Map<String, Value> {
    let given = fields.iter().filter_map(|(name, text)| {
        let text = text.as_deref().filter(|text| !text.is_empty())?;
        Some(((*name).to_owned(), json!(text)))
    });
    given.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_card_has_the_sections_that_are_given_and_no_others() {
        let card = Card {
            intended_uses: Some("Card payments.\nNot for loans.".to_owned()),
            risk_rating: Some(RiskRating::High),
            creator: Some(String::new()),
            ..Card::default()
        };
        let content: Value = serde_json::from_str(&card.content()).unwrap();
        let uses = json!({
            "intended_uses": "Card payments.\nNot for loans.", "risk_rating": "High",
        });
        assert_eq!(content, json!({ "intended_uses": uses }));
        assert!(!card.content().contains('\n'), "SageMaker wants one line");
    }
}
