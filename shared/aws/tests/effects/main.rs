//! Every effect is proven idempotent: done twice, after a crash, after somebody else, two at once,
//! undone twice. Against moto and the emulator, as processes; the rule is the design's table of
//! effects. An effect without a case here does not compile.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod bench;
mod cases;
mod kit;
mod look;
mod monitors;
mod parts;
mod records;

use bench::Bench;
use kit::{Proof, prove};

#[tokio::test]
async fn every_effect_done_again_is_as_done_once() {
    let bench = Bench::start().await;
    let mut proofs: Vec<Proof> = Vec::new();
    for &kind in cases::Kind::ALL {
        proofs.push(prove(&bench, kind).await);
    }
    println!("{}", kit::table(&proofs));
    let failures: Vec<String> = proofs.iter().flat_map(Proof::failures).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
