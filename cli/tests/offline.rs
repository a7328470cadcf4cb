//! The built `tidegate` without an AWS account: help, schema, checks, and what it reads in events.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The command with nothing in its environment that could change its answer.
fn tidegate(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_clear()
        .stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    tidegate(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// All that a command says, and its exit code.
fn transcript(args: &[&str]) -> String {
    let output = run(args);
    let err = text(&output.stderr);
    let err = if err.is_empty() {
        err
    } else {
        format!("--- stderr\n{err}")
    };
    format!(
        "$ tidegate {}\n{}{err}--- exit {}\n",
        args.join(" "),
        text(&output.stdout),
        code(&output)
    )
}

#[test]
fn help_teaches_every_command() {
    let commands: [&[&str]; 11] = [
        &["--help"],
        &["apply", "--help"],
        &["status", "--help"],
        &["history", "--help"],
        &["audit", "--help"],
        &["audit", "verify", "--help"],
        &["audit", "show", "--help"],
        &["explain", "--help"],
        &["schema", "--help"],
        &["completions", "--help"],
        &["help", "apply"],
    ];
    let all: Vec<String> = commands.iter().map(|args| transcript(args)).collect();
    let all = all.join("\n");
    assert!(
        all.lines().all(|line| line.chars().count() <= 100),
        "help is wider than 100 columns"
    );
    insta::assert_snapshot!(all);
}

#[test]
fn the_documentation_names_every_command_and_option() {
    let doc = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md"))
        .unwrap();
    for command in [
        "apply",
        "status",
        "history",
        "audit verify",
        "audit show",
        "explain",
        "schema",
        "completions",
    ] {
        assert!(
            doc.contains(&format!("## tidegate {command}")),
            "docs/cli.md lacks {command}"
        );
        let mut args: Vec<&str> = command.split(' ').collect();
        args.push("--help");
        let help = text(&run(&args).stdout);
        for word in help
            .split_whitespace()
            .filter(|word| word.starts_with("--"))
        {
            let option = word.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '-');
            // `--query` and `--output` are the AWS CLI's, in an example.
            if !["--query", "--output", "--format"].contains(&option) {
                assert!(
                    doc.contains(option),
                    "docs/cli.md lacks {option} of {command}"
                );
            }
        }
    }
}

#[test]
fn the_schema_is_what_editors_are_given() {
    let output = run(&["schema"]);
    assert_eq!(code(&output), 0);
    let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.stdout, run(&["schema", "--json"]).stdout);
    insta::assert_json_snapshot!(schema);
}

#[test]
fn a_valid_policy_passes_the_check() {
    let answer = transcript(&["apply", "--check", "tests/policies/valid.toml"]);
    insta::assert_snapshot!(answer, @r"
    $ tidegate apply --check tests/policies/valid.toml
    tests/policies/valid.toml: valid, pipeline fraud
    --- exit 0
    ");
}

#[test]
fn the_examples_that_come_with_tidegate_are_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/pipelines");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .map(|path| path.display().to_string())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let answer = transcript(&["apply", "--check", &file]);
        assert!(answer.ends_with("--- exit 0\n"), "{answer}");
    }
}

#[test]
fn all_mistakes_of_all_files_are_listed_and_nothing_is_applied() {
    let files = [
        "tests/policies/mistakes.toml",
        "tests/policies/valid.toml",
        "tests/policies/syntax.toml",
    ];
    // No table is named: a mistake is told before one is asked for.
    insta::assert_snapshot!(transcript(&[&["apply"], &files[..]].concat()));
}

#[test]
fn mistakes_in_json_have_their_place() {
    let output = run(&["apply", "--check", "--json", "tests/policies/mistakes.toml"]);
    assert_eq!(code(&output), 1);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let policy = &answer["policies"][0];
    assert_eq!(
        (&answer["check"], &policy["state"]),
        (&true.into(), &"invalid".into())
    );
    let mistakes = policy["mistakes"].as_array().unwrap();
    let misspelt = mistakes
        .iter()
        .find(|m| m["key"] == "stage[0].bake_minuts")
        .unwrap();
    assert_eq!(misspelt["line"], 9);
    assert!(
        misspelt["message"]
            .as_str()
            .unwrap()
            .contains("bake_minutes"),
        "{misspelt}"
    );
    assert_eq!(output.stderr, b"");
}

#[test]
fn a_file_that_can_not_be_read_is_a_wrong_command_line() {
    let output = run(&[
        "apply",
        "--check",
        "tests/policies/valid.toml",
        "no-such.toml",
    ]);
    assert_eq!(code(&output), 2);
    assert!(text(&output.stdout).contains("valid.toml: valid"));
    assert!(
        text(&output.stderr).contains("at: no-such.toml\n"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn every_fixture_is_explained_offline() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/core/fixtures/events");
    let mut names: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.retain(|name| Path::new(name).extension().is_some_and(|e| e == "json"));
    names.sort();
    assert!(names.len() >= 6);
    let mut all = String::new();
    for name in names {
        let output = run(&["explain", "--offline", folder.join(&name).to_str().unwrap()]);
        assert_eq!(
            (code(&output), text(&output.stderr)),
            (0, String::new()),
            "{name}"
        );
        let note = "Only read, as asked: without --offline it is said what would be done.\n";
        let reads = text(&output.stdout);
        let reads = reads.strip_suffix(note).unwrap();
        let _ = writeln!(all, "{name}\n{reads}");
    }
    insta::assert_snapshot!(all);
}

#[test]
fn without_a_table_an_event_is_read_and_it_is_said_what_is_missing() {
    let mut child = tidegate(&["explain", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let event = include_bytes!("../../shared/core/fixtures/events/training-job-state-change.json");
    child.stdin.take().unwrap().write_all(event).unwrap();
    let output = child.wait_with_output().unwrap();
    let out = text(&output.stdout);
    assert_eq!(code(&output), 0);
    assert!(out.starts_with("Training job "), "{out}");
    assert!(
        out.contains("no ledger table is named") && out.contains("TIDEGATE_TABLE"),
        "{out}"
    );
}

#[test]
fn an_explanation_in_json_has_the_same_fields_offline() {
    let event = "../shared/core/fixtures/events/model-package-state-change.json";
    let output = run(&["explain", "--json", "--offline", event]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let fields: Vec<&String> = answer.as_object().unwrap().keys().collect();
    let known = [
        "event",
        "group",
        "nothing_because",
        "offline",
        "reads",
        "would_do",
        "would_say",
    ];
    assert_eq!(fields, known);
    assert_eq!(answer["event"]["kind"]["kind"], "package");
}

#[test]
fn what_is_no_event_is_said_to_be_none() {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("empty", Vec::new()),
        ("not-json", b"hello".to_vec()),
        ("a-list", b"[]".to_vec()),
        ("nothing-in-it", b"{}".to_vec()),
        ("deep", b"[".repeat(256 * 1024)),
        ("long", vec![b' '; 3 << 20]),
        ("bytes", vec![0xff, 0xfe, 0]),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let output = run(&["explain", "--offline", path.to_str().unwrap()]);
        let err = text(&output.stderr);
        assert_eq!(code(&output), 1, "{name}: {err}");
        assert!(
            err.starts_with("error: this can't be read as an event\n  why: "),
            "{name}: {err}"
        );
        assert!(err.len() < 1_000, "{name} is told at length");
        assert_eq!(output.stdout, b"", "{name}");
    }
    let output = run(&["explain", "--offline", "no-such.json"]);
    assert_eq!(code(&output), 2);
}

#[test]
fn without_a_table_it_is_said_how_to_name_one() {
    for args in [
        &["status"][..],
        &["history", "g"],
        &["audit", "verify"],
        &["apply", "tests/policies/valid.toml"],
    ] {
        let output = run(args);
        assert_eq!(code(&output), 2, "{args:?}");
        let err = text(&output.stderr);
        assert!(
            err.contains("TIDEGATE_TABLE") && err.contains("LedgerTable"),
            "{args:?}: {err}"
        );
    }
    let output = run(&["status", "--json"]);
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["error"]["kind"], "usage");
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    for args in [
        &["stauts"][..],
        &[],
        &["history"],
        &["history", "g", "--limit", "0"],
        &["audit", "show", "g", "0"],
        &["apply", "x.toml", "--commit", "main"],
    ] {
        assert_eq!(code(&run(args)), 2, "{args:?}");
    }
}

#[test]
fn completions_are_written_for_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = run(&["completions", shell]);
        assert_eq!(code(&output), 0);
        assert!(text(&output.stdout).contains("verify"), "{shell}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = tidegate(&["schema"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), text(&output.stderr)), (0, String::new()));
}

#[test]
fn nothing_is_coloured_when_it_is_not_read_on_a_terminal() {
    for args in [
        &["--help"][..],
        &["apply", "--check", "tests/policies/mistakes.toml"],
    ] {
        assert!(!run(args).stdout.contains(&0x1b), "{args:?}");
    }
}
