use proptest::prelude::*;

use super::log::{Log, Place};
use super::*;
use crate::cli::simulate::events::Host;
use crate::inputs::wef::sldc::decode;

proptest! {
    #[test]
    fn the_input_decodes_what_hosts_compress(bytes in proptest::collection::vec(0u8..6, 0..3000)) {
        prop_assert_eq!(decode(&sldc::compressed(&bytes), 1 << 20, |_| true), Ok(bytes));
    }
}

#[test]
fn every_byte_survives_compression_and_texts_shrink() {
    let bytes: Vec<u8> = (0..=255).cycle().take(5000).collect();
    assert_eq!(decode(&sldc::compressed(&bytes), 1 << 20, |_| true).as_deref(), Ok(&bytes[..]));
    let text = soap::wide(&"<Event><System><EventID>4624</EventID></System></Event>".repeat(40));
    assert!(sldc::compressed(&text).len() * 4 < text.len());
}

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
