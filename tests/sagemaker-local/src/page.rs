//! Lists: filters, order and paging that SageMaker's List operations share.

use serde_json::{Value, json};

use crate::errors::ApiError;
use crate::json::text;
use crate::moment::Moment;

/// What a list is ordered by if the request does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Ascending,
    Descending,
}

/// One thing in a list, with what it is filtered and ordered by.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) status: String,
    pub(crate) created: Moment,
    pub(crate) modified: Moment,
    pub(crate) summary: Value,
}

/// Filters by `NameContains`, `StatusEquals` and times, orders by `SortBy`, cuts into pages.
pub(crate) fn answer(
    input: &Value,
    member: &str,
    mut rows: Vec<Row>,
    order: Order,
) -> Result<Value, ApiError> {
    rows.retain(|row| keeps(input, row));
    match text(input, "SortBy") {
        Some("Name" | "PipelineExecutionArn") => rows.sort_by(|a, b| a.name.cmp(&b.name)),
        Some("Status") => rows.sort_by(|a, b| a.status.cmp(&b.status)),
        _ => rows.sort_by_key(|row| row.created),
    }
    if self::order(input, order) == Order::Descending {
        rows.reverse();
    }
    cut(
        input,
        member,
        rows.into_iter().map(|row| row.summary).collect(),
        10,
    )
}

/// The order that is asked for, else the usual one.
pub(crate) fn order(input: &Value, usual: Order) -> Order {
    match text(input, "SortOrder") {
        Some("Ascending") => Order::Ascending,
        Some("Descending") => Order::Descending,
        _ => usual,
    }
}

/// Cuts a list into pages of `MaxResults`, else `default`.
pub(crate) fn cut(
    input: &Value,
    member: &str,
    items: Vec<Value>,
    default: usize,
) -> Result<Value, ApiError> {
    let size = input
        .get("MaxResults")
        .and_then(Value::as_u64)
        .and_then(|size| usize::try_from(size).ok())
        .unwrap_or(default)
        .max(1);
    let start = match text(input, "NextToken") {
        None => 0,
        Some(token) => read_token(token)
            .filter(|start| *start <= items.len())
            .ok_or_else(|| ApiError::validation("Invalid NextToken"))?,
    };
    let more = items.len() > start + size;
    let page: Vec<Value> = items.into_iter().skip(start).take(size).collect();
    let mut answer = json!({});
    answer[member] = Value::Array(page);
    if more {
        answer["NextToken"] = json!(write_token(start + size));
    }
    Ok(answer)
}

/// A token that nobody mistakes for a number.
pub(crate) fn write_token(start: usize) -> String {
    format!("sagemaker-local-{start:x}")
}

pub(crate) fn read_token(token: &str) -> Option<usize> {
    usize::from_str_radix(token.strip_prefix("sagemaker-local-")?, 16).ok()
}

/// Whether the name, status and times of a request let a row through.
pub(crate) fn keeps(input: &Value, row: &Row) -> bool {
    let after = |member: &str, at: Moment| {
        input
            .get(member)
            .and_then(Value::as_f64)
            .is_none_or(|bound| at.epoch_seconds() > bound)
    };
    let before = |member: &str, at: Moment| {
        input
            .get(member)
            .and_then(Value::as_f64)
            .is_none_or(|bound| at.epoch_seconds() < bound)
    };
    text(input, "NameContains")
        .is_none_or(|part| row.name.to_lowercase().contains(&part.to_lowercase()))
        && text(input, "StatusEquals").is_none_or(|status| row.status == status)
        && after("CreationTimeAfter", row.created)
        && before("CreationTimeBefore", row.created)
        && after("CreatedAfter", row.created)
        && before("CreatedBefore", row.created)
        && after("LastModifiedTimeAfter", row.modified)
        && before("LastModifiedTimeBefore", row.modified)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        (0..25)
            .map(|index| {
                let at = Moment::from_millis(index * 1000);
                Row {
                    name: format!("job-{index:02}"),
                    status: if index % 2 == 0 {
                        "Completed"
                    } else {
                        "Failed"
                    }
                    .to_owned(),
                    created: at,
                    modified: at,
                    summary: json!({"Name": format!("job-{index:02}")}),
                }
            })
            .collect()
    }

    #[test]
    fn all_pages_together_hold_each_thing_once() {
        let mut input = json!({"SortOrder": "Descending"});
        let mut seen = Vec::new();
        loop {
            let page = answer(&input, "Jobs", rows(), Order::Ascending).unwrap();
            seen.extend(
                page["Jobs"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|job| job["Name"].clone()),
            );
            let Some(token) = page.get("NextToken") else {
                break;
            };
            input["NextToken"] = token.clone();
        }
        assert_eq!(seen.len(), 25);
        assert_eq!(seen[0], "job-24");
    }

    #[test]
    fn a_token_that_was_not_given_out_is_refused() {
        let error =
            answer(&json!({"NextToken": "x"}), "Jobs", rows(), Order::Ascending).unwrap_err();
        assert_eq!(error.message, "Invalid NextToken");
    }

    #[test]
    fn filters_hold_together() {
        let input =
            json!({"StatusEquals": "Failed", "NameContains": "JOB-1", "CreationTimeAfter": 14.0});
        let page = answer(&input, "Jobs", rows(), Order::Ascending).unwrap();
        assert_eq!(
            page["Jobs"],
            json!([{"Name": "job-15"}, {"Name": "job-17"}, {"Name": "job-19"}])
        );
    }
}
