//! When a monitor runs. Model Monitor takes few cron expressions ("The cron expression for
//! monitoring schedule" in the SageMaker developer guide): every hour, once a day, or every so many
//! hours from one on.

/// Every hour.
pub(super) const HOURLY: &str = "hourly";

const EVERY_HOUR: &str = "cron(0 * ? * * *)";
const DAY: u32 = 24;

/// Whether it is `hourly` or a cron expression that Model Monitor takes.
pub(crate) fn is_schedule(text: &str) -> bool {
    hours(text).is_some()
}

/// The expression that Model Monitor takes.
pub(super) fn expression(schedule: &str) -> &str {
    if schedule == HOURLY {
        EVERY_HOUR
    } else {
        schedule
    }
}

/// The hours from one run to the next, 1 to 24.
pub(super) fn every_hours(schedule: &str) -> u32 {
    hours(schedule).unwrap_or(DAY)
}

/// The hours from one run to the next; none for what is no such expression.
fn hours(schedule: &str) -> Option<u32> {
    let hours = expression(schedule)
        .strip_prefix("cron(0 ")?
        .strip_suffix(" ? * * *)")?;
    if hours == "*" {
        return Some(1);
    }
    let number = |text: &str| -> Option<u32> {
        let is_short = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        is_short.then(|| text.parse().ok()).flatten()
    };
    let (first, every) = match hours.split_once('/') {
        Some((first, every)) => (number(first)?, number(every)?),
        None => (number(hours)?, DAY),
    };
    (first < DAY && (1..=DAY).contains(&every)).then_some(every)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expressions_that_model_monitor_takes_are_taken_and_no_others() {
        for (text, every) in [
            ("hourly", 1),
            ("cron(0 * ? * * *)", 1),
            ("cron(0 0 ? * * *)", 24),
            ("cron(0 17 ? * * *)", 24),
            ("cron(0 17/12 ? * * *)", 12),
            ("cron(0 00/06 ? * * *)", 6),
        ] {
            assert!(is_schedule(text), "{text}");
            assert_eq!(every_hours(text), every, "{text}");
        }
        for text in [
            "",
            "daily",
            "NOW",
            "rate(1 hour)",
            "cron(30 * ? * * *)",
            "cron(0 24 ? * * *)",
            "cron(0 1/0 ? * * *)",
            "cron(0 1/25 ? * * *)",
            "cron(0 +1 ? * * *)",
            "cron(0 * * * ? *)",
            "cron(0 1 ? * MON *)",
        ] {
            assert!(!is_schedule(text), "{text}");
        }
    }
}
