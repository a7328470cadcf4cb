//! `world-guard PROGRAM [ARGUMENT...]`: runs a program and ends with it everything that it started.
//!
//! Its standard input is a pipe from whoever started it. When that closes, because the other has
//! ended in whatever way, the program is told to stop (SIGTERM), and what is left after a grace is
//! killed. Orphans of the program become the guard's children (`PR_SET_CHILD_SUBREAPER`, prctl(2)),
//! so none is lost. Sessions of their own, as cargo-lambda gives its functions, don't escape it.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid,
};

/// How long a program has between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(20);

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(why) => {
            eprintln!("world-guard: {why}");
            ExitCode::from(125)
        }
    }
}

fn run() -> Result<ExitCode, String> {
    let mut words = env::args_os().skip(1);
    let program = words
        .next()
        .ok_or("which program? world-guard PROGRAM [ARGUMENT...]")?;
    set_child_subreaper(Some(getpid()))
        .map_err(|error| format!("PR_SET_CHILD_SUBREAPER: {error}"))?;
    let mut child = Command::new(&program)
        .args(words)
        .stdin(Stdio::null())
        .spawn()
        .map_err(|error| format!("{} can't be started: {error}", program.display()))?;

    let (closed, is_closed) = mpsc::channel();
    thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut buffer = [0; 64];
        while matches!(stdin.read(&mut buffer), Ok(1..)) {}
        let _ = closed.send(());
    });
    let code = loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            break u8::try_from(status.code().unwrap_or(1)).unwrap_or(1);
        }
        if is_closed.recv_timeout(LOOK_EVERY) == Ok(()) {
            break 0;
        }
    };
    end_all(&mut child);
    Ok(ExitCode::from(code))
}

/// Ends all descendants, politely first.
fn end_all(child: &mut Child) {
    let start = Instant::now();
    let mut told = BTreeSet::new();
    loop {
        reap(child);
        let left = descendants();
        if left.is_empty() {
            // Those that ended since.
            reap(child);
            return;
        }
        let signal = if start.elapsed() < GRACE {
            Signal::TERM
        } else {
            Signal::KILL
        };
        for pid in left {
            let is_due = signal == Signal::KILL || told.insert(pid);
            if let Some(pid) = Pid::from_raw(pid).filter(|_| is_due) {
                // It may have ended meanwhile.
                let _ = kill_process(pid, signal);
            }
        }
        // Not even SIGKILL ends a process that hangs in the kernel; the guard must not wait for ever.
        if start.elapsed() > 2 * GRACE {
            return;
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Takes the exit codes of the child and of adopted orphans, which would stay as zombies.
fn reap(child: &mut Child) {
    if matches!(child.try_wait(), Ok(Some(_)) | Err(_)) {
        while let Ok(Some(_)) = waitpid(None, WaitOptions::NOHANG) {}
    }
}

/// All processes whose parent's parent's ... parent is this one.
fn descendants() -> Vec<i32> {
    let parents: Vec<(i32, i32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(|pid| Some((pid, parent_of(pid)?)))
        .collect();
    let me = i32::try_from(process::id()).unwrap_or(0);
    let mut found = vec![me];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        found.extend(
            parents
                .iter()
                .filter(|(_, of)| *of == parent)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    found.split_off(1)
}

/// The parent in `/proc/PID/stat`, unless the process is a zombie: `pid (name) state parent ...`,
/// where the name may hold anything.
fn parent_of(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.next()?.parse().ok()
}
