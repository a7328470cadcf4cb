//! Which two series of `CloudWatch` a guard needs of a variant: all events, and the bad ones.
//!
//! Sources: "Amazon SageMaker AI metrics in Amazon CloudWatch" for names and dimensions;
//! `CloudWatch`'s "Statistics definitions" for `TC`, the trimmed count. It counts what is above its
//! lower bound, is interpolated and may be a fraction, so it is rounded and clamped.

use std::fmt;

use aws_sdk_cloudwatch::types::{Dimension, Metric};
use tidegate_core::name::EndpointName;
use tidegate_core::pipeline::{CountMetric, GuardMetric};

/// The namespace of SageMaker's own metrics of an endpoint.
pub(super) const NAMESPACE: &str = "AWS/SageMaker";
/// The metric that counts requests.
pub(super) const REQUESTS: &str = "Invocations";
/// The dimensions of an endpoint's metrics.
pub(super) const ENDPOINT: &str = "EndpointName";
pub(super) const VARIANT: &str = "VariantName";

/// A metric and how it is summed up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Series {
    pub(super) namespace: String,
    pub(super) name: String,
    /// Names and values.
    pub(super) dimensions: Vec<(String, String)>,
    pub(super) stat: String,
}

impl Series {
    /// All events and bad events of a guard.
    pub(super) fn pair(
        guard: &GuardMetric,
        endpoint: &EndpointName,
        variant: &str,
    ) -> (Self, Self) {
        let of_sagemaker = |name: &str, stat: String| Self {
            namespace: NAMESPACE.to_owned(),
            name: name.to_owned(),
            dimensions: vec![
                (ENDPOINT.to_owned(), endpoint.as_str().to_owned()),
                (VARIANT.to_owned(), variant.to_owned()),
            ],
            stat,
        };
        let sum = || "Sum".to_owned();
        match guard {
            GuardMetric::Metric(count) => {
                let bad = match count {
                    CountMetric::ModelErrors => "InvocationModelErrors",
                    CountMetric::ClientErrors => "Invocation4XXErrors",
                    CountMetric::ServerErrors => "Invocation5XXErrors",
                };
                (of_sagemaker(REQUESTS, sum()), of_sagemaker(bad, sum()))
            }
            GuardMetric::SlowerThanMs(ms) => {
                // `ModelLatency` is in microseconds.
                let slower = format!("TC({}:)", u64::from(*ms) * 1_000);
                let of_latency = |stat| of_sagemaker("ModelLatency", stat);
                (of_latency("SampleCount".to_owned()), of_latency(slower))
            }
            GuardMetric::Custom(custom) => {
                let fill = |text: &String| {
                    text.replace("{endpoint}", endpoint.as_str())
                        .replace("{variant}", variant)
                };
                let of_user = |name: &str| Self {
                    namespace: custom.namespace.clone(),
                    name: name.to_owned(),
                    dimensions: custom
                        .dimensions
                        .iter()
                        .map(|(name, value)| (name.clone(), fill(value)))
                        .collect(),
                    stat: sum(),
                };
                (of_user(&custom.all), of_user(&custom.bad))
            }
        }
    }

    /// The metric as the SDK has it.
    pub(super) fn metric(&self) -> Metric {
        let dimension =
            |(name, value): &(String, String)| Dimension::builder().name(name).value(value).build();
        Metric::builder()
            .namespace(&self.namespace)
            .metric_name(&self.name)
            .set_dimensions(Some(self.dimensions.iter().map(dimension).collect()))
            .build()
    }
}

/// For an error's message: `AWS/SageMaker Invocations (Sum) of EndpointName=e, VariantName=v`.
impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.namespace, self.name, self.stat)?;
        for (index, (name, value)) in self.dimensions.iter().enumerate() {
            let before = if index == 0 { " of" } else { "," };
            write!(f, "{before} {name}={value}")?;
        }
        Ok(())
    }
}
