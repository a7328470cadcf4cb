//! Faults that a test orders through the admin API: the next calls of an operation are throttled,
//! denied, fail, fail after they have worked, are slow, the next deployment fails, or a metric is
//! kept from who asks.

use serde::Deserialize;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// `ThrottlingException`, nothing is done.
    Throttle,
    /// `AccessDenied`, as from a policy that lacks the permission; nothing is done.
    Deny,
    /// `InternalFailure`, nothing is done.
    Error,
    /// It is done, but the caller gets `InternalFailure`.
    ErrorAfterSuccess,
    /// It is done after `delay_ms` real milliseconds.
    Delay,
    /// The deployment that `CreateEndpoint` or `UpdateEndpoint` starts fails in the end.
    FailDeployment,
    /// `GetMetricData` answers, but the last metric that was asked for is `Forbidden`.
    ForbidMetric,
}

/// An order of faults.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fault {
    /// The operation as the API names it; `*` stands for any.
    pub(crate) operation: String,
    pub(crate) kind: Kind,
    /// How many calls it hits.
    #[serde(default = "once")]
    pub(crate) count: u32,
    #[serde(default)]
    pub(crate) delay_ms: u64,
}

fn once() -> u32 {
    1
}

/// The faults that are still to come.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    pub(crate) fn order(&mut self, fault: Fault) {
        if fault.count > 0 {
            self.0.push(fault);
        }
    }

    /// The fault that hits this call, if any; it is used up by one.
    pub(crate) fn hit(&mut self, operation: &str, wanted: impl Fn(Kind) -> bool) -> Option<Fault> {
        let index = self.0.iter().position(|fault| {
            (fault.operation == operation || fault.operation == "*") && wanted(fault.kind)
        })?;
        self.0[index].count -= 1;
        let fault = self.0[index].clone();
        if fault.count == 0 {
            self.0.remove(index);
        }
        Some(fault)
    }

    /// The fault that hits an API call as such.
    pub(crate) fn hit_call(&mut self, operation: &str) -> Option<Fault> {
        let of_a_part = |kind| matches!(kind, Kind::FailDeployment | Kind::ForbidMetric);
        self.hit(operation, |kind| !of_a_part(kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_hits_as_often_as_ordered() {
        let mut faults = Faults::default();
        let fault = Fault {
            operation: "DescribeEndpoint".into(),
            kind: Kind::Throttle,
            count: 2,
            delay_ms: 0,
        };
        faults.order(fault);
        assert_eq!(faults.hit_call("UpdateEndpoint"), None);
        assert!(faults.hit_call("DescribeEndpoint").is_some());
        assert!(faults.hit_call("DescribeEndpoint").is_some());
        assert_eq!(faults.hit_call("DescribeEndpoint"), None);
    }
}
