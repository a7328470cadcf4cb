//! The invariants, checked where something changes: at each commit, at each call that AWS accepts,
//! after each look at a rollout that goes back, and at the end.

mod calls;
mod commit;
mod end;
mod monitors;
mod rollout;
mod silence;
mod trail;

pub(crate) use end::{End, end_of};
pub(crate) use silence::Blindness;
