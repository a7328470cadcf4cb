//! Values that come from AWS: checked once, here, and turned into core's types.

use aws_sdk_sagemaker::types::VpcConfig;
use aws_smithy_types::DateTime;
use jiff::Timestamp;
use tidegate_core::pipeline::Vpc;
use tidegate_core::world::WorldError;

use crate::error::refused;

/// A time, if AWS gave one that is a time.
pub(super) fn time(time: Option<&DateTime>) -> Option<Timestamp> {
    let time = time?;
    Timestamp::new(time.secs(), i32::try_from(time.subsec_nanos()).ok()?).ok()
}

/// A time as the SDK has it.
pub(super) fn aws_time(time: Timestamp) -> DateTime {
    DateTime::from_nanos(time.as_nanosecond()).unwrap_or(DateTime::from_secs(time.as_second()))
}

/// A member that AWS documents as always there.
pub(super) fn required<T>(
    call: &'static str,
    what: &'static str,
    value: Option<T>,
) -> Result<T, WorldError> {
    value.ok_or_else(|| refused(call, format!("the answer has no {what}")))
}

/// A 32-bit float as the decimal number that was meant: 0.95 is reported as the nearest 32-bit
/// float, which as a 64-bit one would be 0.949999988 and miss a threshold of 0.95.
pub(super) fn decimal(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

/// A count that can't be negative.
pub(super) fn count(value: Option<i32>) -> u32 {
    value.and_then(|n| u32::try_from(n).ok()).unwrap_or(0)
}

/// A count as the SDK takes it.
pub(super) fn aws_count(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// A VPC, none if it has no subnets.
pub(super) fn vpc(vpc: Option<&VpcConfig>) -> Option<Vpc> {
    vpc.filter(|vpc| !vpc.subnets().is_empty()).map(|vpc| Vpc {
        subnets: vpc.subnets().to_vec(),
        security_groups: vpc.security_group_ids().to_vec(),
    })
}

/// A VPC as the SDK takes it.
pub(super) fn aws_vpc(vpc: &Vpc) -> VpcConfig {
    VpcConfig::builder()
        .set_subnets(Some(vpc.subnets.clone()))
        .set_security_group_ids(Some(vpc.security_groups.clone()))
        .build()
}

/// The name at the end of an ARN, `arn:...:kind/name`.
pub(super) fn name_of_arn(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_of_32_bits_is_the_number_that_was_meant() {
        for value in ["0.95", "0.92", "0.1", "123.456", "1e-7"] {
            let short: f32 = value.parse().unwrap_or_default();
            let meant: f64 = value.parse().unwrap_or_default();
            assert_eq!(decimal(short).to_bits(), meant.to_bits(), "{value}");
        }
        assert!(decimal(f32::NAN).is_nan());
    }

    #[test]
    fn times_survive_both_ways() {
        let now = Timestamp::constant(1_763_000_000, 123_000_000);
        assert_eq!(time(Some(&aws_time(now))), Some(now));
        assert_eq!(time(Some(&DateTime::from_secs(i64::MAX))), None);
    }
}
