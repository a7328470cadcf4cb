//! What a person and a program see of a rollout.
#![allow(clippy::unwrap_used)]

use jiff::SignedDuration;
use tidegate_core::evidence::{Counts, Minute};
use tidegate_core::name::EndpointName;
use tidegate_core::rollout::{JudgedMinute, Phase, Rollout};

use super::chart::{Band, Chart};
use super::terminal::Glyphs;
use super::{Judged, Shown, sample, steps, story};
use crate::render::Screen;
use crate::status::RolloutStatus;

fn begin() -> jiff::Timestamp {
    "2026-11-24T21:00:00Z".parse().unwrap()
}

fn screen(width: usize) -> Screen {
    Screen {
        width,
        color: false,
        now: "2026-11-25T03:00:00Z".parse().unwrap(),
    }
}

fn shown(rollout: &Rollout) -> Shown {
    Shown {
        pipeline: tidegate_core::name::PipelineName::parse("fraud").unwrap(),
        group: tidegate_core::name::GroupName::parse("fraud-detection").unwrap(),
        told: story::told(rollout),
        rollout: RolloutStatus::with_all_guards(rollout),
        steps: steps::of(rollout),
        judged: rollout.minutes.iter().map(Judged::of).collect(),
    }
}

fn chart(rollout: &Rollout) -> Chart {
    Chart::of(rollout, &rollout.name(), rollout.ended.unwrap()).unwrap()
}

fn text(rollout: &Rollout, glyphs: Glyphs) -> String {
    shown(rollout).text(rollout, Some(&chart(rollout)), glyphs, &screen(90))
}

#[test]
fn a_rollout_that_was_taken_back_says_so_first_and_then_why() {
    insta::assert_snapshot!(text(&sample::taken_back(begin()), Glyphs::Blocks));
}

#[test]
fn a_rollout_that_ended_well_shows_what_it_was_compared_with() {
    insta::assert_snapshot!(text(&sample::done(begin()), Glyphs::Blocks));
}

#[test]
fn without_utf_8_it_is_ascii_alone() {
    let text = text(&sample::taken_back(begin()), Glyphs::Ascii);
    assert!(text.is_ascii(), "{text}");
    assert!(text.contains("###"), "{text}");
}

#[test]
fn it_fits_the_terminal_whatever_its_width() {
    for rollout in [sample::taken_back(begin()), sample::done(begin())] {
        for width in [60, 80, 100, 200] {
            let text = shown(&rollout).text(
                &rollout,
                Some(&chart(&rollout)),
                Glyphs::Blocks,
                &screen(width),
            );
            let widest = text.lines().map(|line| line.chars().count()).max();
            // A table may be wider than the narrowest terminals.
            assert!(widest <= Some(width.max(88)), "{width}: {text}");
        }
    }
}

#[test]
fn colours_change_nothing_but_colours() {
    let rollout = sample::taken_back(begin());
    let colourful = Screen {
        color: true,
        ..screen(90)
    };
    let chart = chart(&rollout);
    let plain = chart.terminal(&screen(90), Glyphs::Blocks);
    let painted = chart.terminal(&colourful, Glyphs::Blocks);
    assert!(painted.contains("\u{1b}[1;31m"), "{painted}");
    let mut stripped = String::new();
    let mut rest = painted.as_str();
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        stripped.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    stripped.push_str(rest);
    assert_eq!(stripped, plain);
}

#[test]
fn in_json_there_is_all_of_it() {
    let rollout = sample::taken_back(begin());
    let json = serde_json::to_value(shown(&rollout)).unwrap();
    let guard = &json["rollout"]["guards"][0];
    assert_eq!(guard["guard"], "model_errors");
    assert_eq!(guard["against"], "champion");
    assert_eq!(
        guard["crossed"],
        serde_json::to_value(rollout.crossed.unwrap().at).unwrap()
    );
    assert!(
        guard["harm"].as_f64() >= guard["needed"].as_f64(),
        "{guard}"
    );
    assert!(
        guard["ratio_interval"]["low"].as_f64() > Some(1.0),
        "{guard}"
    );
    let judged = json["judged"].as_array().unwrap();
    assert_eq!(judged.len(), rollout.minutes.len());
    assert_eq!(judged[0]["guards"][0].as_array().map(Vec::len), Some(4));
    // The steps add up to all that was judged.
    let steps = json["steps"].as_array().unwrap();
    let sum: u64 = steps
        .iter()
        .map(|step| step["guards"][0]["canary"]["requests"].as_u64().unwrap())
        .sum();
    assert_eq!(Some(sum), guard["canary"]["requests"].as_u64());
}

#[test]
fn before_any_traffic_there_is_no_chart_and_a_word_why() {
    let mut rollout = sample::taken_back(begin());
    rollout.weights.clear();
    rollout.minutes.clear();
    rollout.crossed = None;
    rollout.phase = Phase::Preparing;
    assert!(Chart::of(&rollout, "v12", begin()).is_none());
    let text = shown(&rollout).text(&rollout, None, Glyphs::Blocks, &screen(90));
    assert!(
        text.starts_with("v12 is on its way to fraud-prod"),
        "{text}"
    );
    assert!(text.contains("No traffic has reached it"), "{text}");
}

#[test]
fn a_canary_that_somebody_else_shifts_is_told_as_such_and_by_its_own_name() {
    let mut rollout = sample::taken_back(begin());
    rollout.candidate.version = tidegate_core::name::PackageVersion(0);
    rollout.canary = "blue".to_owned();
    rollout.observed = Some(tidegate_core::rollout::Observed {
        model: "fraud-blue".to_owned(),
        told_safe: false,
    });
    rollout.phase = Phase::Observing { over: None };
    let shown = shown(&rollout);
    assert!(
        shown.told.starts_with("The variant blue "),
        "{}",
        shown.told
    );
    assert!(
        shown
            .told
            .contains("would have been taken back at 2026-11-24 21:23 UTC"),
        "{}",
        shown.told
    );
    assert_eq!(
        (shown.rollout.version, shown.rollout.observed),
        (None, true)
    );
    assert_eq!(shown.rollout.phase, "observing");
}

#[test]
fn parts_of_the_axis_have_every_minute_once_or_show_the_minute_that_they_are_in() {
    let chart = chart(&sample::done(begin()));
    let all: u64 = chart.points.iter().map(|p| p.canary.requests).sum();
    for parts in [1, 2, 7, 33, 50] {
        let buckets = chart.buckets(parts);
        let sum: u64 = buckets.iter().map(|b| b.canary.requests).sum();
        assert_eq!(sum, all, "{parts} parts");
    }
    // Finer than a minute: no judged minute is a gap.
    let fine = chart.buckets(1_000);
    let first = fine.iter().position(|b| b.evidence.is_some()).unwrap();
    let last = fine.iter().rposition(|b| b.evidence.is_some()).unwrap();
    assert!(fine[first..=last].iter().all(|b| b.evidence.is_some()));
}

#[test]
fn a_rollout_of_days_is_drawn_from_the_minutes_that_are_kept() {
    let mut rollout = sample::done(begin());
    let late = begin() + SignedDuration::from_hours(50);
    let minute = |n: i64| JudgedMinute {
        at: late + SignedDuration::from_mins(n),
        weight: 25,
        guards: vec![Minute::from([900, 8, 300, 2]); 2],
        harm: f64::NAN,
    };
    rollout.minutes = (0..1_440).map(minute).collect();
    rollout.weights = vec![(begin() + SignedDuration::from_mins(6), 5), (late, 25)];
    rollout.ended = Some(late + SignedDuration::from_hours(24));
    rollout.past = None;
    let chart = chart(&rollout);
    assert_eq!(chart.from, late);
    assert_eq!(
        chart.bands,
        [Band {
            from: late,
            to: rollout.ended.unwrap(),
            label: "25 %".to_owned()
        }]
    );
    let svg = chart.svg();
    assert!(
        svg.len() < 200_000 && !svg.contains("NaN"),
        "{} bytes",
        svg.len()
    );
    assert!(!chart.terminal(&screen(80), Glyphs::Blocks).contains("NaN"));
}

#[test]
fn a_picture_is_well_formed_small_and_says_what_it_shows() {
    for rollout in [sample::taken_back(begin()), sample::done(begin())] {
        let svg = chart(&rollout).svg();
        check_xml(&svg);
        assert!(svg.len() < 200_000, "{} bytes", svg.len());
        for words in [
            "time (UTC)",
            "Share of traffic",
            "Model errors",
            "Evidence against",
            "takes it back",
            "1 in 100",
            "21:30",
        ] {
            assert!(svg.contains(words), "{words}: {svg}");
        }
    }
}

#[test]
fn names_in_a_picture_are_text_and_nothing_else() {
    let mut rollout = sample::taken_back(begin());
    rollout.endpoint = EndpointName::parse("fraud-prod").unwrap();
    let mut chart = chart(&rollout);
    chart.title = "<script>alert(\"1\")</script> & 'x'\u{1b}\u{0}\u{ffff}".to_owned();
    chart.guard = "a < b & c > d".to_owned();
    let svg = chart.svg();
    check_xml(&svg);
    assert!(!svg.contains("<script"), "{svg}");
    assert!(svg.contains("&lt;script&gt;"), "{svg}");
    assert!(
        svg.chars()
            .all(|c| c == '\n' || (!c.is_control() && c != '\u{ffff}'))
    );
}

#[test]
fn counts_of_any_size_and_none_can_be_drawn() {
    for counts in [
        [0, 0, 0, 0],
        [10, 0, 10, 0],
        [10, 10, 10, 10],
        [u64::MAX, u64::MAX, u64::MAX, 0],
    ] {
        let mut rollout = sample::taken_back(begin());
        for minute in &mut rollout.minutes {
            minute.guards = vec![Minute::from(counts); 2];
            minute.harm = f64::INFINITY;
        }
        let chart = chart(&rollout);
        check_xml(&chart.svg());
        let text = chart.terminal(&screen(80), Glyphs::Blocks);
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        assert!(!steps::text(&steps::of(&rollout), 0, &screen(80)).is_empty());
    }
    let none = Counts::default();
    assert_eq!(none.rate(), None);
}

/// Every element that is opened is closed, attributes are quoted, and no `&` or `<` is bare.
fn check_xml(svg: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = svg;
    while let Some(start) = rest.find('<') {
        check_text(&rest[..start]);
        let end = rest[start..].find('>').expect("an element ends") + start;
        let inside = &rest[start + 1..end];
        if let Some(name) = inside.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else {
            assert_eq!(inside.matches('"').count() % 2, 0, "{inside}");
            assert!(!inside.contains('<'), "{inside}");
            check_text(inside);
            let name = inside
                .split_whitespace()
                .next()
                .expect("an element has a name");
            if !inside.ends_with('/') {
                open.push(name);
            }
        }
        rest = &rest[end + 1..];
    }
    assert!(
        open.is_empty() && rest.trim().is_empty(),
        "{open:?} {rest:?}"
    );
}

fn check_text(text: &str) {
    for part in text.split('&').skip(1) {
        let entity = part.split_once(';').map(|(entity, _)| entity);
        assert!(
            matches!(entity, Some("amp" | "lt" | "gt" | "quot" | "#39")),
            "{text}"
        );
    }
}
