//! A team that lets Tidegate look on: a person shifts canaries by hand, Tidegate says what it would
//! do and touches nothing; going over to acting is one word.

use anyhow::{Result, bail, ensure};
use serde_json::json;
use tidegate_core::rollout::{Over, Phase, Rollout, Theirs};

use crate::common::{Approval, champion, endpoint, finished, package, serving, users};
use crate::day::Day;
use crate::guards::in_one_line;
use crate::person::{Person, WATCHED, belongings};
use crate::{ROLLOUT, policy, strategy};

const WOULD_ROLL_BACK: &str = "Observed: v2 would be rolled back on watched-prod";
const LOOKS_SAFE: &str = "Observed: v3 looks safe on watched-prod";

/// An endpoint that a person made, with its first version and users.
pub(crate) async fn observed_endpoint(day: &mut Day<'_>, person: &mut Person) -> Result<()> {
    apply(day, "observe").await?;
    let first = person.model(&day.book.world, 1, &usual()).await?;
    person
        .creates(day, "watched-one", &[("blue", &first, 1)])
        .await?;
    users(&day.book.world, WATCHED).await
}

fn usual() -> serde_json::Value {
    json!({ "error_rate": 0.01 })
}

async fn apply(day: &Day<'_>, mode: &str) -> Result<()> {
    let mode = format!("mode = \"{mode}\"");
    let policy = policy(WATCHED, &mode, &strategy(&[50]), "");
    day.book.world.apply(WATCHED, &policy).await
}

/// The person gives a canary with twenty times the errors 10 %, then 50 %, then all.
pub(crate) async fn bad_canary_would_be_rolled_back_and_nothing_is_touched(
    day: &mut Day<'_>,
    person: &mut Person,
) -> Result<()> {
    let bad = json!({ "error_rate": 0.2 });
    let second = person.model(&day.book.world, 2, &bad).await?;
    let both = [("blue", "watched-v1", 90), ("green", second.as_str(), 10)];
    person.deploys(day, "watched-two", &both).await?;

    let before = belongings(&day.book.world).await?;
    day.told(WATCHED, "observing", "v2 is a canary on watched-prod", 5)
        .await?;
    let began = day.book.notice(WATCHED, "observing")?;
    ensure!(
        began.text.contains("blue had all the traffic before"),
        "nobody knows why blue is the champion: {began:?}"
    );
    day.told(WATCHED, "would-act", WOULD_ROLL_BACK, 15).await?;
    // Were it to act, it would do so now.
    day.pass(4).await?;
    unchanged(day, &before).await?;

    let half = [("blue", 50), ("green", 50)];
    person.shifts(day, "watched-two", &half).await?;
    let before = belongings(&day.book.world).await?;
    day.pass(4).await?;
    unchanged(day, &before).await?;
    let times = day
        .times_told(WATCHED, "would-act", WOULD_ROLL_BACK)
        .await?;
    ensure!(times == 1, "people were told {times} times");

    person
        .deploys(day, "watched-three", &[("green", &second, 1)])
        .await?;
    let before = belongings(&day.book.world).await?;
    let rollout = day.ended(WATCHED, 2, 15).await?;
    unchanged(day, &before).await?;
    person.was_alone(&day.book.world)?;

    let (over, why) = observation(&rollout)?;
    let shares: Vec<u8> = rollout.weights.iter().map(|(_, share)| *share).collect();
    ensure!(
        over.theirs == Theirs::Promoted
            && shares == [10, 50, 100]
            && rollout.crossed.is_some_and(|crossed| crossed.at < over.at),
        "they did {over:?} by {shares:?}, and we {:?}",
        rollout.crossed
    );
    let theirs = "Somebody gave v2 all the traffic of watched-prod at ";
    let ours = "Tidegate would have rolled it back at ";
    ensure!(
        why.contains(theirs) && why.contains(ours),
        "it does not say what they did and what we would have done: {why}"
    );
    let told = day.book.notice(WATCHED, "observed")?;
    ensure!(
        told.severity.as_deref() == Some("action")
            && told
                .subject
                .ends_with("; Tidegate would have rolled it back")
            && told.text.contains(theirs)
            && told.text.contains(ours),
        "people were told otherwise: {told:?}"
    );
    for args in [
        &["rollout", "show", WATCHED][..],
        &["history", WATCHED, "--rollouts"],
    ] {
        let (code, text) = day.book.world.tidegate(args).await?;
        let words = in_one_line(&text);
        ensure!(
            code == 0
                && words.contains("observed")
                && words.contains(theirs)
                && words.contains(ours)
                && words.contains("model errors"),
            "tidegate {args:?} ended with {code} and does not tell:\n{text}"
        );
    }
    Ok(())
}

/// The next canary is better than what serves.
pub(crate) async fn healthy_canary_looks_safe(
    day: &mut Day<'_>,
    person: &mut Person,
) -> Result<()> {
    let third = person.model(&day.book.world, 3, &usual()).await?;
    let both = [("violet", third.as_str(), 20), ("green", "watched-v2", 80)];
    person.deploys(day, "watched-four", &both).await?;
    let before = belongings(&day.book.world).await?;
    day.told(WATCHED, "would-act", LOOKS_SAFE, 15).await?;
    unchanged(day, &before).await?;

    person
        .deploys(day, "watched-five", &[("violet", &third, 1)])
        .await?;
    let rollout = day.ended(WATCHED, 3, 15).await?;
    let (over, why) = observation(&rollout)?;
    ensure!(
        over.theirs == Theirs::Promoted
            && rollout.crossed.is_none()
            && why.contains("Tidegate would have gone on, too"),
        "they did {over:?}: {why}"
    );
    person.was_alone(&day.book.world)?;
    // None of it claims that anything was done.
    let told = day.book.told_of(WATCHED);
    let unmarked = told.iter().find(|t| !t.subject.starts_with("Observed: "));
    ensure!(unmarked.is_none(), "this bears no mark: {unmarked:?}");
    Ok(())
}

/// From then on an approved version is rolled out.
pub(crate) async fn one_word_goes_over_to_acting(day: &mut Day<'_>) -> Result<()> {
    apply(day, "act").await?;
    package(&day.book.world, WATCHED, &usual(), Approval::Given).await?;
    let rollout = day.ended(WATCHED, 4, ROLLOUT).await?;
    ensure!(
        rollout.phase == Phase::Done && rollout.observed.is_none(),
        "watched v4 is {:?}",
        rollout.phase
    );
    let world = &day.book.world;
    let variants = serving(world, WATCHED).await?;
    ensure!(
        variants.len() == 1 && champion(world, WATCHED).await? == Some(4),
        "v4 does not serve alone: {variants:?}"
    );
    // What was approved while it looked on does not start by itself.
    for version in 1..4 {
        let past = finished(world, WATCHED, version).await?;
        let acted = past.filter(|rollout| rollout.observed.is_none());
        ensure!(acted.is_none(), "v{version} was rolled out: {acted:?}");
    }
    let told = day.book.notice(WATCHED, "rollout-done")?;
    ensure!(
        told.subject == format!("v4 serves {}", endpoint(WATCHED)),
        "people were told otherwise: {told:?}"
    );
    Ok(())
}

/// How an observation ended.
fn observation(rollout: &Rollout) -> Result<(Over, &str)> {
    match &rollout.phase {
        Phase::Observed { over, why } if rollout.observed.is_some() => Ok((*over, why)),
        other => bail!("{} is {other:?}", rollout.id.0),
    }
}

async fn unchanged(day: &Day<'_>, before: &[String]) -> Result<()> {
    let after = belongings(&day.book.world).await?;
    ensure!(
        after == before,
        "it was {before:#?} and now it is {after:#?}"
    );
    Ok(())
}
