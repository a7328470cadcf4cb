//! Who applies a policy and which Git commit it is from, for the audit trail.
//!
//! In CI the variables of GitHub and GitLab say; elsewhere Git does, and only for a file that is
//! committed as it is: a commit that does not hold the policy would be a false trail.

use std::path::Path;
use std::process::{Command, Stdio};

/// Who runs this command, as far as the environment says.
pub(crate) fn who() -> String {
    first_of(&[
        "GITHUB_ACTOR",
        "GITLAB_USER_LOGIN",
        "USER",
        "LOGNAME",
        "USERNAME",
    ])
    .unwrap_or_else(|| "unknown".to_owned())
}

/// The commit that `file` is from, if that can be told.
pub(crate) fn of(file: &Path) -> Option<String> {
    first_of(&["GITHUB_SHA", "CI_COMMIT_SHA"]).or_else(|| committed(file))
}

fn first_of(names: &[&str]) -> Option<String> {
    let value = names
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|v| !v.trim().is_empty()));
    // Bounded: it is kept for ever.
    value.map(|v| v.trim().chars().take(128).collect())
}

fn committed(file: &Path) -> Option<String> {
    // A link is followed: its target is what is read.
    let file = file.canonicalize().ok()?;
    let (folder, name) = (file.parent()?, file.file_name()?);
    let git = |args: &[&str], with_file: bool| {
        let mut command = Command::new("git");
        command
            .arg("-C")
            .arg(folder)
            .args(args)
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        if with_file {
            command.arg("--").arg(name);
        }
        let output = command.output().ok().filter(|o| o.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    git(&["ls-files", "--error-unmatch"], true)?;
    let changes = git(&["status", "--porcelain"], true)?;
    if !changes.is_empty() {
        return None;
    }
    git(&["rev-parse", "--verify", "HEAD"], false).filter(|sha| !sha.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_commit_is_told_only_of_a_file_that_is_committed_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        let git = |args: &[&str]| {
            let author = [
                "-c",
                "user.name=a",
                "-c",
                "user.email=a@example.com",
                "-c",
                "commit.gpgsign=false",
            ];
            let status = Command::new("git")
                .arg("-C")
                .arg(folder.path())
                .args(author)
                .args(args)
                .status();
            assert!(status.unwrap().success(), "git {args:?}");
        };
        std::fs::write(&file, "a").unwrap();
        assert_eq!(committed(&file), None, "no repository");
        git(&["init", "-q"]);
        assert_eq!(committed(&file), None, "not added");
        git(&["add", "a.toml"]);
        assert_eq!(committed(&file), None, "no commit");
        git(&["commit", "-q", "-m", "a"]);
        let sha = committed(&file).unwrap();
        assert!(
            sha.len() == 40 && sha.bytes().all(|b| b.is_ascii_hexdigit()),
            "{sha}"
        );
        std::fs::write(folder.path().join("b.toml"), "b").unwrap();
        assert_eq!(committed(&file), Some(sha), "another file doesn't matter");
        std::fs::write(&file, "b").unwrap();
        assert_eq!(committed(&file), None, "changed");
    }
}
