//! The main loop: signals, hand-overs, and the end.

use std::ffi::CString;
use std::future::pending;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::tasks::Orders;
use super::{Passing, Proxy};
use crate::cli::reload::Door;
use crate::cli::signals::{Asked, Signals};
use crate::cli::upgrade::{self, Giving, Program};
use crate::control::changed;
use crate::observe::log;
use crate::provider::Change;

/// For control tasks to end once they were told.
const TASKS_END: Duration = Duration::from_secs(5);
/// As Rust's own for a panic.
const PANICKED: u8 = 101;
/// For every provider to have spoken at a start, before what there is is served.
const FIRST: Duration = Duration::from_secs(2);
/// The same where an entry point's port is shared.
const SHARED_FIRST: Duration = Duration::from_secs(10);
/// For every provider to have spoken, before a hand-over is given up.
const LOAD: Duration = Duration::from_secs(60);

/// How the main loop ends.
enum End {
    /// Everything ends.
    Stop(ExitCode),
    /// Another process accepts.
    Leave(Box<Giving>),
}

/// How far things are.
pub(super) struct Course {
    passing: Passing,
    pub(super) ending: CancellationToken,
    pub(super) tasks: JoinSet<()>,
    changes: mpsc::Sender<Change>,
    /// Accepting, or given up.
    is_open: bool,
    orders: Option<Orders>,
    /// Until the process before leaves us what only one may do.
    released: Option<LocalBoxFuture<'static, ()>>,
    /// The process that is to follow.
    giving: Option<Giving>,
    /// Told when the static configuration's file has changed.
    news: Arc<Notify>,
}

impl Proxy {
    pub(super) async fn control(
        mut self,
        stopping: &CancellationToken,
        passing: Passing,
    ) -> ExitCode {
        let mut signals = match Signals::new() {
            Ok(signals) => signals,
            Err(error) => {
                eprintln!("wharf: listen to signals: {error}");
                return ExitCode::FAILURE;
            }
        };
        let patience = if passing.taking.is_some() { LOAD } else { self.patience() };
        let (mut on, loaded) = self.begin(passing);
        let door = Door::open();
        let mut patience = pin!(sleep(patience));
        let mut watchdog = upgrade::notify::Watchdog::of_this_process();
        // The demo's project hears the same signals, and may have said so first.
        let mut signals_due = 1;
        let end = loop {
            let end = tokio::select! {
                () = stopping.cancelled() => {
                    signals_due = 2;
                    Some(End::Stop(ExitCode::SUCCESS))
                }
                asked = signals.next() => self.asked(asked, &mut on).await,
                () = loaded.cancelled(), if !on.is_open => {
                    self.open(&mut on);
                    None
                }
                () = patience.as_mut(), if !on.is_open => self.out_of_patience(&mut on),
                () = released_of(&mut on.released) => {
                    on.released = None;
                    self.read_certificates(&on.changes).await;
                    self.begin_orders(&mut on);
                    None
                }
                () = watchdog.due() => {
                    upgrade::notify::tell("WATCHDOG=1");
                    None
                }
                () = on.news.notified(), if self.context.settings.wharf.watch => {
                    self.reload(&mut on).await;
                    None
                }
                asker = door.next() => {
                    let report = self.reload(&mut on).await;
                    on.tasks.spawn_local(asker.tell(report));
                    None
                }
                accepted = accepted_by(&mut on.giving) => follows(accepted, &mut on),
                Some(ended) = on.tasks.join_next() => panicked(ended),
            };
            if let Some(end) = end {
                break end;
            }
        };
        self.finish(end, on, signals, signals_due).await
    }

    /// Starts the tasks. What is given besides is cancelled once the table is whole.
    fn begin(&mut self, passing: Passing) -> (Course, CancellationToken) {
        let (ending, loaded) = (CancellationToken::new(), CancellationToken::new());
        let (mut tasks, changes) = self.spawn(&loaded, &ending);
        let news = Arc::new(Notify::new());
        if let Some(file) = &self.file {
            tasks.spawn_local(changed::follow(file.clone(), Arc::clone(&news), ending.clone()));
        }
        let (is_open, orders, released, giving) = (false, None, None, None);
        let mut on =
            Course { passing, ending, tasks, changes, is_open, orders, released, giving, news };
        if on.passing.taking.is_none() {
            self.begin_orders(&mut on);
            upgrade::notify::tell("READY=1");
        }
        (on, loaded)
    }

    /// Lets everything end in its order.
    async fn finish(
        mut self,
        end: End,
        mut on: Course,
        mut signals: Signals,
        signals_due: u8,
    ) -> ExitCode {
        let status = match end {
            End::Leave(giving) => {
                let left = self.leave(*giving, on.orders.take(), &mut signals).await;
                left.unwrap_or(ExitCode::SUCCESS)
            }
            End::Stop(status) => {
                if let Some(giving) = &mut on.giving {
                    giving.give_up();
                }
                self.stop(&mut signals, signals_due).await.unwrap_or(status)
            }
        };
        on.ending.cancel();
        let all = async { while on.tasks.join_next().await.is_some() {} };
        if timeout(TASKS_END, all).await.is_err() {
            tracing::warn!("control tasks did not end in time");
        }
        tracing::info!("Shutting down");
        for access_log in self.observed.access_logs() {
            access_log.close();
        }
        status
    }

    async fn asked(&mut self, asked: Asked, on: &mut Course) -> Option<End> {
        match asked {
            Asked::Stop => return Some(End::Stop(ExitCode::SUCCESS)),
            Asked::Reopen => self.reopen(),
            Asked::Upgrade
                if on.giving.is_some() || on.passing.taking.is_some() || on.released.is_some() =>
            {
                tracing::warn!("SIGUSR2: a hand-over is under way already");
            }
            Asked::Upgrade => on.giving = self.give(on.passing.program.as_ref()),
            Asked::Reload => drop(self.reload(on).await),
        }
        None
    }

    fn begin_orders(&mut self, on: &mut Course) {
        on.orders = Some(self.order(&mut on.tasks, &on.changes, &on.ending));
    }

    /// The table is whole.
    fn open(&self, on: &mut Course) {
        on.is_open = true;
        self.workers.open();
        if let Some(taking) = on.passing.taking.take() {
            tracing::info!("this process accepts from now on");
            taking.accepts();
            on.released = Some(Box::pin(taking.released()));
        }
    }

    /// Some provider has not spoken for too long.
    fn out_of_patience(&self, on: &mut Course) -> Option<End> {
        on.is_open = true;
        let Some(taking) = on.passing.taking.take() else {
            self.workers.open();
            tracing::warn!("not every provider has spoken: serving what is known");
            return None;
        };
        let why = "not every provider has spoken, so that its table is not whole";
        tracing::error!("giving up after {} s: {why}", LOAD.as_secs());
        taking.fails(why);
        Some(End::Stop(ExitCode::FAILURE))
    }

    /// How long clients wait for the first table: longer where another process may serve them
    /// on the same port meanwhile.
    fn patience(&self) -> Duration {
        let mut points = self.context.settings.entry_points.values();
        if points.any(|point| point.reuse_port) { SHARED_FIRST } else { FIRST }
    }

    /// Starts a process that follows.
    fn give(&self, program: Option<&Program>) -> Option<Giving> {
        let refused = if let Some(why) = upgrade::would_end_all() {
            why.to_owned()
        } else if let Some(program) = program {
            let sockets = self.workers.sockets().map_err(|error| error.to_string());
            match sockets.and_then(|sockets| Giving::begin(program, &sockets)) {
                Ok(giving) => {
                    let id = giving.id().unwrap_or_default();
                    tracing::info!("SIGUSR2: process {id} is started to take over");
                    return Some(giving);
                }
                Err(why) => why,
            }
        } else {
            "this proxy belongs to another command".to_owned()
        };
        tracing::error!("SIGUSR2: no upgrade: {refused}");
        None
    }

    /// Leaves everything to the new process but the connections that are here.
    async fn leave(
        &mut self,
        giving: Giving,
        orders: Option<Orders>,
        signals: &mut Signals,
    ) -> Option<ExitCode> {
        let id = giving.id().unwrap_or_default();
        let limit = self.context.settings.wharf.upgrade_timeout.or_zero();
        tracing::info!("process {id} accepts; this one finishes its connections");
        upgrade::notify::tell(&format!("MAINPID={id}\nREADY=1"));
        // Seen in `ps`, and by `wharf upgrade`; nothing depends on it.
        let _ = rustix::thread::set_name(&CString::new(upgrade::LEAVING).unwrap_or_default());
        let left = async {
            if let Some(orders) = orders {
                orders.stop.cancel();
                // What hangs longer is cut by the new process's limit.
                let _ = timeout(TASKS_END, orders.ended.cancelled()).await;
            }
            giving.release().await;
            self.workers.leave(limit).await;
        };
        let is_told = tokio::select! {
            () = left => false,
            () = async { while signals.next().await != Asked::Stop {} } => true,
        };
        if is_told { self.stop(signals, 1).await } else { None }
    }

    /// Lets requests in flight end; a status when that many more signals cut that short.
    async fn stop(&mut self, signals: &mut Signals, signals_due: u8) -> Option<ExitCode> {
        tracing::info!("I have to go...");
        tracing::info!("Stopping server gracefully");
        self.terminating.cancel();
        let again = async {
            for _ in 0..signals_due {
                while signals.next().await != Asked::Stop {}
            }
        };
        // Dropping the drain is safe: `stop` takes over whatever it left.
        let is_cut = tokio::select! {
            () = self.workers.drain() => false,
            () = again => true,
        };
        if is_cut {
            tracing::warn!("told to stop again: cutting what is in flight");
            self.workers.stop().await;
        }
        tracing::info!("Server stopped");
        is_cut.then_some(ExitCode::FAILURE)
    }

    fn reopen(&self) {
        log::reopen();
        for access_log in self.observed.access_logs() {
            access_log.reopen();
        }
        tracing::info!("log files are opened anew");
    }
}

/// Waits for what may be there.
async fn released_of(released: &mut Option<LocalBoxFuture<'static, ()>>) {
    match released {
        Some(future) => future.await,
        None => pending().await,
    }
}

async fn accepted_by(giving: &mut Option<Giving>) -> Result<(), String> {
    match giving {
        Some(giving) => giving.accepted().await,
        None => pending().await,
    }
}

/// Whether the new process follows.
fn follows(accepted: Result<(), String>, on: &mut Course) -> Option<End> {
    let giving = on.giving.take();
    match accepted {
        Ok(()) => giving.map(|giving| End::Leave(Box::new(giving))),
        Err(why) => {
            tracing::error!("the new process does not take over: {why}; this one goes on");
            None
        }
    }
}

fn panicked(ended: Result<(), JoinError>) -> Option<End> {
    // A control side that is half dead is worse than a restart.
    ended.is_err_and(|error| error.is_panic()).then(|| {
        tracing::error!("a control task ended in a panic, stopping");
        End::Stop(ExitCode::from(PANICKED))
    })
}
