use super::super::registry::{Change, Proof, State};
use super::*;

fn agent(name: &str) -> Agent {
    Agent {
        workspace: "w".into(),
        agent: format!("agent-{name}").into(),
        computer: name.into(),
        system: None,
        certificate: name.into(),
        windows_thumbprint: "X".into(),
        valid_s: [0, 0],
        registered_s: 1,
        seen_s: 0,
        seen_at_use_s: 0,
        is_confirmed: false,
    }
}

fn call(events: u64) -> Call<'static> {
    static LISTENER: std::sync::LazyLock<Arc<str>> = std::sync::LazyLock::new(|| "agents".into());
    let (address, silent_after) = ([10, 0, 0, 1].into(), Duration::from_secs(600));
    Call {
        listener: &LISTENER,
        address,
        version: Some("1.2"),
        name: Some("Agent/1"),
        platform: Some("Linux"),
        events,
        silent_after,
    }
}

#[tokio::test(start_paused = true)]
async fn the_busiest_come_first_and_who_says_nothing_is_silent() {
    let (watch, mut state) = (Watch::default(), State::default());
    for name in ["a", "b", "c"] {
        state.apply(Change::Register(Box::new(agent(name)), Proof::Shown), 1).expect("there is room");
    }
    assert_eq!(watch.note(&agent("a"), &call(1)), Some(Duration::ZERO), "it was not seen before");
    assert_eq!(watch.note(&agent("a"), &call(0)), None, "once is enough for now");
    watch.note(&agent("b"), &call(1000));
    let shown = watch.shown(&state, 2);
    assert_eq!((shown.known, shown.silent), (3, 0));
    let names: Vec<&str> = shown.first.iter().map(|agent| &*agent.computer).collect();
    assert_eq!(names, ["b", "a"], "the busiest, and no more than asked for");
    assert_eq!((shown.first[0].version.as_deref(), shown.first[0].events), (Some("1.2"), 1000));
    assert!(shown.first[0].events_per_second > 1.0);
    tokio::time::advance(Duration::from_secs(601)).await;
    watch.note(&agent("b"), &call(0));
    assert_eq!(watch.shown(&state, 3).silent, 1, "a is silent; c may come, the gateway has just started");
    tokio::time::advance(Duration::from_secs(3000)).await;
    assert_eq!(watch.shown(&state, 3).silent, 3);
}

#[tokio::test(start_paused = true)]
async fn that_known_agents_are_still_there_is_written_together() {
    let watch = Watch::default();
    let known = |name: &str| Agent { is_confirmed: true, ..agent(name) };
    tokio::time::advance(Duration::from_secs(100)).await;
    let first = watch.note(&known("a"), &call(0)).expect("it was seen a day ago");
    tokio::time::advance(Duration::from_secs(300)).await;
    let second = watch.note(&known("b"), &call(0)).expect("so was this");
    assert_eq!(first, second + Duration::from_secs(300), "at one time");
    assert_eq!(watch.note(&known("a"), &call(0)), None, "it waits to be written");
    tokio::time::advance(second + ASKED_EVERY).await;
    assert!(watch.note(&known("a"), &call(0)).is_some(), "it should have been");
}

#[tokio::test(start_paused = true)]
async fn who_is_registered_no_more_is_forgotten() {
    let watch = Watch::default();
    watch.note(&agent("a"), &call(1));
    watch.tidy(&State::default());
    assert!(watch.live().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_first_refresh_is_asked_for_once_with_each_certificate_of_an_agent() {
    let watch = Watch::default();
    watch.note(&agent("a"), &call(0));
    assert!(watch.first_refresh(&agent("a")));
    assert!(!watch.first_refresh(&agent("a")));
    let renewed = Agent { certificate: "renewed".into(), ..agent("a") };
    assert!(watch.first_refresh(&renewed), "of each certificate");
    watch.note(&renewed, &call(5));
    assert!(watch.first_refresh(&renewed) && !watch.first_refresh(&renewed));
    assert_eq!(watch.live().values().map(|live| live.events).collect::<Vec<_>>(), [5], "it is the same agent");
}
