//! The mutation proof: each deliberate bug is put into core, and stories are told until an
//! invariant breaks. A bug that survives means that a promise is not really checked.

use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tidegate_core::mutation::Mutation;

use crate::invariant::Invariant;
use crate::run::tell;
use crate::story::Story;

/// What became of a deliberate bug.
#[derive(Debug, Clone)]
pub struct Caught {
    /// The bug.
    pub bug: Mutation,
    /// The invariant that broke first, and after how many stories.
    pub by: Option<(Invariant, u64)>,
}

/// Puts in each bug, or the one of the name `only`, and tells stories from the seed `first` on, `seeds` at most.
pub fn prove(first: u64, seeds: u64, only: Option<&str>) -> Vec<Caught> {
    let is_asked = |bug: &&Mutation| only.is_none_or(|name| format!("{bug:?}") == name);
    let bugs: Vec<Mutation> = Mutation::ALL.iter().filter(is_asked).copied().collect();
    let next = AtomicUsize::new(0);
    let all = Mutex::new(Vec::new());
    let work = || {
        while let Some(bug) = bugs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let caught = hunt(*bug, first, seeds);
            eprintln!("{bug:?}: {:?}", caught.by);
            if let Ok(mut all) = all.lock() {
                all.push(caught);
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let mut all = all.into_inner().unwrap_or_default();
    all.sort_by_key(|c| Mutation::ALL.iter().position(|m| *m == c.bug));
    all
}

fn hunt(bug: Mutation, first: u64, seeds: u64) -> Caught {
    Mutation::put_in(Some(bug));
    let found = (0..seeds).find_map(|n| {
        let told = tell(&Story::of_seed(first + n));
        told.broken.map(|broken| (broken.invariant, n + 1))
    });
    Mutation::put_in(None);
    Caught { bug, by: found }
}

/// The table, as Markdown.
pub fn table(caught: &[Caught], seeds: u64) -> String {
    let mut text = String::from("| deliberate bug | caught by | after seeds |\n|---|---|---|\n");
    for one in caught {
        let (by, after) = match one.by {
            Some((invariant, after)) => (invariant.word(), after.to_string()),
            None => ("**nothing**", format!("{seeds} and more")),
        };
        let _ = writeln!(text, "| {} | {by} | {after} |", one.bug.says());
    }
    let survivors = caught.iter().filter(|c| c.by.is_none()).count();
    let _ = writeln!(
        text,
        "\n{} deliberate bugs, {survivors} survive",
        caught.len()
    );
    text
}
