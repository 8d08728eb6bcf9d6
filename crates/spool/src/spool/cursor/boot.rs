//! Which start of the machine this is. What was written and not synced outlives a killed process, in the system's
//! cache, and does not outlive the machine.

use crate::clock::BootId;

/// One start of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Boot(pub(super) u64, pub(super) u64);

impl Boot {
    /// The current one, as the kernel names it; one that equals no other when the kernel does not tell.
    pub fn current() -> Self {
        BootId::current().map_or(Self::default(), |id| Self::of(u128::from_be_bytes(id.0)))
    }

    /// The one of this number.
    pub fn of(number: u128) -> Self {
        Self((number >> 64) as u64, number as u64)
    }

    /// Whether both are the same start of the machine, for sure.
    pub(super) fn is_still(self, other: Self) -> bool {
        self == other && self != Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_names_the_start_and_an_unknown_one_is_never_the_same() {
        assert!(Boot::current().is_still(Boot::current()));
        assert!(!Boot::of(1).is_still(Boot::of(1 << 64)));
        assert!(!Boot::default().is_still(Boot::default()));
    }
}
