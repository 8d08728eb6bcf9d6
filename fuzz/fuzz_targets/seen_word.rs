//! Words about events that were seen are what other gateways wrote: any bytes are read without a panic, what cannot be read changes
//! nothing, and whoever says a readable word twice in a row has won both times or not at all.

#![no_main]

use gatepost::replication::seen::replica::Replica;
use libfuzzer_sys::fuzz_target;

const WINDOW_S: u32 = 100;
const MOST: usize = 64 << 20;

fuzz_target!(|bytes: &[u8]| {
    let mut replica = Replica::new(WINDOW_S, MOST);
    match replica.apply(bytes, 1_000) {
        Err(_) => assert_eq!(replica.bytes(), 0),
        Ok((name, won)) => {
            let again = replica.apply(bytes, 1_001).expect("it was readable");
            assert_eq!(again, (name, won));
            // All of it ends.
            replica.apply(bytes, 10_000).expect("it was readable");
            replica.sweep(20_000);
        }
    }
});
