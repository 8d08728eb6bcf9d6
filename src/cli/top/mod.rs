//! `gatepost top`: the status page in a terminal, second by second.
//!
//! A thread asks the gateway, so that keys are heard while an answer is waited for; [`view`] draws what was answered last. Nothing is
//! kept and nothing is changed.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use anyhow::Context as _;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use serde_json::Value;

use super::admin_plane::{AdminPlane, At};
use super::{Global, Usage};
use crate::config::Config;

mod view;

use view::{Panel, View};

/// How often the gateway is asked.
const EVERY: Duration = Duration::from_secs(1);

/// How long it may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How often keys are looked for.
const KEYS_EVERY: Duration = Duration::from_millis(100);

/// Hosts that are asked for: more than anybody scrolls through.
const HOSTS: usize = 200;

/// Watch the running gateway in this terminal. q ends it, tab changes the table, the arrows move in it
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    at: At,
}

/// What the gateway said.
#[derive(Debug, Default, Clone)]
struct Said {
    status: Value,
    history: Value,
    hosts: Value,
    log: Value,
}

/// Runs the command.
pub fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    if global.json || !std::io::stdout().is_terminal() {
        return Err(Usage("top draws in a terminal; for scripts there is `gatepost status --json`").into());
    }
    let config = if args.at.is_given() { Config::default() } else { global.load()? };
    let admin = AdminPlane::at(&args.at, &config)?;
    let (tell, told) = mpsc::sync_channel(1);
    std::thread::spawn(move || follow(&admin, &tell));
    let mut terminal = ratatui::try_init().context("the terminal cannot be used")?;
    let ended = watch(&mut terminal, &told);
    ratatui::restore();
    ended.map(|()| ExitCode::SUCCESS)
}

/// Asks until nobody listens any more.
fn follow(admin: &AdminPlane, tell: &SyncSender<anyhow::Result<Said>>) {
    while tell.send(ask(admin)).is_ok() {
        std::thread::sleep(EVERY);
    }
}

fn ask(admin: &AdminPlane) -> anyhow::Result<Said> {
    let get = |path: &str| admin.get(path, TIMEOUT);
    Ok(Said {
        status: get("status")?,
        history: get("history")?,
        hosts: get(&format!("hosts?limit={HOSTS}"))?,
        log: get("log")?,
    })
}

fn watch(terminal: &mut ratatui::DefaultTerminal, told: &Receiver<anyhow::Result<Said>>) -> anyhow::Result<()> {
    let mut view = View::default();
    loop {
        match told.recv_timeout(KEYS_EVERY) {
            Ok(Ok(said)) => view.take(said),
            Ok(Err(error)) => view.fail(format!("{error:#}")),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => anyhow::bail!("asking the gateway ended"),
        }
        terminal.draw(|frame| view.draw(frame)).context("the terminal cannot be drawn")?;
        while event::poll(Duration::ZERO).context("keys cannot be read")? {
            if let Event::Key(key) = event::read()?
                && key.kind != KeyEventKind::Release
                && !press(&mut view, key)
            {
                return Ok(());
            }
        }
    }
}

/// Does what a key asks for; false when that is to end.
fn press(view: &mut View, key: KeyEvent) -> bool {
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => return false,
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return false,
        KeyCode::Tab | KeyCode::Right => view.turn_to(view.panel().next()),
        KeyCode::BackTab | KeyCode::Left => view.turn_to(view.panel().before()),
        KeyCode::Char(digit @ '1'..='5') => view.turn_to(Panel::ALL[digit as usize - '1' as usize]),
        KeyCode::Down | KeyCode::Char('j') => view.move_by(1),
        KeyCode::Up | KeyCode::Char('k') => view.move_by(-1),
        KeyCode::PageDown => view.move_by(10),
        KeyCode::PageUp => view.move_by(-10),
        _ => {}
    }
    true
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod view_tests;
