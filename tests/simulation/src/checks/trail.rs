//! The audit trail explains every change: from what changed in AWS back to an entry that names the
//! call and the thing, with who, when and why.

use tidegate_core::name::GroupName;

use crate::books::Memory;
use crate::invariant::Invariant;
use crate::town::Town;

impl Town {
    /// Something of a pipeline was changed by Tidegate: an entry names the call and these.
    pub(crate) fn is_explained(&mut self, group: &GroupName, call: &str, names: &[&str]) {
        let partition = self.books.groups.get(group);
        let explained = partition.is_some_and(|p| p.memory.names(call, names));
        self.hold(Invariant::AuditExplains, explained, || {
            format!(
                "no entry of {group} explains {call} of {}",
                names.join(", ")
            )
        });
    }

    /// The same of a thing whose name begins with its plan's.
    pub(crate) fn is_thing_explained(&mut self, call: &str, names: &[&str]) {
        let group = self.group(self.plan_of(names.first().copied().unwrap_or_default()));
        self.is_explained(&group, call, names);
    }
}

impl Memory {
    /// Whether an entry names this call and these things.
    pub(crate) fn names(&self, call: &str, names: &[&str]) -> bool {
        let mut calls = self.explained.iter();
        calls.any(|line| line.starts_with(call) && names.iter().all(|n| line.contains(n)))
    }
}
