//! The memory of verdicts, the queue and the throttle, with hashes that are cheap to compute.

use super::*;
use argon2::password_hash::PasswordHasher;
use argon2::{Algorithm, Params, Version};

/// The hash of a password, with the smallest parameters there are.
pub(in crate::tunnel::clients) fn cheap_hash(password: &str) -> String {
    let params = Params::new(8, 1, 1, None).expect("small parameters");
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::default(), params);
    PasswordHasher::<PasswordHash>::hash_password(&argon2, password.as_bytes()).expect("a hash").to_string()
}

fn account(password: &str) -> Arc<Account> {
    Arc::new(Account::parse(&cheap_hash(password)).expect("a good hash"))
}

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

#[tokio::test(start_paused = true)]
async fn a_verdict_is_remembered_for_its_time() {
    let (passwords, account) = (Passwords::new().expect("random"), account("sesame"));
    for _ in 0..5 {
        assert_eq!(passwords.check(HERE, "ali", "sesame", &account).await, Verdict::Right);
        assert_eq!(passwords.check(HERE, "ali", "Sesame", &account).await, Verdict::Wrong);
    }
    assert_eq!(passwords.computed(), 2);
    tokio::time::advance(WRONG_FOR).await;
    assert_eq!(passwords.check(HERE, "ali", "Sesame", &account).await, Verdict::Wrong);
    assert_eq!(passwords.check(HERE, "ali", "sesame", &account).await, Verdict::Right);
    assert_eq!(passwords.computed(), 3);
    tokio::time::advance(RIGHT_FOR).await;
    assert_eq!(passwords.check(HERE, "ali", "sesame", &account).await, Verdict::Right);
    assert_eq!(passwords.computed(), 4);
}

#[tokio::test(start_paused = true)]
async fn user_password_and_stored_hash_are_told_apart() {
    let passwords = Passwords::new().expect("random");
    let (one, other) = (account("sesame"), account("other"));
    assert_eq!(passwords.check(HERE, "ali", "sesame", &one).await, Verdict::Right);
    assert_eq!(passwords.check(HERE, "ali", "sesame", &other).await, Verdict::Wrong);
    assert_eq!(passwords.check(HERE, "alis", "esame", &one).await, Verdict::Wrong);
    assert_eq!(passwords.computed(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_same_question_asked_at_once_is_computed_once() {
    let (passwords, account) = (Passwords::new().expect("random"), account("sesame"));
    let ask = || passwords.check(HERE, "ali", "sesame", &account);
    let answers = futures_util::future::join_all((0..500).map(|_| ask())).await;
    assert!(answers.iter().all(|answer| *answer == Verdict::Right));
    assert_eq!(passwords.computed(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded_and_a_guesser_is_shut_out() {
    let (passwords, account) = (Passwords::new().expect("random"), account("sesame"));
    let guesses: Vec<String> = (0..100).map(|guess| format!("guess {guess}")).collect();
    let ask = |guess: &String| {
        let (passwords, account, guess) = (passwords.clone(), Arc::clone(&account), guess.clone());
        async move { passwords.check(HERE, "ali", &guess, &account).await }
    };
    let answers = futures_util::future::join_all(guesses.iter().map(ask)).await;
    let busy = answers.iter().filter(|answer| **answer == Verdict::Busy).count();
    assert_eq!(busy, 100 - AT_ONCE - WAITING_MAX);
    assert!(!answers.contains(&Verdict::Right));
    // The tenth wrong one closes the source; what was being computed then may still end.
    let computed = passwords.computed();
    assert!((10..10 + AT_ONCE as u64).contains(&computed), "{computed}");
    assert_eq!(passwords.check(HERE, "ali", "sesame", &account).await, Verdict::Wrong);
    assert_eq!(passwords.computed(), computed);
    let elsewhere = "192.0.2.2".parse().expect("an address");
    assert_eq!(passwords.check(elsewhere, "ali", "sesame", &account).await, Verdict::Right);
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(passwords.check(HERE, "ali", "sesame", &account).await, Verdict::Right);
}

#[tokio::test(start_paused = true)]
async fn one_who_waited_for_a_guesser_is_still_served() {
    let (passwords, account) = (Passwords::new().expect("random"), account("sesame"));
    let elsewhere: IpAddr = "192.0.2.2".parse().expect("an address");
    let mut asked = Vec::new();
    for guess in 0..40 {
        asked.push((HERE, format!("guess {guess}")));
    }
    asked.push((HERE, "sesame".to_owned()));
    asked.push((elsewhere, "sesame".to_owned()));
    let ask = |(source, password): (IpAddr, String)| {
        let (passwords, account) = (passwords.clone(), Arc::clone(&account));
        async move { passwords.check(source, "ali", &password, &account).await }
    };
    let answers = futures_util::future::join_all(asked.into_iter().map(ask)).await;
    assert_eq!(answers[40..], [Verdict::Wrong, Verdict::Right]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_blocks_nobody() {
    let (passwords, account) = (Passwords::new().expect("random"), account("sesame"));
    {
        let mut first = Box::pin(passwords.check(HERE, "ali", "sesame", &account));
        assert!(futures_util::poll!(first.as_mut()).is_pending());
    }
    assert_eq!(passwords.check(HERE, "ali", "sesame", &account).await, Verdict::Right);
    assert_eq!(passwords.0.queue.available_permits(), AT_ONCE + WAITING_MAX);
}

#[test]
fn the_memory_is_bounded() {
    let now = Instant::now();
    let mut verdicts = HashMap::new();
    for number in 0..VERDICTS_MAX as u64 + 100 {
        make_room(&mut verdicts, now);
        let mut mac = [0; 32];
        mac[..8].copy_from_slice(&number.to_be_bytes());
        verdicts.insert(mac, Entry::Known { right: true, until: now + RIGHT_FOR });
    }
    assert_eq!(verdicts.len(), VERDICTS_MAX);
}

#[test]
fn only_argon2id_counts_and_a_stand_in_costs_the_same() {
    let hash = cheap_hash("sesame");
    let account = Account::parse(&hash).expect("a good hash");
    assert_eq!(account.cost(), 8);
    let stand_in = account.stand_in().expect("random");
    assert_eq!(stand_in.cost(), account.cost());
    assert!(Argon2::default().verify_password(b"sesame", &account.hash).is_ok());
    assert!(Argon2::default().verify_password(b"sesame", &stand_in.hash).is_err());
    for wrong in ["", "sesame", &hash.replace("argon2id", "argon2i"), &hash[..hash.len() - 30], "$argon2id$v=19$m=8"] {
        assert!(Account::parse(wrong).is_none(), "{wrong}");
    }
}
