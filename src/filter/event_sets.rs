//! The event sets of the Security events connector, as pairs of a channel and an id.
//!
//! Source: Microsoft's Windows security event id reference and the rules that Sentinel generates from it. Those list
//! the AppLocker ids 8001 to 8007 under the Security channel too, where no such events exist; so do these tables, to
//! decide exactly as those rules do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A named set of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub enum EventSet {
    /// Every record, also those that are no Windows events.
    #[default]
    Everything,
    /// Every event of the Security channel and of the two AppLocker channels.
    All,
    /// What an audit trail of users needs, without the noisiest events.
    Common,
    /// What tells of a breach: few events, no audit trail.
    Minimal,
    /// Nothing.
    None,
}

const SECURITY: &str = "Security";
const APPLOCKER_EXE: &str = "Microsoft-Windows-AppLocker/EXE and DLL";
const APPLOCKER_SCRIPT: &str = "Microsoft-Windows-AppLocker/MSI and Script";

#[rustfmt::skip]
static COMMON: [u32; 143] = [
    1, 299, 300, 324, 340, 403, 404, 410, 411, 412, 413, 431, 500, 501, 1100, 1102, 1107, 1108, 4608, 4610, 4611, 4614,
    4622, 4624, 4625, 4634, 4647, 4648, 4649, 4657, 4661, 4662, 4663, 4665, 4666, 4667, 4670, 4672, 4673, 4674, 4675,
    4688, 4689, 4697, 4700, 4702, 4704, 4705, 4716, 4717, 4718, 4719, 4720, 4722, 4723, 4724, 4725, 4726, 4727, 4728,
    4729, 4732, 4733, 4735, 4737, 4738, 4739, 4740, 4742, 4744, 4745, 4746, 4750, 4751, 4752, 4754, 4755, 4756, 4757,
    4760, 4761, 4762, 4764, 4767, 4768, 4771, 4774, 4778, 4779, 4781, 4793, 4797, 4798, 4799, 4800, 4801, 4802, 4803,
    4825, 4826, 4870, 4886, 4887, 4888, 4893, 4898, 4902, 4904, 4905, 4907, 4931, 4932, 4933, 4946, 4948, 4956, 4985,
    5024, 5033, 5059, 5136, 5137, 5140, 5145, 5632, 6144, 6145, 6272, 6273, 6278, 6416, 6423, 6424, 8001, 8002, 8003,
    8004, 8005, 8006, 8007, 8222, 26401, 30004,
];

#[rustfmt::skip]
static MINIMAL: [u32; 39] = [
    1102, 4624, 4625, 4657, 4663, 4688, 4700, 4702, 4719, 4720, 4722, 4723, 4724, 4727, 4728, 4732, 4735, 4737, 4739,
    4740, 4754, 4755, 4756, 4767, 4799, 4825, 4946, 4948, 4956, 5024, 5033, 8001, 8002, 8003, 8004, 8005, 8006, 8007,
    8222,
];

impl EventSet {
    /// Whether an event of this channel with this id is in the set. Channels compare without regard to letter case.
    pub fn holds(self, channel: Option<&str>, event_id: Option<u32>) -> bool {
        match self {
            Self::Everything => true,
            Self::None => false,
            Self::All => channel.is_some_and(|channel| {
                [SECURITY, APPLOCKER_EXE, APPLOCKER_SCRIPT].iter().any(|known| known.eq_ignore_ascii_case(channel))
            }),
            Self::Common => holds_id(&COMMON, channel, event_id),
            Self::Minimal => holds_id(&MINIMAL, channel, event_id),
        }
    }
}

fn holds_id(security: &[u32], channel: Option<&str>, event_id: Option<u32>) -> bool {
    let (Some(channel), Some(id)) = (channel, event_id) else { return false };
    if channel.eq_ignore_ascii_case(SECURITY) {
        security.binary_search(&id).is_ok()
    } else if channel.eq_ignore_ascii_case(APPLOCKER_EXE) {
        (8001..=8004).contains(&id)
    } else if channel.eq_ignore_ascii_case(APPLOCKER_SCRIPT) {
        (8005..=8007).contains(&id)
    } else {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_without_repeats_and_minimal_is_part_of_common() {
        assert!(COMMON.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(MINIMAL.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(MINIMAL.iter().all(|id| COMMON.binary_search(id).is_ok()));
    }

    #[test]
    fn an_id_counts_only_in_its_channel() {
        let sysmon = Some("Microsoft-Windows-Sysmon/Operational");
        for set in [EventSet::All, EventSet::Common, EventSet::Minimal] {
            assert!(set.holds(Some("security"), Some(4624)), "{set:?}");
            assert!(!set.holds(sysmon, Some(4624)) && !set.holds(sysmon, Some(1)), "{set:?}");
            assert!(set.holds(Some("MICROSOFT-WINDOWS-APPLOCKER/EXE AND DLL"), Some(8004)), "{set:?}");
            assert!(!set.holds(None, Some(4624)) && !set.holds(Some(""), Some(4624)), "{set:?}");
        }
        assert!(EventSet::Common.holds(Some("Security"), Some(1)));
        assert!(!EventSet::Common.holds(Some(APPLOCKER_EXE), Some(8005)));
        assert!(!EventSet::Minimal.holds(Some("Security"), Some(4634)));
        assert!(EventSet::All.holds(Some("Security"), None));
        assert!(!EventSet::Common.holds(Some("Security"), None));
    }

    #[test]
    fn everything_keeps_records_that_are_no_events_and_none_keeps_nothing() {
        assert!(EventSet::Everything.holds(None, None));
        assert!(!EventSet::None.holds(Some("Security"), Some(4624)));
    }
}
