use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::time::{advance, sleep};

use super::*;

/// What the next fetch does.
enum Step {
    Gives(&'static str, u64),
    Fails(Mends, Option<u64>),
    Hangs,
}

/// A source that follows a script, and gives an hour when it is at its end. A fetch takes 100 ms.
#[derive(Clone, Default)]
struct Scripted(Arc<(Mutex<VecDeque<Step>>, AtomicUsize)>);

impl Scripted {
    fn fetches(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }
}

impl Source for Scripted {
    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, Failure>> {
        self.0.1.fetch_add(1, Ordering::SeqCst);
        let step = self.0.0.lock().pop_front().unwrap_or(Step::Gives("spare", 3600));
        async move {
            sleep(Duration::from_millis(100)).await;
            match step {
                Step::Gives(token, life) => {
                    Ok(Fetched { token: Token(token.into()), life: Duration::from_secs(life), notice: None })
                }
                Step::Fails(mends, after) => Err(Failure {
                    error: TokenError { detail: "the service is down".to_owned(), advice: None },
                    mends,
                    retry_after: after.map(Duration::from_secs),
                }),
                Step::Hangs => std::future::pending().await,
            }
        }
        .boxed()
    }
}

fn cache(steps: impl IntoIterator<Item = Step>) -> (Arc<Cache>, Scripted) {
    let source = Scripted::default();
    source.0.0.lock().extend(steps);
    (Cache::new("scripted", Box::new(source.clone())), source)
}

async fn token(cache: &Arc<Cache>) -> String {
    cache.token().await.unwrap().reveal().to_owned()
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn a_hundred_callers_share_one_fetch() {
    let (cache, source) = cache([Step::Gives("one", 3600)]);
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let cache = Arc::clone(&cache);
            tokio::spawn(async move { token(&cache).await })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), "one");
    }
    assert_eq!(source.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_goes_away_takes_nothing_from_the_others() {
    let (cache, source) = cache([Step::Gives("one", 3600)]);
    assert!(timeout(Duration::from_millis(10), cache.token()).await.is_err());
    assert_eq!(token(&cache).await, "one");
    assert_eq!(source.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_early_in_the_background() {
    let (cache, source) = cache([Step::Gives("one", 3600), Step::Gives("two", 3600)]);
    assert_eq!(token(&cache).await, "one");
    advance(secs(3600 - 725)).await;
    assert_eq!(token(&cache).await, "one");
    assert_eq!(source.fetches(), 1);
    // A fifth of the hour is left: this caller still gets the old one, at once.
    advance(secs(10)).await;
    let before = Instant::now();
    assert_eq!(token(&cache).await, "one");
    assert_eq!(Instant::now(), before);
    sleep(secs(1)).await;
    assert_eq!(token(&cache).await, "two");
    assert_eq!(source.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_in_its_last_seconds_is_not_handed_out() {
    let (cache, _) = cache([Step::Gives("one", 3600), Step::Gives("two", 3600)]);
    assert_eq!(token(&cache).await, "one");
    // It counts from the moment of asking, 100 ms before it came.
    advance(secs(3600 - 30)).await;
    assert!(!cache.status().has_token);
    assert_eq!(token(&cache).await, "two");
}

#[tokio::test(start_paused = true)]
async fn short_lives_are_used_and_not_renewed_with_each_call() {
    let (cache, source) = cache((0..200).map(|_| Step::Gives("short", 20)));
    let began = Instant::now();
    while Instant::now() - began < secs(200) {
        token(&cache).await;
        sleep(Duration::from_millis(50)).await;
    }
    assert!((10..=21).contains(&source.fetches()), "{}", source.fetches());
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_callers_get_the_error_at_once_until_the_pause_is_over() {
    let (cache, source) = cache([Step::Fails(Mends::ByItself, None)]);
    let error = cache.token().await.unwrap_err();
    assert_eq!(error.to_string(), "no token: the service is down");
    let before = Instant::now();
    assert_eq!(cache.token().await.unwrap_err(), error);
    assert_eq!((Instant::now(), source.fetches()), (before, 1));
    assert_eq!(cache.status().last_error.as_deref(), Some("the service is down"));
    advance(secs(1)).await;
    assert_eq!(token(&cache).await, "spare");
    assert_eq!(cache.status().last_error, None);
}

#[tokio::test(start_paused = true)]
async fn five_minutes_without_a_service_cost_few_tries_and_end_within_a_pause() {
    let down = (0..1000).map(|_| Step::Fails(Mends::ByItself, None));
    let (cache, source) = cache(down);
    let began = Instant::now();
    while Instant::now() - began < secs(300) {
        cache.token().await.unwrap_err();
        sleep(Duration::from_millis(100)).await;
    }
    assert!((8..=15).contains(&source.fetches()), "{} tries", source.fetches());
    source.0.0.lock().clear();
    let mended = Instant::now();
    while cache.token().await.is_err() {
        sleep(Duration::from_millis(100)).await;
    }
    assert!(Instant::now() - mended <= secs(61), "{:?}", Instant::now() - mended);
}

#[tokio::test(start_paused = true)]
async fn the_old_token_is_used_while_renewals_fail() {
    let steps = [Step::Gives("one", 3600), Step::Fails(Mends::ByHand, None), Step::Gives("two", 3600)];
    let (cache, source) = cache(steps);
    assert_eq!(token(&cache).await, "one");
    advance(secs(3000)).await;
    assert_eq!(token(&cache).await, "one");
    sleep(secs(1)).await;
    assert_eq!(token(&cache).await, "one");
    assert_eq!(source.fetches(), 2);
    assert!(cache.status().has_token && cache.status().last_error.is_some());
    sleep(secs(60)).await;
    assert_eq!(token(&cache).await, "one");
    sleep(secs(1)).await;
    assert_eq!(token(&cache).await, "two");
}

#[tokio::test(start_paused = true)]
async fn what_a_person_must_mend_is_asked_for_once_a_minute_and_never_given_up() {
    let (cache, source) = cache((0..10).map(|_| Step::Fails(Mends::ByHand, None)));
    cache.token().await.unwrap_err();
    advance(secs(44)).await;
    cache.token().await.unwrap_err();
    assert_eq!(source.fetches(), 1);
    for tries in 2..=10 {
        advance(secs(60)).await;
        cache.token().await.unwrap_err();
        assert_eq!(source.fetches(), tries);
    }
    advance(secs(60)).await;
    assert_eq!(token(&cache).await, "spare");
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured_up_to_five_minutes() {
    let (cache, source) = cache([Step::Fails(Mends::ByItself, Some(90)), Step::Fails(Mends::ByItself, Some(86_400))]);
    cache.token().await.unwrap_err();
    advance(secs(89)).await;
    cache.token().await.unwrap_err();
    assert_eq!(source.fetches(), 1);
    advance(secs(1)).await;
    cache.token().await.unwrap_err();
    assert_eq!(source.fetches(), 2);
    advance(secs(300)).await;
    assert_eq!(token(&cache).await, "spare");
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_fetched_again_once_in_thirty_seconds() {
    let (cache, source) = cache([Step::Gives("one", 3600), Step::Gives("two", 3600), Step::Gives("three", 3600)]);
    let one = cache.token().await.unwrap();
    let two = cache.instead_of(&one).await.unwrap().unwrap();
    assert_eq!((two.reveal(), token(&cache).await.as_str()), ("two", "two"));
    // Late news about the first one, and a refusal of the fresh one.
    assert_eq!(cache.instead_of(&one).await.unwrap().as_ref(), Some(&two));
    assert_eq!(cache.instead_of(&two).await.unwrap(), None);
    assert_eq!(token(&cache).await, "two");
    advance(secs(30)).await;
    assert_eq!(cache.instead_of(&one).await.unwrap().as_ref(), Some(&two));
    assert_eq!(cache.instead_of(&two).await.unwrap().unwrap().reveal(), "three");
    assert_eq!((source.fetches(), cache.status().fetched), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_hangs_is_a_failure() {
    let (cache, _) = cache([Step::Hangs]);
    let error = cache.token().await.unwrap_err();
    assert!(error.detail.contains("90s"), "{error}");
    sleep(secs(1)).await;
    assert_eq!(token(&cache).await, "spare");
}
