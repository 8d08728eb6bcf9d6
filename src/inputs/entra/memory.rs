//! What the issuer remembers between requests: failures, assertions that were used, how much each client has sent.
//!
//! All of it is bounded, and all of it outlives a reload of the configuration: nobody gets a second chance by one.

use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hash};
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::turns::network;

/// Failures that an id has free at an address, known here or not: who is wrong beyond it is told to come back later.
const FAILURES: Limit = Limit { size: 20.0, per_second: 0.1 };

/// The same for a whole address, whoever it says to be. Far wider: many hosts may stand behind it.
const FAILURES_OF_ADDRESS: Limit = Limit { size: 1000.0, per_second: 10.0 };

/// Ids of one address are counted in so many groups, by a hash that nobody knows: no stranger decides how much is remembered,
/// and ids that are known share groups with those that are not.
const GROUPS: u64 = 64;

/// Wrong guesses at a known client from one address. Up to here who is right gets through, whatever others do there; beyond it
/// nobody does who was not right there before.
const GUESSES: Limit = Limit { size: 500.0, per_second: 0.1 };

/// The same from everywhere. No single address comes near it.
const GUESSES_ANYWHERE: Limit = Limit { size: 50_000.0, per_second: 1.0 };

/// Addresses and what is counted at them that are remembered; at the limit those that failed longest ago are forgotten.
const FAILED_MAX: usize = 8192;

/// Credentials that are remembered as good at an address; at the limit those that came longest ago are forgotten.
const PROVEN_MAX: usize = 16_384;

/// Assertions of one client that are remembered until they end. Who is beyond it must come back later: forgetting one would
/// let it be used again. Other clients do not notice.
const ASSERTIONS_MAX: usize = 10_000;

/// How long a client may send the very same assertion from the same address again: its first answer may have been lost.
const REPEAT: Duration = Duration::from_secs(60);

/// What is remembered.
#[derive(Debug, Default)]
pub(in crate::inputs) struct Memory {
    failures: Mutex<HashMap<(IpAddr, Whose), Bucket>>,
    grouping: RandomState,
    /// By client and address; every wrong guess counts for both that and the client.
    guesses: Mutex<HashMap<(String, Option<IpAddr>), Bucket>>,
    /// Credentials that were right at an address, and when.
    proven: Mutex<HashMap<(IpAddr, [u8; 32]), Instant>>,
    assertions: Mutex<HashMap<String, HashMap<[u8; 32], Used>>>,
    rates: Mutex<HashMap<(String, Rate), Bucket>>,
}

/// Whose failures are counted at an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Whose {
    All,
    Group(u64),
}

#[derive(Debug, Clone, Copy)]
struct Limit {
    size: f64,
    per_second: f64,
}

/// What of a client is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Rate {
    Requests,
    Bytes,
}

#[derive(Debug)]
struct Used {
    address: IpAddr,
    first: Instant,
    ends: u64,
    /// How long it was good for when it was used.
    left: Duration,
}

impl Used {
    /// Whether nobody can use it again. Both clocks must say so: the one on the wall, by which it is judged, may jump there and
    /// back.
    fn is_over(&self, now: u64) -> bool {
        self.ends < now && self.first.elapsed() > self.left
    }
}

/// Whether an assertion may be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Use {
    Fine,
    Replayed,
    /// Nothing more can be remembered.
    Full,
}

/// What is left of something that fills up with time. It may go below nothing: who took too much at once waits longer.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn full(size: f64) -> Self {
        Self { left: size, at: Instant::now() }
    }

    fn fill(&mut self, size: f64, per_second: f64) {
        let now = Instant::now();
        self.left = size.min(self.left + (now - self.at).as_secs_f64() * per_second);
        self.at = now;
    }

    /// How long until there is as much as `wanted`.
    fn wait(&self, wanted: f64, per_second: f64) -> Result<(), Duration> {
        let missing = wanted - self.left;
        if missing <= 0.0 { Ok(()) } else { Err(Duration::from_secs_f64((missing / per_second).min(3600.0))) }
    }
}

impl Memory {
    /// Counts a failure of who says to be `id` at an address. An error when that were too many already, and when to come back.
    /// Whether the id is known here makes no difference.
    pub(in crate::inputs) fn failed(&self, address: IpAddr, id: &str) -> Result<(), Duration> {
        let network = network(address);
        let group = self.grouping.hash_one(id.to_ascii_lowercase()) % GROUPS;
        let mut failures = lock(&self.failures);
        let of_id = count(&mut failures, (network, Whose::Group(group)), FAILURES);
        let of_all = count(&mut failures, (network, Whose::All), FAILURES_OF_ADDRESS);
        of_id.and(of_all)
    }

    /// Whether what a client shows at an address is looked at, or there were too many wrong guesses.
    pub(in crate::inputs) fn may_guess(&self, address: IpAddr, client: &str) -> bool {
        let mut guesses = lock(&self.guesses);
        counted(address, client).into_iter().all(|(key, limit)| {
            let is_full = |bucket: &mut Bucket| {
                bucket.fill(limit.size, limit.per_second);
                bucket.left < 1.0
            };
            !guesses.get_mut(&key).is_some_and(is_full)
        })
    }

    /// What a client showed at an address was looked at, and wrong.
    pub(in crate::inputs) fn guessed(&self, address: IpAddr, client: &str) {
        let mut guesses = lock(&self.guesses);
        for (key, limit) in counted(address, client) {
            // Whether it was too many is asked before the next.
            count(&mut guesses, key, limit).ok();
        }
    }

    /// Whether a credential was right at this address before. Whoever shows it again pays for nobody's failures.
    pub(in crate::inputs) fn was_proven(&self, address: IpAddr, credential: [u8; 32]) -> bool {
        lock(&self.proven).contains_key(&(network(address), credential))
    }

    /// A credential was right at this address.
    pub(in crate::inputs) fn proved(&self, address: IpAddr, credential: [u8; 32]) {
        let mut proven = lock(&self.proven);
        let key = (network(address), credential);
        if proven.len() >= PROVEN_MAX && !proven.contains_key(&key) {
            forget_oldest(&mut proven, |at| *at);
        }
        proven.insert(key, Instant::now());
    }

    /// Notes that an assertion of a client was used, unless it was used before. `ends` and `now` are seconds since 1970.
    pub(super) fn use_once(&self, client: &str, id: [u8; 32], address: IpAddr, ends: u64, now: u64) -> Use {
        let mut assertions = lock(&self.assertions);
        let own = assertions.entry(client.to_ascii_lowercase()).or_default();
        if let Some(used) = own.get(&id) {
            let again = used.address == address && used.first.elapsed() < REPEAT;
            return if again { Use::Fine } else { Use::Replayed };
        }
        if own.len() >= ASSERTIONS_MAX {
            own.retain(|_, used| !used.is_over(now));
        }
        if own.len() >= ASSERTIONS_MAX {
            return Use::Full;
        }
        let left = Duration::from_secs(ends.saturating_sub(now));
        own.insert(id, Used { address, first: Instant::now(), ends, left });
        Use::Fine
    }

    /// Takes so much of what a client may use; else tells when there is something again. Taking 0 only asks.
    pub(super) fn take(&self, client: &str, rate: Rate, size: f64, per_second: f64, much: f64) -> Result<(), Duration> {
        let mut rates = lock(&self.rates);
        let bucket = rates.entry((client.to_owned(), rate)).or_insert_with(|| Bucket::full(size));
        bucket.fill(size, per_second);
        bucket.wait(1.0, per_second)?;
        bucket.left -= much;
        Ok(())
    }

    /// Forgets the rates of clients that are no more and guesses at them, and their assertions once all have ended: they may come back.
    pub(super) fn keep_clients(&self, now: u64, is_client: impl Fn(&str) -> bool) {
        lock(&self.rates).retain(|(client, _), _| is_client(client));
        lock(&self.guesses).retain(|(client, _), _| is_client(client));
        let open = |used: &HashMap<_, Used>| used.values().any(|used| !used.is_over(now));
        lock(&self.assertions).retain(|client, used| is_client(client) || open(used));
    }
}

/// What one wrong guess counts against.
fn counted(address: IpAddr, client: &str) -> [((String, Option<IpAddr>), Limit); 2] {
    let client = client.to_ascii_lowercase();
    [((client.clone(), Some(network(address))), GUESSES), ((client, None), GUESSES_ANYWHERE)]
}

/// Takes one from a bucket; an error when nothing was left in it.
fn count<K: Clone + Eq + Hash>(buckets: &mut HashMap<K, Bucket>, key: K, limit: Limit) -> Result<(), Duration> {
    if buckets.len() >= FAILED_MAX && !buckets.contains_key(&key) {
        let over = Duration::from_secs_f64(limit.size / limit.per_second);
        buckets.retain(|_, bucket| bucket.at.elapsed() < over);
        if buckets.len() >= FAILED_MAX {
            forget_oldest(buckets, |bucket| bucket.at);
        }
    }
    let bucket = buckets.entry(key).or_insert_with(|| Bucket::full(limit.size));
    bucket.fill(limit.size, limit.per_second);
    bucket.wait(1.0, limit.per_second)?;
    bucket.left -= 1.0;
    Ok(())
}

fn forget_oldest<K: Clone + Eq + Hash, V>(map: &mut HashMap<K, V>, at: impl Fn(&V) -> Instant) {
    let oldest = map.iter().min_by_key(|(_, value)| at(value)).map(|(key, _)| key.clone());
    if let Some(oldest) = oldest {
        map.remove(&oldest);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    #[tokio::test(start_paused = true)]
    async fn who_keeps_failing_waits_and_is_forgiven_and_others_elsewhere_do_not_notice() {
        let memory = Memory::default();
        for _ in 0..20 {
            assert_eq!(memory.failed(HERE, "bad"), Ok(()));
        }
        let wait = memory.failed(HERE, "BAD").expect_err("it failed too often");
        assert_eq!(memory.failed(THERE, "bad"), Ok(()));
        tokio::time::advance(wait + Duration::from_millis(1)).await;
        assert_eq!(memory.failed(HERE, "bad"), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_cannot_fail_without_end_by_saying_to_be_many() {
        let memory = Memory::default();
        let told = (0..2000).filter(|n| memory.failed(HERE, &n.to_string()).is_ok()).count();
        assert!(told <= 1000, "{told}");
        memory.proved(HERE, [1; 32]);
        assert!(memory.was_proven(HERE, [1; 32]) && !memory.was_proven(THERE, [1; 32]));
        for n in 0..FAILED_MAX as u32 + 10 {
            memory.failed(IpAddr::from(n.to_be_bytes()), "x").ok();
        }
        assert!(lock(&memory.failures).len() <= FAILED_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn guesses_at_a_client_are_bounded_for_each_address_and_from_everywhere() {
        let memory = Memory::default();
        let guess = |address, client: &str| {
            let may = memory.may_guess(address, client);
            if may {
                memory.guessed(address, client);
            }
            may
        };
        assert_eq!((0..1000).filter(|_| guess(HERE, "plant")).count(), 500);
        assert!(memory.may_guess(THERE, "plant") && memory.may_guess(HERE, "other"));
        let everywhere = (0..200_u32).flat_map(|n| [IpAddr::from(n.to_be_bytes()); 1000]);
        assert_eq!(everywhere.filter(|address| guess(*address, "PLANT")).count(), 50_000 - 500);
        tokio::time::advance(Duration::from_secs(100)).await;
        assert_eq!((0..1000).filter(|_| guess(HERE, "plant")).count(), 10, "some are forgiven");
    }

    #[tokio::test(start_paused = true)]
    async fn an_assertion_is_good_once_or_again_at_once_for_a_lost_answer() {
        let memory = Memory::default();
        assert_eq!(memory.use_once("plant", [1; 32], HERE, 700, 100), Use::Fine);
        assert_eq!(memory.use_once("PLANT", [1; 32], HERE, 700, 100), Use::Fine);
        assert_eq!(memory.use_once("plant", [1; 32], THERE, 700, 100), Use::Replayed);
        tokio::time::advance(REPEAT).await;
        assert_eq!(memory.use_once("plant", [1; 32], HERE, 700, 160), Use::Replayed);
        memory.keep_clients(160, |_| false);
        assert_eq!(memory.use_once("plant", [1; 32], HERE, 700, 160), Use::Replayed, "it may have come back");
    }

    #[tokio::test(start_paused = true)]
    async fn one_client_cannot_fill_the_memory_of_others() {
        let memory = Memory::default();
        let id = |n: usize| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&n.to_be_bytes());
            id
        };
        for n in 0..ASSERTIONS_MAX {
            assert_eq!(memory.use_once("greedy", id(n), HERE, 700, 100), Use::Fine);
        }
        assert_eq!(memory.use_once("greedy", [9; 32], HERE, 700, 100), Use::Full);
        assert_eq!(memory.use_once("other", [9; 32], HERE, 700, 100), Use::Fine);
        assert_eq!(memory.use_once("greedy", [9; 32], HERE, 1400, 701), Use::Full, "the wall clock may have jumped");
        tokio::time::advance(Duration::from_secs(601)).await;
        assert_eq!(memory.use_once("greedy", [9; 32], HERE, 1400, 701), Use::Fine, "the others have ended");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_gets_what_its_rate_gives_and_a_large_upload_is_paid_for_later() {
        let memory = Memory::default();
        let take = |much| memory.take("plant", Rate::Bytes, 100.0, 10.0, much);
        assert_eq!(take(300.0), Ok(()));
        let wait = take(1.0).expect_err("it owes 200");
        assert_eq!(wait.as_secs(), 20);
        tokio::time::advance(wait).await;
        assert_eq!(take(1.0), Ok(()));
        assert_eq!(memory.take("other", Rate::Bytes, 100.0, 10.0, 1.0), Ok(()));
        memory.keep_clients(0, |client| client == "other");
        assert_eq!(take(100.0), Ok(()), "who comes again begins anew");
    }
}
