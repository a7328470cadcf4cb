//! What a look at a rollout came to.

use crate::decision::Note;
use crate::world::Effect;

/// What a look came to.
#[derive(Debug, Default)]
pub struct Moves {
    /// What to call, in order.
    pub effects: Vec<Effect>,
    /// What to write down and tell.
    pub notes: Vec<Note>,
    /// Whether what was asked for before is not wanted any more.
    pub cancel: bool,
}
