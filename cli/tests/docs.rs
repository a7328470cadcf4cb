//! What docs/canary.md shows of `tidegate canary judge` is what it prints.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

/// The first fenced block of that language.
fn block<'a>(doc: &'a str, language: &str) -> &'a str {
    let (_, rest) = doc.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```\n").unwrap().0
}

#[test]
fn the_example_in_the_documentation_is_judged_as_it_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/canary.md");
    let doc = std::fs::read_to_string(path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("example.json");
    std::fs::write(&file, block(&doc, "json")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["canary", "judge"])
        .arg(&file)
        .env_clear()
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        block(&doc, "text"),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
