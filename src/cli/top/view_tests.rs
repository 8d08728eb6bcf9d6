//! What `gatepost top` draws, on a terminal that is made of memory.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::json;

use super::view::{Panel, View};
use super::{Said, press};

fn said() -> Said {
    Said {
        status: json!({
            "version": "0.1.0", "uptime_seconds": 7_300, "ready": true, "not_ready_because": [],
            "account": {
                "total": { "received": 90, "duplicate": 20, "filtered": 10 },
                "inputs": { "agents": { "received": 90, "filtered": 10, "duplicate": 20, "set_aside": 0, "spooled": 60 } },
            },
            "saved": { "duplicate_gigabytes_a_day": 1.25, "filtered_gigabytes_a_day": 0.5 },
            "spool": { "full": 0.25, "seconds_to_full": 7_300.0 },
            "needs": [
                { "weight": "bad", "text": "Output soc: nothing was taken for 30 s, 7 events wait." },
                { "weight": "warn", "text": "3 dead letters wait" },
            ],
            "outputs": [
                { "name": "soc", "state": "running", "stalled_seconds": 30.0, "pending": 7, "oldest_pending_seconds": 31.0,
                  "forwarded": 53, "last_error": { "detail": "503 busy" },
                  "endpoints": [
                    { "name": "a", "state": "closed", "ewma_ms": 12.4, "in_flight": 1, "limit": 4 },
                    { "name": "b", "state": "open", "ewma_ms": 9.0, "in_flight": 0, "limit": 4 },
                  ] },
                { "name": "lake", "state": "cannot start", "because": { "reason": "no such folder" } },
            ],
        }),
        history: json!({ "minute": [{ "received": 3.0, "forwarded": 2.0, "pending": 7 }, { "received": 8.0, "forwarded": 2.0, "pending": 9 }] }),
        hosts: json!({ "hosts": [
            { "computer": "PLANT-7\u{1b}[31m", "client": "plant", "silent": true, "quiet_seconds": 9_000, "events_per_second": 0.0, "lag_seconds": 2.0, "input": "agents", "address": "192.0.2.7" },
            { "computer": "WEB-1", "client": "web", "silent": false, "quiet_seconds": 1, "events_per_second": 4.2, "lag_seconds": null, "input": "agents", "address": null },
        ] }),
        log: json!({ "lines": [
            { "number": 1, "at_ms": 1, "level": "info", "message": "spool opened", "fields": {} },
            { "number": 2, "at_ms": 2, "level": "error", "message": "an output makes no progress", "fields": { "output": "soc" } },
        ] }),
    }
}

/// The screen as text.
fn drawn(view: &mut View) -> String {
    let mut terminal = Terminal::new(TestBackend::new(120, 30)).expect("a terminal of memory");
    terminal.draw(|frame| view.draw(frame)).expect("it is drawn");
    terminal.backend().to_string()
}

fn key(view: &mut View, code: KeyCode) -> bool {
    press(view, KeyEvent::new(code, KeyModifiers::NONE))
}

#[test]
fn the_screen_shows_what_the_status_says_and_what_needs_a_person() {
    let mut view = View::default();
    assert!(drawn(&mut view).contains("asking"));
    view.take(said());
    let screen = drawn(&mut view);
    for shown in [
        "gatepost 0.1.0, up 2 h, ready",
        "duplicate 20 (1.25 GB/day)",
        "filtered 10 (0.50 GB/day)",
        "spool 25 %, full in 2 h",
        "!! Output soc: nothing was taken for 30 s, 7 events wait.",
        " ! 3 dead letters wait",
        "received/s 8",
        "waiting 9",
        "stalled 30 s",
        "503 busy",
        "cannot start",
        "no such folder",
    ] {
        assert!(screen.contains(shown), "{shown} is not in\n{screen}");
    }
    view.fail("connection refused".to_owned());
    let screen = drawn(&mut view);
    assert!(
        screen.contains("no answer: connection refused") && screen.contains("soc"),
        "what was known stays\n{screen}"
    );
}

#[test]
fn every_table_is_reached_by_keys_and_moves_by_them() {
    let mut view = View::default();
    view.take(said());
    for (panel, shown) in [
        (Panel::Endpoints, "in use"),
        (Panel::Inputs, "agents"),
        (Panel::Hosts, "PLANT-7"),
        (Panel::Log, "an output makes no progress  output=soc"),
        (Panel::Outputs, "stalled 30 s"),
    ] {
        assert!(key(&mut view, KeyCode::Tab));
        let screen = drawn(&mut view);
        assert!(view.panel() == panel && screen.contains(shown), "{shown} is not in\n{screen}");
        assert!(!screen.contains('\u{1b}'), "a name moves no cursor");
    }
    key(&mut view, KeyCode::Char('4'));
    key(&mut view, KeyCode::Down);
    let screen = drawn(&mut view);
    assert!(!screen.contains("PLANT-7") && screen.contains("WEB-1"), "{screen}");
    (0..100).for_each(|_| assert!(key(&mut view, KeyCode::PageDown)));
    assert!(drawn(&mut view).contains("WEB-1"), "the last row stays");
    assert!(!key(&mut view, KeyCode::Char('q')) && !key(&mut view, KeyCode::Esc));
}
