//! `gatepost run`: the gateway, until it is told to stop.

use std::io::{self, IsTerminal, Write};
use std::num::NonZero;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Context;
use futures_util::FutureExt as _;
use futures_util::future::{Fuse, FusedFuture as _};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use super::Global;
use crate::admin::Scrape;
use crate::app::Gateway;
use crate::app::reload::{self, Cause};
use crate::config::Config;
use crate::memory::Shares;
use crate::metrics;
use crate::net::handed_over;
use crate::telemetry;

/// Run the gateway.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Let debuggers look into the process, and the system keep its memory when it ends in a crash. Both show keys, tokens and
    /// events to whoever may read them.
    #[arg(long)]
    debuggable: bool,
}

/// Runs the command: until SIGTERM, which leaves time to balancers, or SIGINT, which leaves none. A second SIGTERM ends that time,
/// and the signal after it ends everything at once.
pub fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    give_memory_back();
    let unusable = handed_over::take();
    let closed = if args.debuggable { Ok(()) } else { close_memory() };
    let loaded = global.load_and_look()?;
    telemetry::init(&loaded.config.telemetry, |level| metrics::LOG_LINES.add(&[level], 1))?;
    loaded.tell(&global.config_name());
    if let Err(error) = closed {
        tracing::warn!(%error, "the process memory cannot be protected from debuggers and core dumps");
    }
    for socket in unusable {
        tracing::warn!(socket, "this was handed over by the service manager and is of no use");
    }
    raise_descriptors();
    let runtime = runtime()?;
    let ended = runtime.block_on(serve(loaded.config, global.config.clone()));
    // Nothing that the disk still holds up was promised to anybody.
    runtime.shutdown_timeout(LAST_WAIT);
    ended
}

/// How long what still works on the disk is waited for at the end.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Where memory is scarce, begins again with an allocator that gives freed memory back at once. By itself it keeps it for a
/// second, which under load is more than all that is in use. It can be told so only by its environment, before the process
/// begins; the process keeps its id.
fn give_memory_back() {
    const SETTINGS: [(&str, &str); 2] = [("MIMALLOC_PURGE_DELAY", "0"), ("MIMALLOC_ALLOW_THP", "0")];
    let is_set = SETTINGS.iter().any(|(name, _)| std::env::var_os(name).is_some());
    if is_set || !Shares::here().is_scarce() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| program.clone().into());
    // Returns only when that fails; then it runs as it is, within wider bounds.
    let error = Command::new(&program).arg0(name).args(arguments).envs(SETTINGS).exec();
    writeln!(io::stderr(), "gatepost: the allocator cannot be told to save memory: {error}").ok();
}

/// Blocking work here is short and bound by the processor (decompression, decoding, compression) or by one disk: more
/// threads than these would not make it faster, but each would keep buffers of its own.
fn runtime() -> anyhow::Result<Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().max_blocking_threads(cores + 2).build().context("no runtime can be made")
}

/// No core dump, no debugger of the same user: keys and tokens are in memory.
pub(super) fn close_memory() -> rustix::io::Result<()> {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
}

/// Takes as many file descriptors as the system allows: a tunnel needs two.
fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
}

async fn serve(config: Config, path: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::catch()?;
    let done = CancellationToken::new();
    let mut reloads = reload::watch(path.as_deref(), done.clone())?;
    let scrape = Scrape::install()?;
    let state_dir = config.state_dir.clone();
    // A task of its own: its work on the disk must not keep signals from being heard.
    let starting = tokio::spawn(Gateway::start(config, path.clone(), scrape));
    let gateway = tokio::select! {
        started = starting => started.context("the start ended")??,
        _ = signals.next() => {
            tracing::info!("stopped while it was starting");
            return Ok(ExitCode::SUCCESS);
        }
    };
    announce(&gateway, &state_dir, path.as_deref());
    notify(sd_notify::NotifyState::Ready);

    let told = until_told(&gateway, &mut signals, &mut reloads).await;
    notify(sd_notify::NotifyState::Stopping);
    done.cancel();
    if told == Told::Terminate {
        tokio::select! {
            () = gateway.leave() => {}
            _ = signals.next() => tracing::warn!("drain_grace is cut short by a second signal"),
        }
    }
    tracing::info!("stopping; another signal stops at once");
    tokio::select! {
        () = gateway.stop() => tracing::info!("stopped"),
        _ = signals.next() => tracing::warn!("stopped at once"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Reloads when asked to, until a signal tells to stop. A reload may take long, where a disk hangs; a signal is heard meanwhile.
async fn until_told(gateway: &Gateway, signals: &mut Signals, reloads: &mut Receiver<Cause>) -> Told {
    let mut reloading = pin!(Fuse::terminated());
    loop {
        tokio::select! {
            told = signals.next() => return told,
            Some(cause) = reloads.recv(), if reloading.is_terminated() => {
                tracing::info!(cause = cause.as_str(), "reloading the configuration");
                reloading.set(gateway.reload().fuse());
            }
            // Its answer is in the log and in a metric; there is nobody here to tell.
            _ = &mut reloading => {}
        }
    }
}

/// What tells the gateway to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// SIGTERM: balancers have time.
    Terminate,
    /// SIGINT: a person waits.
    Interrupt,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn catch() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::Terminate,
            _ = self.interrupt.recv() => Told::Interrupt,
        }
    }
}

/// Tells the service manager, if there is one.
fn notify(state: sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}

/// Says where everything is: in the log, and to a person who watches.
fn announce(gateway: &Gateway, state_dir: &Path, config: Option<&Path>) {
    let admin = gateway.admin_address();
    for (name, address) in gateway.upload_addresses() {
        tracing::info!(listener = name, %address, "uploads are taken");
    }
    for (name, address) in gateway.tunnel_addresses() {
        tracing::info!(listener = name, %address, oms_event_id = 101, "tunnels are served");
    }
    for (name, address) in handed_over::unused() {
        tracing::warn!(
            socket = name, %address,
            "the service manager holds this socket, and no listener has its address: who connects there waits in vain"
        );
    }
    let url = gateway.admin_url();
    tracing::info!(%admin, state_dir = %state_dir.display(), "ready");
    if !io::stderr().is_terminal() {
        return;
    }
    let mut text = String::from("\n");
    for (name, address) in gateway.upload_addresses() {
        text += &format!("  uploads ({name})   https://{address}\n");
    }
    for (name, address) in gateway.tunnel_addresses() {
        text += &format!("  tunnels ({name})   http://{address}\n");
    }
    text += &format!("  status            {url}/\n  metrics           {url}/metrics\n");
    text += &format!("  state             {}\n", state_dir.display());
    text += &match config {
        Some(path) => format!("  configuration     {}\n\n", path.display()),
        None => "  configuration     none: safe defaults on loopback (gatepost reference example)\n\n".to_owned(),
    };
    // A person who has closed the terminal needs no announcement.
    drop(io::stderr().write_all(text.as_bytes()));
}

#[cfg(test)]
mod tests {
    use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};

    use super::*;

    #[test]
    fn the_memory_of_the_process_is_closed_to_debuggers_and_core_dumps() {
        close_memory().expect("the system can do that");
        assert_eq!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable));
        assert_eq!(getrlimit(Resource::Core).maximum, Some(0));
    }
}
