//! A model package changed its approval: start a rollout, replace one, or take one back.
//!
//! Only wiring: which events come here is said by the rules in `infra/template.yaml`, what is done
//! with them by `tidegate_core::engine`. Any function deals with any event, and first finishes
//! what an earlier one of the same pipeline left undone.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    tidegate_aws::lambda::run("package-approved").await
}
