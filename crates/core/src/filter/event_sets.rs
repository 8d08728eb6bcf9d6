//! The event sets of the Security events connector, as the queries that Sentinel makes for them.
//!
//! Source: Microsoft's Windows security event id reference and the rules that Sentinel generates from it. Those list
//! the AppLocker ids 8001 to 8007 of the common set under the Security channel too, where no such events exist; so does this
//! table, to make exactly those rules.

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
static MINIMAL: [u32; 32] = [
    1102, 4624, 4625, 4657, 4663, 4688, 4700, 4702, 4719, 4720, 4722, 4723, 4724, 4727, 4728, 4732, 4735, 4737, 4739,
    4740, 4754, 4755, 4756, 4767, 4799, 4825, 4946, 4948, 4956, 5024, 5033, 8222,
];

/// Ids in one query: Sentinel cuts its lists so, and Windows refuses queries with more than some twenty.
const IDS_IN_QUERY: usize = 15;

impl EventSet {
    /// The queries of the rule that Sentinel makes for this set, as `Channel!XPath`. None for [`EventSet::None`]; and none for
    /// [`EventSet::Everything`], which no query can say.
    pub fn queries(self) -> Vec<String> {
        match self {
            Self::Everything | Self::None => Vec::new(),
            Self::All => [SECURITY, APPLOCKER_EXE, APPLOCKER_SCRIPT].map(|channel| format!("{channel}!*")).to_vec(),
            Self::Common => with_applocker(&COMMON),
            Self::Minimal => with_applocker(&MINIMAL),
        }
    }
}

fn with_applocker(security: &[u32]) -> Vec<String> {
    let query = |channel: &str, ids: &[u32]| {
        let ids: Vec<String> = ids.iter().map(|id| format!("(EventID={id})")).collect();
        format!("{channel}!*[System[{}]]", ids.join(" or "))
    };
    let security = security.chunks(IDS_IN_QUERY).map(|ids| query(SECURITY, ids));
    let applocker = [query(APPLOCKER_EXE, &[8001, 8002, 8003, 8004]), query(APPLOCKER_SCRIPT, &[8005, 8006, 8007])];
    security.chain(applocker).collect()
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
    fn the_queries_are_those_of_sentinels_rules() {
        let common = EventSet::Common.queries();
        assert_eq!(common.len(), 12, "ten for the Security channel, two for AppLocker");
        assert_eq!(
            common[9],
            "Security!*[System[(EventID=8003) or (EventID=8004) or (EventID=8005) or (EventID=8006) or (EventID=8007) or (EventID=8222) or (EventID=26401) or (EventID=30004)]]"
        );
        assert_eq!(EventSet::Minimal.queries().len(), 5, "three for the Security channel, two for AppLocker");
        assert_eq!(EventSet::All.queries()[1], "Microsoft-Windows-AppLocker/EXE and DLL!*");
        assert_eq!(EventSet::None.queries(), Vec::<String>::new());
    }
}
