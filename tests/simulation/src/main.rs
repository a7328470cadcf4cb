//! `simulate`: tells stories by their seeds, and cuts down and prints the first that breaks an
//! invariant.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use clap::Parser;
use tidegate_simulation::report::Report;
use tidegate_simulation::run::{tell, tell_aloud};
use tidegate_simulation::shrink::shrink;
use tidegate_simulation::story::Story;

/// Runs all of Tidegate's decisions under faults, on a virtual clock, and checks its promises.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// How many stories.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Begins no story after so many seconds.
    #[arg(long)]
    seconds: Option<u64>,
    /// Tells this one alone, and prints its log.
    #[arg(long)]
    seed: Option<u64>,
    /// With --seed: without faults of delivery and calls.
    #[arg(long)]
    calm: bool,
    /// Goes on after a story that breaks an invariant, and prints them all without cutting down.
    #[arg(long)]
    all: bool,
    /// Puts each deliberate bug into core in turn, and tells stories until one notices.
    #[cfg(feature = "mutations")]
    #[arg(long)]
    mutations: bool,
    /// With --mutations: this bug alone, by its name in `mutation.rs`.
    #[cfg(feature = "mutations")]
    #[arg(long)]
    bug: Option<String>,
    /// Where the report goes.
    #[arg(long, default_value = "target/simulate/report.json")]
    report: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    #[cfg(feature = "mutations")]
    if args.mutations {
        std::panic::set_hook(Box::new(|_| {}));
        return mutations(&args);
    }
    // A panic is a finding like any other: it is told with its story.
    std::panic::set_hook(Box::new(|_| {}));
    if let Some(seed) = args.seed {
        return one(seed, args.calm);
    }
    many(&args)
}

/// Prints the table of deliberate bugs; fails if one survives.
#[cfg(feature = "mutations")]
fn mutations(args: &Args) -> ExitCode {
    let caught = tidegate_simulation::mutations::prove(args.first, args.seeds, args.bug.as_deref());
    print!(
        "{}",
        tidegate_simulation::mutations::table(&caught, args.seeds)
    );
    if caught.iter().all(|c| c.by.is_some()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn one(seed: u64, is_calm: bool) -> ExitCode {
    let mut story = Story::of_seed(seed);
    if is_calm {
        story = story.without_weather();
    }
    let told = tell_aloud(&story);
    for line in &told.log {
        println!("{line}");
    }
    if told.broken.is_none() {
        println!("seed {seed} keeps every promise");
        return ExitCode::SUCCESS;
    }
    explain(seed, &story);
    ExitCode::FAILURE
}

/// Cuts a story down and prints it.
fn explain(seed: u64, story: &Story) {
    let Some(broken) = tell(story).broken else {
        return;
    };
    println!(
        "\nseed {seed} breaks {} ({})",
        broken.invariant.word(),
        broken.invariant.says()
    );
    let (smaller, tellings) = shrink(story, broken.invariant);
    println!(
        "cut down from {} acts to {} in {tellings} tellings:\n",
        story.acts.len(),
        smaller.acts.len()
    );
    let told = tell_aloud(&smaller);
    for plan in &smaller.plans {
        let acts = smaller.acts.iter().filter(|a| a.plan == plan.index).count();
        if acts > 0 {
            println!("{plan:?}");
        }
    }
    for line in &told.log {
        println!("{line}");
    }
    if let Some(broken) = told.broken {
        println!(
            "{} BREAKS {}: {}",
            broken.at,
            broken.invariant.word(),
            broken.what
        );
    }
    println!("\nagain: make simulate SEED={seed}");
}

fn many(args: &Args) -> ExitCode {
    let begun = Instant::now();
    let next = AtomicU64::new(args.first);
    let end = args.first.saturating_add(args.seeds);
    let stop = AtomicU64::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let mut report = Report::default();
        while stop.load(Ordering::Relaxed) == 0 {
            let is_late = args.seconds.is_some_and(|s| begun.elapsed().as_secs() >= s);
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end || is_late {
                break;
            }
            let told = tell(&Story::of_seed(seed));
            if told.broken.is_some() && !args.all {
                stop.store(1, Ordering::Relaxed);
            }
            report.add(seed, &told);
        }
        report
    };
    let mut report = Report::default();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            if let Ok(part) = worker.join() {
                report.merge(part);
            }
        }
    });
    let seconds = begun.elapsed().as_secs_f64();
    print!("{}", report.text(seconds));
    let json = report.json((args.first, args.seeds), seconds);
    if let Some(folder) = args.report.parent() {
        let _ = std::fs::create_dir_all(folder);
    }
    if let Err(error) = std::fs::write(&args.report, format!("{json:#}\n")) {
        eprintln!("{} can't be written: {error}", args.report.display());
    }
    match report.broken.first() {
        None => ExitCode::SUCCESS,
        Some((seed, _)) => {
            if !args.all {
                explain(*seed, &Story::of_seed(*seed));
            }
            ExitCode::FAILURE
        }
    }
}
