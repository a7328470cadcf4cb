//! Every five minutes: what a crash left behind is done, rollouts whose ticks stopped go on.
//!
//! Only wiring: the schedule is in `infra/template.yaml`, what is done is in
//! `tidegate_core::engine`. It asks the ledger's sparse index which pipelines have something
//! unfinished, and looks after each as any other event of it would.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    tidegate_aws::lambda::run("housekeeping").await
}
