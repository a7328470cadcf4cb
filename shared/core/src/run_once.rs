//! The name of a one-time run of a monitoring schedule: the schedule's own name can be read from it,
//! so that what the run finds is dealt with as if the schedule had found it.
//!
//! SageMaker runs a job once by a schedule of its own with the expression `NOW` ("Schedule
//! monitoring jobs" in the developer guide); nothing in it says which schedule it was made from.

use jiff::Timestamp;

use crate::name::ScheduleName;

/// Between the schedule's name and the time.
const RUN: &str = "-run-";

/// Digits of the time, in hexadecimal; seconds since 1970 have eight until 2106.
const DIGITS: usize = 8;

/// The most characters of a schedule's name that a run's name keeps: `SageMaker` allows 63 in all.
pub const LONGEST: usize = 63 - RUN.len() - DIGITS;

/// The name of a run that begins at this time. Of a name longer than [`LONGEST`] only the start is
/// kept, and the schedule can't be read from it.
pub fn name(schedule: &ScheduleName, at: Timestamp) -> ScheduleName {
    let kept: String = schedule.as_str().chars().take(LONGEST).collect();
    let seconds = u32::try_from(at.as_second()).unwrap_or(u32::MAX);
    let name = format!("{kept}{RUN}{seconds:08x}");
    ScheduleName::parse(&name).unwrap_or_else(|_| schedule.clone())
}

/// The schedule that this is a run of, if its name says so.
pub fn origin(run: &ScheduleName) -> Option<ScheduleName> {
    let (schedule, time) = run.as_str().rsplit_once(RUN)?;
    let is_time = time.len() == DIGITS && time.bytes().all(|b| b.is_ascii_hexdigit());
    let schedule = ScheduleName::parse(schedule).ok()?;
    (is_time && schedule.as_str().len() < LONGEST + 1).then_some(schedule)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn schedule(name: &str) -> ScheduleName {
        ScheduleName::parse(name).unwrap()
    }

    #[test]
    fn a_run_names_its_schedule() {
        let at = "2026-11-28T15:00:00Z".parse().unwrap();
        for of in ["s", "fraud-data", "a-run-00000000", &"x".repeat(LONGEST)] {
            let run = name(&schedule(of), at);
            assert_eq!(origin(&run), Some(schedule(of)), "{run}");
        }
        assert_eq!(
            name(&schedule("fraud-data"), at).as_str(),
            "fraud-data-run-6b0aec70"
        );
    }

    #[test]
    fn a_name_that_is_too_long_is_cut_and_others_are_no_runs() {
        let long = schedule(&"x".repeat(63));
        let run = name(&long, Timestamp::UNIX_EPOCH);
        assert_eq!(run.as_str().len(), 63);
        assert_ne!(origin(&run), Some(long));
        for other in [
            "fraud-data",
            "dry-run-2026",
            "run-00000000",
            "x-run-0000000g",
        ] {
            assert_eq!(origin(&schedule(other)), None, "{other}");
        }
    }
}
