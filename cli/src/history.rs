//! `tidegate history`: what was decided for a group, when, by whom and why.

use std::fmt::Write as _;

use serde::Serialize;
use tidegate_core::audit::Entry;
use tidegate_core::ledger::Ledger as _;
use tidegate_core::name::GroupName;

use crate::answer::Answer;
use crate::args;
use crate::audit::{Line, PAGE};
use crate::connect::Connection;
use crate::error::Problem;
use crate::render::{Paint, Screen, clean, number, span, utc, wrap};
use crate::rollout::facts::GuardStatus;
use crate::status::RolloutStatus;

/// How many finished rollouts the ledger gives at most.
const MOST_ROLLOUTS: u32 = 100;

/// The newest entries or rollouts of a group, newest last.
pub(crate) async fn run(
    args: &args::History,
    connection: &Connection,
    screen: &Screen,
) -> Result<Answer, Problem> {
    let (group, snapshot) = connection.find(&args.group).await?;
    let screen = screen.no_earlier_than(snapshot.head.now);
    if args.rollouts {
        let limit = args.limit.min(MOST_ROLLOUTS);
        let found = connection
            .ledger()
            .rollouts(&group, limit)
            .await
            .map_err(connection.failed())?;
        let rollouts: Vec<_> = found.iter().rev().map(RolloutStatus::of).collect();
        let text = rollouts_text(&group, &rollouts, &screen);
        return Answer::new(Past { group, rollouts }, text);
    }
    let limit = u64::from(args.limit);
    let entries = newest(connection, &group, snapshot.head.tip.n, limit).await?;
    let lines: Vec<_> = entries.iter().map(Line::of).collect();
    let text = entries_text(&lines, snapshot.head.tip.n, &group, &screen);
    Answer::new(
        Trail {
            group,
            total: snapshot.head.tip.n,
            entries: lines,
        },
        text,
    )
}

/// The newest `limit` of `total` entries, oldest first.
pub(crate) async fn newest(
    connection: &Connection,
    group: &GroupName,
    total: u64,
    limit: u64,
) -> Result<Vec<Entry>, Problem> {
    let mut entries = Vec::new();
    let mut after = total.saturating_sub(limit);
    while after < total {
        let page = connection
            .ledger()
            .entries(group, after, PAGE)
            .await
            .map_err(connection.failed())?;
        let Some(last) = page.last() else {
            break;
        };
        // Entries may be missing or added meanwhile; this goes on in any case.
        after = last.n.max(after + 1);
        entries.extend(page.into_iter().filter(|entry| entry.n <= total));
    }
    Ok(entries)
}

/// What `history --json` prints.
#[derive(Debug, Serialize)]
struct Trail {
    group: GroupName,
    /// How many entries the trail has.
    total: u64,
    entries: Vec<Line>,
}

/// What `history --rollouts --json` prints.
#[derive(Debug, Serialize)]
struct Past {
    group: GroupName,
    rollouts: Vec<RolloutStatus>,
}

fn entries_text(lines: &[Line], total: u64, group: &GroupName, screen: &Screen) -> String {
    let mut text = String::new();
    let digits = number(total).len() + 1;
    for line in lines {
        let n = format!("#{}", line.n);
        let at = line
            .at
            .map_or_else(|| "at an unreadable time".to_owned(), |at| screen.time(at));
        let what = screen.paint(paint(&line.what), &clean(&line.what));
        let who = clean(&line.who);
        let _ = writeln!(text, "{n:<digits$}  {at}  {what}  by {who}");
        for part in wrap(&clean(&line.why), screen.width.saturating_sub(digits + 2)) {
            let _ = writeln!(text, "{:digits$}  {part}", "");
        }
    }
    let shown = lines.len() as u64;
    if shown < total {
        let _ = writeln!(
            text,
            "The newest {} of {} entries; `tidegate history {group} --limit {}` shows all.",
            number(shown),
            number(total),
            total.min(10_000)
        );
    }
    text
}

/// A colour for what happened: what was taken back or refused stands out.
fn paint(what: &str) -> Paint {
    match what {
        "rolled-back" | "rolling-back" | "rollout-failed" | "candidate-rejected"
        | "smoke-failed" | "effect-failed" | "foreign-change" => Paint::Bad,
        "rollout-done" | "promoted" => Paint::Good,
        _ => Paint::Bold,
    }
}

fn rollouts_text(group: &GroupName, rollouts: &[RolloutStatus], screen: &Screen) -> String {
    if rollouts.is_empty() {
        return format!(
            "No rollout of the group {group} has finished yet; `tidegate status` shows those under way.\n"
        );
    }
    let blocks: Vec<String> = rollouts
        .iter()
        .map(|rollout| rollout_text(rollout, screen))
        .collect();
    blocks.join("\n") + "\n`tidegate rollout show ID` draws one, minute by minute.\n"
}

fn rollout_text(rollout: &RolloutStatus, screen: &Screen) -> String {
    let paint = match rollout.phase.as_str() {
        "done" => Paint::Good,
        "observed" => Paint::Plain,
        _ => Paint::Bad,
    };
    let ended = rollout.ended.unwrap_or(rollout.started);
    let mut text = format!(
        "{} to {} ({})  {}\n",
        screen.paint(Paint::Bold, &clean(&rollout.name)),
        rollout.stage,
        rollout.endpoint,
        screen.paint(paint, &rollout.phase_text),
    );
    let took = span((ended.as_second() - rollout.started.as_second()).max(0));
    let mut field = |label: &str, value: &str| {
        for (i, part) in wrap(&clean(value), screen.width.saturating_sub(10))
            .iter()
            .enumerate()
        {
            let label = if i == 0 { label } else { "" };
            let _ = writeln!(text, "  {label:<8}{part}");
        }
    };
    field("ended", &format!("{}, took {took}", screen.time(ended)));
    if let Some(why) = &rollout.why {
        field("why", why);
    }
    if !rollout.weights.is_empty() {
        let weights: Vec<String> = rollout
            .weights
            .iter()
            .map(|weight| format!("{} % at {}", weight.percent, clock(&utc(weight.at))))
            .collect();
        field("traffic", &format!("{} UTC", weights.join(", ")));
    }
    let why = rollout.why.as_deref().unwrap_or_default();
    // What is the reason already is not said twice.
    let is_news = |guard: &&GuardStatus| !why.contains(&guard.sentence);
    for guard in rollout.guards.iter().filter(is_news) {
        field("guard", &guard.sentence);
    }
    field("id", &rollout.id);
    text
}

/// The hours and minutes of a time.
fn clock(utc: &str) -> &str {
    utc.get(11..16).unwrap_or(utc)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn screen() -> Screen {
        Screen {
            width: 100,
            color: false,
            now: "2026-11-24T21:36:05Z".parse().unwrap(),
        }
    }

    fn line(n: u64, what: &str, why: &str) -> Line {
        Line {
            n,
            at: Some("2026-11-24T21:30:00Z".parse().unwrap()),
            what: what.to_owned(),
            who: "tidegate".to_owned(),
            why: why.to_owned(),
        }
    }

    #[test]
    fn entries_read_as_a_log_newest_last() {
        let group = GroupName::parse("fraud-detection").unwrap();
        let lines = [
            line(9, "step-started", "5 % of the traffic goes to v3."),
            line(
                10,
                "rolled-back",
                "model errors: 40 of 812 requests on v3 against 12 of 14,000 on v2; 1 in 12,000 if it were no worse",
            ),
        ];
        insta::assert_snapshot!(entries_text(&lines, 10, &group, &screen()));
    }

    #[test]
    fn a_finished_rollout_tells_why_and_how_the_traffic_went() {
        let rollout: RolloutStatus = crate::status::tests::canary();
        let ended = RolloutStatus {
            phase: "rolled_back".to_owned(),
            phase_text: "rolled back".to_owned(),
            why: Some("model errors went up".to_owned()),
            ended: Some("2026-11-24T21:26:00Z".parse().unwrap()),
            ..rollout
        };
        insta::assert_snapshot!(rollout_text(&ended, &screen()));
    }
}
