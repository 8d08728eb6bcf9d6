use super::log::{Log, Place};

use crate::events::Host;

#[test]
fn a_place_knows_each_channel_and_an_unknown_one_is_sent_from_its_beginning() {
    let mut log = Log::default();
    Host::new("pc1", 1).with_system_share(0.5).take(50).for_each(|event| log.push(&event));
    let both = ["Security".to_owned(), "System".to_owned()];
    let end = log.end(&both);
    assert!(log.batch(&both, &end, 100).events.is_empty());
    let only_security =
        Place { records: end.records.clone().into_iter().filter(|(name, _)| name == "Security").collect(), ..end };
    let system = log.batch(&both, &only_security, 100).events;
    assert!(!system.is_empty() && system.iter().all(|event| event.contains("<Channel>System</Channel>")));
}
