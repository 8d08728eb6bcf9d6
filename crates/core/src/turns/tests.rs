use parking_lot::Mutex;

use super::*;

const LARGE: u64 = 64 << 20;

fn who(name: &str) -> Who {
    Who::new(&name.into(), None)
}

/// Every look at the clock ends a slice.
fn impatient(cores: usize, places: usize) -> Turns {
    Turns::new(cores, places, Duration::ZERO)
}

/// What was done, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<&'static str>>>);

impl Log {
    fn note(&self, what: &'static str) {
        self.0.lock().push(what);
    }

    fn taken(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.0.lock())
    }
}

/// Goes on in slices until it is told to stop.
fn bomb(log: &Log, name: &'static str, until: &Arc<std::sync::atomic::AtomicBool>) -> impl FnOnce(&Turn) + use<> {
    let (log, until) = (log.clone(), Arc::clone(until));
    move |turn| {
        while !until.load(std::sync::atomic::Ordering::Relaxed) {
            log.note(name);
            turn.give_way();
        }
    }
}

async fn settle() {
    tokio::time::sleep(Duration::from_millis(30)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_upload_waits_for_one_slice_of_each_other_client_at_most() {
    let (turns, log) = (impatient(1, 4), Log::default());
    let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let bombs: Vec<_> = ["a", "b", "c", "d"]
        .into_iter()
        .map(|name| {
            let (turns, work) = (turns.clone(), bomb(&log, name, &over));
            tokio::spawn(async move { turns.run(&who(name), LARGE, work).await })
        })
        .collect();
    settle().await;
    // Between noting that it asks and asking, whoever asks may lose its core for a while: such rounds are few.
    let mut put_off = 0;
    for _ in 0..20 {
        let noted = log.clone();
        let (began, ended) = (log.clone(), log.clone());
        began.note("asked");
        turns.run(&who("good"), 1000, move |_| noted.note("done")).await.expect("it is done");
        let order = ended.taken();
        let asked = order.iter().rposition(|what| *what == "asked").expect("it was noted");
        let done = order.iter().rposition(|what| *what == "done").expect("it was noted");
        // Who has the turn when it is asked ends its slice, and may have begun to note the next.
        let slices = |name: &str| order[asked..done].iter().filter(|what| **what == name).count();
        put_off += usize::from(["a", "b", "c", "d"].into_iter().any(|name| slices(name) > 2));
    }
    assert!(put_off <= 4, "in {put_off} of 20 rounds others had more than a slice first");
    over.store(true, std::sync::atomic::Ordering::Relaxed);
    for bomb in bombs {
        assert_eq!(bomb.await.expect("it was not cut"), Ok(()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_work_of_two_clients_takes_turns_slice_by_slice() {
    let (turns, log) = (impatient(1, 2), Log::default());
    let counted = |name| {
        let (turns, log) = (turns.clone(), log.clone());
        async move {
            let work = move |turn: &Turn| {
                // Waits for the other to be there, so that there is somebody to give way to.
                std::thread::sleep(Duration::from_millis(20));
                for _ in 0..50 {
                    log.note(name);
                    turn.give_way();
                }
                turn.slices()
            };
            turns.run(&who(name), LARGE, work).await.expect("it is done")
        }
    };
    let (a, b) = tokio::join!(tokio::spawn(counted("a")), tokio::spawn(counted("b")));
    let slices = [a.expect("it is done"), b.expect("it is done")];
    assert!(slices.iter().all(|slices| *slices > 20), "{slices:?}");
    let alternations = log.taken().windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(alternations > 40, "{alternations}");
}

#[tokio::test]
async fn who_is_alone_gives_way_to_nobody_and_who_gives_up_leaves_the_queue() {
    let turns = impatient(1, 1);
    let slices = turns
        .run(&who("a"), LARGE, |turn| {
            (0..100).for_each(|_| turn.give_way());
            turn.slices()
        })
        .await;
    assert_eq!(slices, Ok(1));

    let held = Fair::take(&turns.cores, &who("a"), 1).await.expect("it is free");
    let b = who("b");
    let waiting = tokio::time::timeout(Duration::from_millis(1), turns.run(&b, 1, |_| ()));
    assert!(waiting.await.is_err(), "somebody has the only turn");
    drop(held);
    assert_eq!(turns.run(&who("c"), 1, |_| ()).await, Ok(()));
}

#[tokio::test]
async fn work_that_panics_gives_its_turn_back() {
    let turns = impatient(1, 1);
    for bytes in [1, LARGE] {
        assert_eq!(turns.run(&who("a"), bytes, |_| panic!("as told")).await, Err::<(), _>(Ended::Panicked));
    }
    assert_eq!(turns.run(&who("a"), LARGE, |_| ()).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brief_work_is_done_where_it_is_asked_for_until_it_proves_to_be_long() {
    let (turns, who) = (impatient(1, 1), who("a"));
    let thread = || std::thread::current().id();
    let asked = tokio::spawn(async move {
        let brief = turns.run_brief(&who, 1000, move |_| thread()).await;
        let mut is_here = vec![(brief, thread())];
        let long = |_: &Turn| {
            let clock = lengthy::Clock::start();
            while clock.used() < Duration::from_millis(3) {}
        };
        assert_eq!(turns.run_brief(&who, 1000, long).await, Ok(()));
        let sent_away = turns.run_brief(&who, 1000, move |_| thread()).await;
        is_here.push((sent_away, thread()));
        let large = turns.run_brief(&super::Who::default(), BRIEF + 1, move |_| thread()).await;
        is_here.push((large, thread()));
        assert_eq!(
            turns.run_brief(&super::Who::default(), 1, |_| panic!("as told")).await,
            Err::<(), _>(Ended::Panicked)
        );
        assert_eq!(turns.run_brief(&super::Who::default(), 1, |_| ()).await, Ok(()), "the turn was given back");
        is_here.into_iter().map(|(worked, asked)| worked == Ok(asked)).collect::<Vec<_>>()
    });
    assert_eq!(asked.await.expect("it is not cut"), [true, false, false]);
}

#[test]
fn the_time_of_work_begins_when_a_thread_takes_it_up() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).max_blocking_threads(1).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let busy = tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(500)));
        let used = Turns::new(2, 2, SLICE).run(&who("small"), 1000, Turn::used).await.expect("it is done");
        busy.await.expect("it only sleeps");
        assert!(used < Duration::from_millis(400), "the wait for a thread counts as {used:?}");
    });
}
