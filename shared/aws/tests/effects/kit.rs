//! The kit: what is proven of each effect, and the table of it.
//!
//! What an effect did is compared with what it does when done once, names aside, and includes how
//! many calls took effect.

use std::fmt::Write as _;
use std::time::Duration;

use tidegate_core::world::{Effect, Outcome, World, WorldError, WorldErrorKind};

use crate::bench::Bench;
use crate::cases::{Case, Kind};
use crate::monitors;

/// How often a call that was told to wait is tried again.
const TRIES: usize = 5;
/// Where a crash cuts an effect off, milliseconds after its start.
const CRASHES: [u64; 4] = [0, 3, 8, 20];

const COLUMNS: [&str; 7] = [
    "acts",
    "twice",
    "crash",
    "half",
    "other did",
    "at once",
    "taken",
];

/// What came of the situations of one effect.
pub(crate) struct Proof {
    kind: Kind,
    cells: Vec<(&'static str, Cell)>,
}

/// A word for the table, or what does not hold; none if the effect can't be in the situation.
type Cell = Option<Result<String, String>>;

impl Proof {
    /// What does not hold, a line each.
    pub(crate) fn failures(&self) -> Vec<String> {
        let failed = |(situation, cell): &(&str, Cell)| {
            let why = cell.as_ref()?.as_ref().err()?;
            Some(format!("{:?}, {situation}: {why}", self.kind))
        };
        self.cells.iter().filter_map(failed).collect()
    }
}

/// The proofs as a table; a situation that an effect can't be in is a dash.
pub(crate) fn table(proofs: &[Proof]) -> String {
    let mut text = format!("{:<22}", "effect");
    for column in COLUMNS.iter().chain(&["undo twice", "undo never"]) {
        let _ = write!(text, "{column:<12}");
    }
    for proof in proofs {
        let _ = write!(text, "\n{:<22}", format!("{:?}", proof.kind));
        for (_, cell) in &proof.cells {
            let word = match cell {
                None => "-",
                Some(Ok(word)) => word,
                Some(Err(_)) => "FAILED",
            };
            let _ = write!(text, "{word:<12}");
        }
    }
    text
}

/// Proves one effect in every situation, each with names of its own.
pub(crate) async fn prove(bench: &Bench, kind: Kind) -> Proof {
    let case = Case::prepare(bench, kind).await;
    let before = case.look(bench).await;
    done(bench, &case.effect).await.unwrap();
    let once = case.look(bench).await;
    let acts = if before == once {
        Err(format!("it is not seen in {once}"))
    } else {
        Ok(ok())
    };
    let mut cells = vec![("acts", Some(acts))];
    let changes = case.changes(bench);
    let again = done(bench, &case.effect).await;
    let mut twice = same(bench, &case, &once, again).await;
    if twice.is_ok() && case.changes(bench) != changes {
        twice = Err("a call that changes nothing was sent".to_owned());
    }
    cells.push(("twice", Some(twice)));
    cells.push(("crash", Some(crashed(bench, kind, &once).await)));

    let case = Case::prepare(bench, kind).await;
    let half = case.half_happens(bench).await;
    cells.push(("half", redone(bench, &case, &once, half).await));
    let case = Case::prepare(bench, kind).await;
    let did = case.somebody_does_it(bench).await;
    cells.push(("other did", redone(bench, &case, &once, did).await));

    let case = Case::prepare(bench, kind).await;
    let (left, right) = tokio::join!(done(bench, &case.effect), done(bench, &case.effect));
    let both = left.and(right);
    cells.push(("at once", Some(same(bench, &case, &once, both).await)));
    cells.push(("taken", taken(bench, kind).await));
    cells.push(("undo twice", undone(bench, kind, true).await));
    cells.push(("undo never", undone(bench, kind, false).await));
    Proof { kind, cells }
}

/// Does an effect, again while it is told to wait, as the engine does.
async fn done(bench: &Bench, effect: &Effect) -> Result<Outcome, WorldError> {
    let mut last = bench.world.perform(effect).await;
    for _ in 1..TRIES {
        if !last.as_ref().is_err_and(WorldError::is_passing) {
            break;
        }
        if monitors::is_of_schedule(effect) {
            // Pending for some seconds.
            bench.minutes_pass(1);
        }
        last = bench.world.perform(effect).await;
    }
    last
}

async fn same(
    bench: &Bench,
    case: &Case,
    once: &str,
    outcome: Result<Outcome, WorldError>,
) -> Result<String, String> {
    outcome.map_err(|error| error.to_string())?;
    let now = case.look(bench).await;
    if now == once {
        return Ok(ok());
    }
    Err(format!(
        "done once gives\n  {once}\nbut here it is\n  {now}"
    ))
}

async fn redone(bench: &Bench, case: &Case, once: &str, applies: bool) -> Cell {
    if !applies {
        return None;
    }
    let outcome = done(bench, &case.effect).await;
    Some(same(bench, case, once, outcome).await)
}

/// Cut off at several places, then done again.
async fn crashed(bench: &Bench, kind: Kind, once: &str) -> Result<String, String> {
    for after in CRASHES {
        let case = Case::prepare(bench, kind).await;
        let cut = Duration::from_millis(after);
        let _ = tokio::time::timeout(cut, bench.world.perform(&case.effect)).await;
        let outcome = done(bench, &case.effect).await;
        same(bench, &case, once, outcome)
            .await
            .map_err(|why| format!("cut off after {after} ms: {why}"))?;
    }
    Ok(ok())
}

fn ok() -> String {
    "ok".to_owned()
}

/// Something else has the name: an error, and what is there stays as it is.
async fn taken(bench: &Bench, kind: Kind) -> Cell {
    let case = Case::prepare(bench, kind).await;
    let effect = case.something_else_is_there(bench).await?;
    let before = case.look(bench).await;
    let outcome = bench.world.perform(&effect).await;
    let after = case.look(bench).await;
    Some(match outcome {
        Ok(outcome) => Err(format!("it was not refused: {outcome:?}")),
        Err(_) if before != after => Err(format!("overwritten:\n  {before}\n  {after}")),
        Err(error) if error.message.is_empty() => Err("the refusal does not say why".to_owned()),
        Err(error) => match error.kind {
            WorldErrorKind::Refused | WorldErrorKind::Gone => Ok(format!("{:?}", error.kind)),
            // Somebody's deployment ends, and then the decision is made anew.
            WorldErrorKind::NotNow if matches!(kind, Kind::UpdateEndpoint | Kind::ShiftWeights) => {
                Ok("NotNow".to_owned())
            }
            _ => Err(format!("no refusal but {error}")),
        },
    })
}

/// Undone twice, after it was done or without: no error, and all is as before.
async fn undone(bench: &Bench, kind: Kind, did: bool) -> Cell {
    let case = Case::prepare(bench, kind).await;
    let undo = case.undo()?;
    let state = |look: String| look.split(crate::look::LASTING).next().map(str::to_owned);
    let before = state(case.look(bench).await);
    if did {
        done(bench, &case.effect).await.unwrap();
        case.settles(bench);
    }
    let mut looks = Vec::new();
    for _ in 0..2 {
        if let Err(error) = done(bench, &undo).await {
            return Some(Err(error.to_string()));
        }
        looks.push((case.look(bench).await, case.changes(bench)));
    }
    case.settles(bench);
    let after = state(case.look(bench).await);
    Some(if looks[0] != looks[1] {
        Err(format!("the second undo did something: {looks:?}"))
    } else if before != after {
        Err(format!("not as before:\n  {before:?}\n  {after:?}"))
    } else {
        Ok(ok())
    })
}
