//! A version's origin as a graph in Graphviz's language ("The DOT Language").

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::version::Version;

/// The graph: an arrow goes from what something is made of to what is made of it.
pub(super) fn graph(versions: &[Version]) -> String {
    let mut lines = BTreeSet::new();
    for version in versions {
        let package = node(&mut lines, "component", &version.name());
        let mut comes_from = |shape: &str, text: &str| {
            let from = node(&mut lines, shape, text);
            lines.insert(format!("{from} -> {package};"));
        };
        if let Some(image) = &version.model.image {
            comes_from("box3d", image);
        }
        for artifact in &version.model.artifacts {
            comes_from("cylinder", artifact);
        }
        if let Some(parent) = version.parent {
            comes_from("component", &format!("{} {parent}", version.group));
        }
        if let Some(training) = &version.training {
            comes_from("box", &training.job);
            let job = quoted(&training.job);
            for data in training.data.values() {
                let text = match &data.version {
                    Some(version) => format!("{}\n{version}", data.uri),
                    None => data.uri.clone(),
                };
                let from = node(&mut lines, "cylinder", &text);
                lines.insert(format!("{from} -> {job};"));
            }
            if let Some(commit) = &version.code.commit {
                let of = version.code.repository.as_deref().unwrap_or_default();
                let from = node(&mut lines, "note", format!("{of}\n{commit}").trim());
                lines.insert(format!("{from} -> {job};"));
            }
        }
        for went in &version.rollouts {
            let to = node(&mut lines, "house", &went.endpoint);
            let label = quoted(&went.phase.replace('_', " "));
            lines.insert(format!("{package} -> {to} [label={label}];"));
        }
    }
    let mut out = "digraph lineage {\n  rankdir=LR;\n".to_owned();
    for line in lines {
        let _ = writeln!(out, "  {line}");
    }
    out + "}\n"
}

fn node(lines: &mut BTreeSet<String>, shape: &str, text: &str) -> String {
    let name = quoted(text);
    lines.insert(format!("{name} [shape={shape}];"));
    name
}

/// A quoted string; only quotes and backslashes mean something in it.
fn quoted(text: &str) -> String {
    let escaped = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn names_can_not_break_out_of_their_quotes() {
        assert_eq!(quoted("a\"b\\\n"), "\"a\\\"b\\\\\\n\"");
    }
}
