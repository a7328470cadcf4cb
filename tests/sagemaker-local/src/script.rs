//! Scripted variants: a container whose environment has `SAGEMAKER_LOCAL_SCRIPT` answers from
//! that script, in process and seeded, so that a test knows exactly what its users meet.

use rand::RngExt as _;
use rand::rngs::StdRng;
use serde::Deserialize;
use serde_json::Value;

/// What a scripted variant does.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Script {
    /// Share of requests that end with status 500.
    pub(crate) error_rate: f64,
    /// Share of requests that end with status 400.
    pub(crate) four_xx_rate: f64,
    /// Share of requests that get no answer at all, as from a crashed container.
    pub(crate) no_answer_rate: f64,
    pub(crate) latency_ms: Latency,
    /// Seed of this variant's own draws; the endpoint's are used if not given.
    pub(crate) seed: Option<u64>,
    /// The servers never answer /ping: the deployment fails.
    pub(crate) fail_ping: bool,
    /// Shortest emulator time until the variant is up.
    pub(crate) start_seconds: Option<f64>,
    /// The body of an answer; the request's own body if not given.
    pub(crate) answer: Option<Value>,
    /// Answers each row of CSV with a probability instead.
    pub(crate) logistic: Option<Logistic>,
    /// Errors begin this many minutes after the variant came into service.
    pub(crate) errors_from_minute: Option<f64>,
}

/// A logistic regression, as a model that looks at what it is asked.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Logistic {
    pub(crate) bias: f64,
    /// By column; what is no number counts nothing.
    pub(crate) weights: Vec<f64>,
}

impl Logistic {
    /// A probability for each row of CSV.
    pub(crate) fn answer(&self, rows: &str) -> String {
        let probability = |row: &str| {
            let cells = row
                .split(',')
                .map(|cell| cell.trim().parse().unwrap_or(0.0));
            let sum: f64 = cells.zip(&self.weights).map(|(x, w): (f64, _)| x * w).sum();
            (1.0 / (1.0 + (-self.bias - sum).exp())).to_string()
        };
        let rows = rows.lines().filter(|row| !row.trim().is_empty());
        rows.map(probability).collect::<Vec<_>>().join("\n")
    }
}

/// A log-normal distribution of latencies.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Latency {
    /// Milliseconds.
    pub(crate) median: f64,
    pub(crate) sigma: f64,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            error_rate: 0.0,
            four_xx_rate: 0.0,
            no_answer_rate: 0.0,
            latency_ms: Latency::default(),
            seed: None,
            fail_ping: false,
            start_seconds: None,
            answer: None,
            logistic: None,
            errors_from_minute: None,
        }
    }
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            median: 20.0,
            sigma: 0.3,
        }
    }
}

/// One scripted answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scripted {
    /// 200, 400 or 500; 0 stands for no answer.
    pub(crate) status: u16,
    pub(crate) latency_us: f64,
}

impl Script {
    /// Draws an answer, `minutes` after the variant came into service.
    pub(crate) fn draw(&self, rng: &mut StdRng, minutes: f64) -> Scripted {
        // Always the same number of draws, so that one rate does not shift the others' draws.
        let luck: f64 = rng.random();
        let normal = normal(rng);
        let latency_us =
            self.latency_ms.median.max(0.0) * 1000.0 * (self.latency_ms.sigma * normal).exp();
        let failing = self.errors_from_minute.is_none_or(|from| minutes >= from);
        let (five, none) = (self.error_rate, self.no_answer_rate);
        let status = match luck {
            luck if failing && luck < five => 500,
            luck if failing && luck < five + self.four_xx_rate => 400,
            luck if failing && luck < five + self.four_xx_rate + none => 0,
            _ => 200,
        };
        Scripted {
            status,
            latency_us: latency_us.clamp(1.0, 60_000_000.0),
        }
    }
}

/// A standard normal draw (Box and Muller, 1958).
fn normal(rng: &mut StdRng) -> f64 {
    let radius: f64 = 1.0 - rng.random::<f64>();
    let angle: f64 = rng.random::<f64>() * std::f64::consts::TAU;
    (-2.0 * radius.ln()).sqrt() * angle.cos()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn rates_and_the_median_are_met() {
        let script: Script = serde_json::from_str(
            r#"{"error_rate":0.1,"four_xx_rate":0.05,"latency_ms":{"median":50,"sigma":0.2}}"#,
        )
        .unwrap();
        let mut rng = StdRng::seed_from_u64(7);
        let drawn: Vec<Scripted> = (0..20_000).map(|_| script.draw(&mut rng, 0.0)).collect();
        let share = |status| {
            f64::from(
                u32::try_from(drawn.iter().filter(|one| one.status == status).count()).unwrap(),
            ) / 20_000.0
        };
        assert!((share(500) - 0.1).abs() < 0.01);
        assert!((share(400) - 0.05).abs() < 0.01);
        let mut latencies: Vec<f64> = drawn.iter().map(|one| one.latency_us).collect();
        latencies.sort_by(f64::total_cmp);
        assert!(
            (latencies[10_000] - 50_000.0).abs() < 1_500.0,
            "{}",
            latencies[10_000]
        );
    }

    #[test]
    fn errors_can_begin_later() {
        let script = Script {
            error_rate: 1.0,
            errors_from_minute: Some(5.0),
            ..Script::default()
        };
        let mut rng = StdRng::seed_from_u64(7);
        assert_eq!(script.draw(&mut rng, 4.9).status, 200);
        assert_eq!(script.draw(&mut rng, 5.0).status, 500);
    }

    #[test]
    fn a_logistic_regression_answers_each_row() {
        let model = Logistic {
            bias: 1.0,
            weights: vec![2.0, -1.0],
        };
        assert_eq!(model.answer("1,3\n-0.5,x\n"), "0.5\n0.5");
    }

    #[test]
    fn a_misspelt_key_is_an_error() {
        assert!(serde_json::from_str::<Script>(r#"{"eror_rate":0.1}"#).is_err());
    }
}
