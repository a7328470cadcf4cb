//! What a role's policies say of an action on a resource.
//!
//! Sources: "IAM JSON policy elements reference" and "Policy evaluation logic" in the IAM user
//! guide: a denial goes before all; `*` stands for any characters, `?` for one; actions have no case.

use serde_json::Value;

/// The policies that an evaluation rests on, as JSON.
pub(crate) struct Policies {
    /// The role's own.
    pub(crate) own: Vec<Value>,
    /// Its permissions boundary.
    pub(crate) boundary: Option<Value>,
}

/// What is decided, the more restrictive the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Decision {
    Allowed,
    ImplicitDeny,
    ExplicitDeny,
}

/// A decision and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Evaluated {
    pub(crate) decision: Decision,
    /// Keys of the conditions of statements that would count.
    pub(crate) missing: Vec<String>,
    /// Whether the boundary allows it, if there is one.
    pub(crate) boundary: Option<bool>,
}

impl Decision {
    /// As the API spells it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::ImplicitDeny => "implicitDeny",
            Self::ExplicitDeny => "explicitDeny",
        }
    }
}

impl Policies {
    /// What they say of an action on a resource.
    pub(crate) fn evaluate(&self, action: &str, resource: &str) -> Evaluated {
        let mut missing = Vec::new();
        let own = decide(&self.own, action, resource, &mut missing);
        let boundary = self.boundary.as_ref().map(|boundary| {
            let boundary = std::slice::from_ref(boundary);
            decide(boundary, action, resource, &mut missing)
        });
        missing.sort_unstable();
        missing.dedup();
        Evaluated {
            decision: boundary.map_or(own, |boundary| own.max(boundary)),
            missing,
            boundary: boundary.map(|boundary| boundary == Decision::Allowed),
        }
    }
}

fn decide(
    documents: &[Value],
    action: &str,
    resource: &str,
    missing: &mut Vec<String>,
) -> Decision {
    let mut decision = Decision::ImplicitDeny;
    for statement in documents
        .iter()
        .flat_map(|document| all(&document["Statement"]))
    {
        let counts = fits(statement, "Action", |pattern| {
            matches(&pattern.to_lowercase(), &action.to_lowercase())
        }) && fits(statement, "Resource", |pattern| matches(pattern, resource));
        if !counts {
            continue;
        }
        let conditions = statement["Condition"].as_object();
        if let Some(conditions) = conditions.filter(|conditions| !conditions.is_empty()) {
            let keys = conditions.values().filter_map(Value::as_object);
            missing.extend(keys.flat_map(|keys| keys.keys().cloned()));
        } else if statement["Effect"] == "Deny" {
            return Decision::ExplicitDeny;
        } else {
            decision = Decision::Allowed;
        }
    }
    decision
}

/// Whether a statement's element, or the absence of its `Not`, takes something in.
fn fits(statement: &Value, element: &str, is_it: impl Fn(&str) -> bool) -> bool {
    let any = |patterns: &Value| all(patterns).iter().filter_map(Value::as_str).any(&is_it);
    match (
        statement.get(element),
        statement.get(format!("Not{element}")),
    ) {
        (Some(patterns), _) => any(patterns),
        (None, Some(patterns)) => !any(patterns),
        (None, None) => false,
    }
}

/// One or many, as a list.
fn all(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        Value::Null => &[],
        one => std::slice::from_ref(one),
    }
}

/// Whether a text is as a pattern with `*` and `?` says.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    // Where the last star was, and the first character that it may not stand for yet.
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, from)) = star else {
                    return false;
                };
                star = Some((at, from + 1));
                p = at + 1;
                t = from + 1;
            }
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    fn of(statements: Value) -> Policies {
        Policies {
            own: vec![Value::Object(Map::from_iter([(
                "Statement".to_owned(),
                statements,
            )]))],
            boundary: None,
        }
    }

    fn decided(policies: &Policies) -> Decision {
        policies
            .evaluate("s3:GetObject", "arn:aws:s3:::models/a/model.tar.gz")
            .decision
    }

    #[test]
    fn patterns_have_stars_and_question_marks() {
        for (pattern, text, is) in [
            ("*", "", true),
            ("s3:Get*", "s3:GetObject", true),
            ("s3:Get?bject", "s3:GetObject", true),
            ("a*b*c", "axxbxxbc", true),
            ("a*b*c", "axxbxx", false),
            ("a", "ab", false),
            ("?", "", false),
        ] {
            assert_eq!(matches(pattern, text), is, "{pattern} {text}");
        }
    }

    #[test]
    fn a_denial_goes_before_all_and_nothing_is_allowed_by_itself() {
        let allow =
            json!({"Effect": "Allow", "Action": "S3:get*", "Resource": ["arn:aws:s3:::models/*"]});
        let deny =
            json!({"Effect": "Deny", "NotAction": "s3:Put*", "NotResource": "arn:aws:s3:::open/*"});
        assert_eq!(decided(&of(json!([]))), Decision::ImplicitDeny);
        assert_eq!(decided(&of(allow.clone())), Decision::Allowed);
        assert_eq!(decided(&of(json!([deny, allow]))), Decision::ExplicitDeny);
        let other = json!({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::other/*"});
        assert_eq!(decided(&of(other)), Decision::ImplicitDeny);
    }

    #[test]
    fn what_has_conditions_does_not_count_and_says_what_it_would_need() {
        let condition = json!({"StringEquals": {"s3:ExistingObjectTag/SageMaker": "true"}});
        let policies =
            of(json!({"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": condition}));
        let evaluated = policies.evaluate("s3:GetObject", "arn:aws:s3:::b/k");
        assert_eq!(evaluated.decision, Decision::ImplicitDeny);
        assert_eq!(evaluated.missing, ["s3:ExistingObjectTag/SageMaker"]);
    }

    #[test]
    fn a_boundary_bounds() {
        let allow = json!({"Effect": "Allow", "Action": "*", "Resource": "*"});
        let mut policies = of(allow.clone());
        policies.boundary = Some(json!({ "Statement": [] }));
        let evaluated = policies.evaluate("s3:GetObject", "arn:aws:s3:::b/k");
        assert_eq!(
            (evaluated.decision, evaluated.boundary),
            (Decision::ImplicitDeny, Some(false))
        );
        policies.boundary = Some(json!({ "Statement": allow }));
        let evaluated = policies.evaluate("s3:GetObject", "arn:aws:s3:::b/k");
        assert_eq!(
            (evaluated.decision, evaluated.boundary),
            (Decision::Allowed, Some(true))
        );
    }
}
