//! IAM: `SimulatePrincipalPolicy` of a role, which moto lacks. Every other call goes on to moto.
//!
//! The policies are those that moto keeps of the role: inline, attached, and its boundary. Sources:
//! `SimulatePrincipalPolicy` in the IAM API reference and "Policy evaluation logic" in the user guide.
//! Not as in AWS: a statement with conditions is left out, and their keys are told as missing;
//! resources' policies, organizations and policy variables are not known.

use aws_sdk_iam::error::SdkError;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use crate::app::App;
use crate::errors::ApiError;
use crate::json::{list, text};
use crate::policies::{Decision, Policies};
use crate::protocols::{query_answer, read_query, unescape};

const SIMULATE: &str = "SimulatePrincipalPolicy";
const NAMESPACE: &str = "https://iam.amazonaws.com/doc/2010-05-08/";
/// What a request may have that would change its answer, and is not looked at here.
const NOT_HERE: [&str; 6] = [
    "PolicyInputList",
    "PermissionsBoundaryPolicyInputList",
    "PolicyExclusionList",
    "ResourcePolicy",
    "ContextEntries",
    "CallerArn",
];

/// Whether a request is signed for IAM.
pub(crate) fn is_asked(headers: &HeaderMap) -> bool {
    let signed = headers.get("authorization").and_then(|v| v.to_str().ok());
    signed.is_some_and(|scope| scope.contains("/iam/aws4_request"))
}

/// Answers a request, or has moto answer it.
pub(crate) async fn answer(app: &App, headers: &HeaderMap, body: Bytes) -> Response {
    let input = read_query(&body);
    if text(&input, "Action") != Some(SIMULATE) {
        return pass_on(app, headers, body).await;
    }
    let result = simulate(app, &input).await;
    if let Some(recorder) = &app.recorder {
        let mut input = input;
        if let Some(members) = input.as_object_mut() {
            members.remove("Action");
            members.remove("Version");
        }
        recorder.write(app.clock.now(), "iam", SIMULATE, &input, &result);
    }
    query_answer(NAMESPACE, SIMULATE, &result)
}

async fn pass_on(app: &App, headers: &HeaderMap, body: Bytes) -> Response {
    let Some(moto) = &app.args.aws_endpoint else {
        let error = ApiError::unsupported("IAM, without --aws-endpoint");
        return query_answer(NAMESPACE, "", &Err(error));
    };
    let mut request = app.http.post(moto).body(body);
    for name in ["authorization", "content-type", "x-amz-date"] {
        if let Some(value) = headers.get(name) {
            request = request.header(name, value);
        }
    }
    let passed = async {
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        Ok::<_, reqwest::Error>((status, answer.bytes().await?))
    };
    match passed.await {
        Ok((status, body)) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
            (status, [("content-type", "text/xml")], body).into_response()
        }
        Err(error) => {
            let error = ApiError::unavailable(format!("moto does not answer: {error}"));
            query_answer(NAMESPACE, "", &Err(error))
        }
    }
}

async fn simulate(app: &App, input: &Value) -> Result<Value, ApiError> {
    if let Some(member) = NOT_HERE.iter().find(|member| input.get(**member).is_some()) {
        return Err(ApiError::unsupported(&format!("{SIMULATE} with {member}")));
    }
    let arn = text(input, "PolicySourceArn")
        .ok_or_else(|| ApiError::invalid_input("PolicySourceArn is required."))?;
    let role = arn
        .split_once(":role/")
        .and_then(|(_, path)| path.rsplit('/').next())
        .ok_or_else(|| ApiError::invalid_input(format!("Invalid Entity Arn: {arn}")))?;
    let policies = Policies {
        own: own_policies(app, role).await?,
        boundary: boundary(app, role).await?,
    };
    let resources = match list(input, "ResourceArns") {
        [] => vec!["*"],
        given => given.iter().filter_map(Value::as_str).collect(),
    };
    let actions = list(input, "ActionNames").iter().filter_map(Value::as_str);
    let results: Vec<Value> = actions
        .map(|action| evaluation(action, &resources, &policies))
        .collect();
    if results.is_empty() {
        return Err(ApiError::invalid_input("ActionNames is required."));
    }
    Ok(json!({ "EvaluationResults": results, "IsTruncated": false }))
}

/// One action's result: the most restrictive of its resources', and each of them.
fn evaluation(action: &str, resources: &[&str], policies: &Policies) -> Value {
    let each: Vec<_> = resources
        .iter()
        .map(|resource| (*resource, policies.evaluate(action, resource)))
        .collect();
    let decision = each.iter().map(|(_, e)| e.decision).max();
    let decision = decision.unwrap_or(Decision::ImplicitDeny);
    let mut missing: Vec<&String> = each.iter().flat_map(|(_, e)| &e.missing).collect();
    missing.sort_unstable();
    missing.dedup();
    let of_each: Vec<Value> = each
        .iter()
        .map(|(resource, evaluated)| {
            let mut result = json!({
                "EvalResourceName": resource,
                "EvalResourceDecision": evaluated.decision.word(),
                "MissingContextValues": evaluated.missing,
            });
            add_boundary(&mut result, evaluated.boundary);
            result
        })
        .collect();
    let mut result = json!({
        "EvalActionName": action,
        "EvalResourceName": "*",
        "EvalDecision": decision.word(),
        "MissingContextValues": missing,
        "ResourceSpecificResults": of_each,
    });
    let boundaries: Option<Vec<bool>> = each.iter().map(|(_, e)| e.boundary).collect();
    add_boundary(
        &mut result,
        boundaries.map(|all| all.iter().all(|allows| *allows)),
    );
    result
}

fn add_boundary(result: &mut Value, allows: Option<bool>) {
    if let Some(allows) = allows {
        result["PermissionsBoundaryDecisionDetail"] =
            json!({ "AllowedByPermissionsBoundary": allows });
    }
}

/// The documents of a role's inline and attached policies.
async fn own_policies(app: &App, role: &str) -> Result<Vec<Value>, ApiError> {
    let iam = &aws(app)?.iam;
    let inline = iam.list_role_policies().role_name(role).send().await;
    let attached = iam.list_attached_role_policies().role_name(role).send();
    let mut documents = Vec::new();
    for name in inline.map_err(refused(role))?.policy_names() {
        let policy = iam.get_role_policy().role_name(role).policy_name(name);
        let policy = policy.send().await.map_err(refused(name))?;
        documents.push(document(policy.policy_document())?);
    }
    for policy in attached.await.map_err(refused(role))?.attached_policies() {
        let arn = policy.policy_arn().unwrap_or_default();
        documents.push(managed(app, arn).await?);
    }
    Ok(documents)
}

/// The document of a role's permissions boundary, if it has one.
async fn boundary(app: &App, role: &str) -> Result<Option<Value>, ApiError> {
    let got = aws(app)?.iam.get_role().role_name(role).send().await;
    let got = got.map_err(refused(role))?;
    let boundary = got.role().and_then(|role| role.permissions_boundary());
    match boundary.and_then(|boundary| boundary.permissions_boundary_arn()) {
        Some(arn) => Ok(Some(managed(app, arn).await?)),
        None => Ok(None),
    }
}

/// The document of a managed policy's default version.
async fn managed(app: &App, arn: &str) -> Result<Value, ApiError> {
    let iam = &aws(app)?.iam;
    let policy = iam.get_policy().policy_arn(arn).send().await;
    let policy = policy.map_err(refused(arn))?;
    let version = policy.policy().and_then(|p| p.default_version_id());
    let version = iam
        .get_policy_version()
        .policy_arn(arn)
        .version_id(version.unwrap_or("v1"))
        .send()
        .await
        .map_err(refused(arn))?;
    let version = version.policy_version().and_then(|v| v.document());
    document(version.unwrap_or_default())
}

/// A policy's document, which IAM sends URL-encoded.
fn document(encoded: &str) -> Result<Value, ApiError> {
    let plain = if encoded.starts_with('%') {
        unescape(encoded)
    } else {
        encoded.to_owned()
    };
    serde_json::from_str(&plain)
        .map_err(|error| ApiError::invalid_input(format!("A policy is not JSON: {error}")))
}

/// What is said of a look at moto that failed: it knows no such thing, or it does not answer.
fn refused<E>(what: &str) -> impl Fn(SdkError<E>) -> ApiError {
    move |error| match error {
        SdkError::ServiceError(_) => ApiError::no_such_entity(what),
        _ => ApiError::unavailable("moto does not answer"),
    }
}

fn aws(app: &App) -> Result<&crate::aws::Aws, ApiError> {
    app.aws()
        .map_err(|error| ApiError::unavailable(error.to_string()))
}
