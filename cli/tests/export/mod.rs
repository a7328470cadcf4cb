//! The built `tidegate` exports trails, and a script with nothing of ours proves them.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::moto::Moto;

/// Runs a program; its exit code and what it said, errors last.
fn run(program: &Path, args: &[&str], moto: &Moto) -> (i32, String) {
    let output = Command::new(program)
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_clear()
        .envs(moto.environment())
        .env("TIDEGATE_TABLE", "tidegate")
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(said).unwrap(),
    )
}

/// A folder with exports, and the two programs.
struct Desk<'a> {
    moto: &'a Moto,
    folder: tempfile::TempDir,
}

/// Exports the trail of 1,202 entries that `rollouts` puts, whole and in parts, and forges it.
pub(crate) fn check(moto: &Moto) {
    let desk = Desk {
        moto,
        folder: tempfile::tempdir().unwrap(),
    };
    a_whole_trail_is_proven(&desk);
    a_part_is_proven_from_its_first_entry_on(&desk);
    every_kind_of_forgery_is_found(&desk);
}

impl Desk<'_> {
    fn tidegate(&self, args: &[&str]) -> (i32, String) {
        run(Path::new(env!("CARGO_BIN_EXE_tidegate")), args, self.moto)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The objects in a fresh export.
    fn export(&self, args: &[&str]) -> Vec<Value> {
        let path = self.path("export.jsonl").display().to_string();
        let (code, said) = self.tidegate(&[&["audit", "export", "--output", &path], args].concat());
        assert_eq!(code, 0, "{said}");
        let text = std::fs::read_to_string(path).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.collect()
    }

    /// What the script says of these lines.
    fn prove(&self, lines: &[Value], anchors: Option<&Value>) -> (i32, String) {
        let write = |name: &str, text: String| {
            let path = self.path(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let text: Vec<String> = lines.iter().map(Value::to_string).collect();
        let text = text.join("\n");
        let mut args = vec!["../docs/verify_audit.py".to_owned(), write("a.jsonl", text)];
        args.extend(anchors.map(|anchors| write("anchors.json", anchors.to_string())));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.venv/bin/python");
        run(&python, &args, self.moto)
    }
}

fn a_whole_trail_is_proven(desk: &Desk<'_>) {
    let lines = desk.export(&[]);
    assert_eq!(lines.len(), 1 + 1_202);
    assert_eq!(lines[0]["tip"]["n"], 1_202);
    let (code, said) = desk.prove(&lines, None);
    assert_eq!(
        (code, said.as_str()),
        (0, "fraud-detection: whole, entries 1 to 1202 of 1202\n")
    );

    // To standard output come the same lines, and nothing else.
    let (code, said) = desk.tidegate(&["audit", "export", "fraud"]);
    assert_eq!(code, 0);
    assert!(said.ends_with("1,202 entries of 1 group\n"), "{said}");
    assert_eq!(said.lines().count(), lines.len() + 1);

    let anchor = |hash: &Value| {
        let message = json!({ "level": "INFO", "message": "audit anchor", "group": "fraud-detection", "n": 900, "hash": hash });
        json!({ "events": [{ "timestamp": 1, "message": message.to_string() }] })
    };
    let (code, said) = desk.prove(&lines, Some(&anchor(&lines[900]["hash"])));
    assert_eq!(
        (code, said.contains("anchors compared: 1")),
        (0, true),
        "{said}"
    );
    let (code, said) = desk.prove(&lines, Some(&anchor(&lines[901]["hash"])));
    assert_eq!(
        (
            code,
            said.contains("entry 900 is not the one that was anchored")
        ),
        (1, true),
        "{said}"
    );
}

fn a_part_is_proven_from_its_first_entry_on(desk: &Desk<'_>) {
    let all = desk.export(&[]);
    let time = |line: &Value| {
        let body: Value = serde_json::from_str(line["body"].as_str().unwrap()).unwrap();
        body["at"].as_str().unwrap().to_owned()
    };
    let (from, to) = (time(&all[400]), time(&all[800]));
    let part = desk.export(&["--from", &from, "--to", &to]);
    assert!((2..all.len()).contains(&part.len()), "{}", part.len());
    assert!(
        part[1..]
            .iter()
            .all(|line| (&from..&to).contains(&&time(line)))
    );
    let (code, said) = desk.prove(&part, None);
    assert_eq!(code, 0, "{said}");

    let (code, said) = desk.tidegate(&["audit", "export", "--from", &to, "--to", &from]);
    assert_eq!(
        (code, said.contains("is not before --to")),
        (2, true),
        "{said}"
    );
    let (code, said) = desk.tidegate(&["audit", "export", "--output", "/nowhere/x"]);
    assert_eq!(
        (code, said.contains("can't be written")),
        (2, true),
        "{said}"
    );
}

fn every_kind_of_forgery_is_found(desk: &Desk<'_>) {
    let lines = desk.export(&[]);
    let forged = |forge: &dyn Fn(&mut Vec<Value>)| {
        let mut lines = lines.clone();
        forge(&mut lines);
        desk.prove(&lines, None)
    };
    let changed = |lines: &mut Vec<Value>| {
        let body = lines[700]["body"]
            .as_str()
            .unwrap()
            .replace("tidegate", "somebody");
        lines[700]["body"] = body.into();
    };
    for (what, (code, said)) in [
        ("entry 700 was changed", forged(&changed)),
        (
            "entry 700 is missing",
            forged(&|lines| drop(lines.remove(700))),
        ),
        (
            "should end with 1202",
            forged(&|lines| lines.truncate(1_000)),
        ),
        (
            "begins with entry 2",
            forged(&|lines| drop(lines.remove(1))),
        ),
        (
            "another hash for entry 1202",
            forged(&|lines| lines[0]["tip"]["hash"] = "0".repeat(64).into()),
        ),
        ("entry 5 is missing", forged(&|lines| lines.swap(5, 6))),
    ] {
        assert_eq!((code, said.contains(what)), (1, true), "{what}: {said}");
    }
}
