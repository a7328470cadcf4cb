//! The endpoint that a Clarify job makes for itself of the model that its config names ("shadow
//! endpoint" in the SageMaker developer guide): one instance, no metrics and no capture. It ends with
//! the job.

use std::sync::Arc;

use axum::body::Bytes;
use serde_json::Value;

use crate::app::App;
use crate::fleet::{self, Fleet, State};
use crate::json::text;
use crate::models;
use crate::monitor::table::{self, Row};
use crate::runtime::{self, Request};

const CSV: &str = "text/csv";
/// Rows in a request.
const AT_ONCE: usize = 500;
/// More rows than this are no test's.
const MOST_ROWS: usize = 2_000_000;

/// A model that answers one job.
pub(crate) struct Shadow {
    app: Arc<App>,
    fleet: Arc<Fleet>,
    asked: usize,
}

impl Drop for Shadow {
    fn drop(&mut self) {
        self.fleet.stop();
    }
}

impl Shadow {
    /// Starts the model of a config's `predictor` for a job, and waits until it is up.
    ///
    /// # Errors
    /// Why there is none, for the job's owner.
    pub(crate) async fn start(
        app: &Arc<App>,
        job: &str,
        predictor: &Value,
    ) -> Result<Self, String> {
        for member in ["content_type", "accept_type"] {
            match text(predictor, member) {
                None | Some(CSV) => {}
                Some(other) => {
                    return Err(format!("not implemented here: {member} {other}; {CSV} is"));
                }
            }
        }
        let name = text(predictor, "model_name")
            .ok_or("the analysis config's predictor has no model_name")?;
        for member in ["instance_type", "initial_instance_count"] {
            if predictor.get(member).is_none() {
                return Err(format!("the analysis config's predictor has no {member}"));
            }
        }
        let containers = {
            let world = app.world();
            let model = models::find(&world, name).map_err(|error| error.message.clone())?;
            models::check_approval(&world, model).map_err(|error| error.message.clone())?;
            models::containers(&world, model)
        };
        let fleet = Arc::new(Fleet::planned(
            &format!("sm-clarify-{job}"),
            "AllTraffic",
            &containers,
        ));
        let shadow = Self {
            app: app.clone(),
            fleet,
            asked: 0,
        };
        fleet::scale(app, &shadow.fleet, 1, None);
        shadow.fleet.settled().await;
        match shadow.fleet.state() {
            State::Failed(reason) => Err(reason),
            _ => Ok(shadow),
        }
    }

    /// The answers to rows of features, in their order.
    ///
    /// # Errors
    /// The model refused, or did not answer each row with one.
    pub(crate) async fn ask(&mut self, rows: &[Vec<String>]) -> Result<Vec<Row>, String> {
        self.asked += rows.len();
        if self.asked > MOST_ROWS {
            return Err(format!(
                "more than {MOST_ROWS} rows to predict; lower methods.shap.num_samples"
            ));
        }
        let mut answers = Vec::new();
        for some in rows.chunks(AT_ONCE) {
            let lines: Vec<String> = some.iter().map(|row| line(row)).collect();
            let request = Request {
                content_type: Some(CSV.to_owned()),
                accept: Some(CSV.to_owned()),
                body: Bytes::from(lines.join("\n")),
                ..Request::default()
            };
            let answer = runtime::ask(&self.app, &self.fleet, &request).await?;
            let said = String::from_utf8_lossy(&answer);
            let said = table::rows(&said, "CSV").unwrap_or_default();
            if said.len() != some.len() {
                return Err(format!(
                    "the model answered {} rows with {} lines of CSV",
                    some.len(),
                    said.len()
                ));
            }
            answers.extend(said);
        }
        Ok(answers)
    }
}

/// A row as CSV (RFC 4180).
fn line(row: &[String]) -> String {
    let cell = |cell: &String| {
        if cell.contains([',', '"']) {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell.clone()
        }
    };
    row.iter().map(cell).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_cell_with_a_comma_is_quoted() {
        let row = ["1", "a,b", "say \"x\""].map(str::to_owned);
        assert_eq!(line(&row), "1,\"a,b\",\"say \"\"x\"\"\"");
    }
}
