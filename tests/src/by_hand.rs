//! Network functions that somebody else than `onvm-run` starts.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::{manager::SOON, process};

/// A network function started by hand; killed when dropped.
#[derive(Debug)]
pub struct ByHand(Child);

impl ByHand {
    /// Once the socket of its instance is there.
    pub fn start(command: Command, socket: &Path) -> Self {
        let found = process::wait_for(SOON, || socket.exists().then_some(()));
        assert!(found.is_some(), "{} does not appear", socket.display());
        Self::spawn(command, socket)
    }

    fn spawn(mut command: Command, socket: &Path) -> Self {
        command.env("ONVM_NF_SOCKET", socket).stdin(Stdio::null());
        Self(command.spawn().expect("the program can be started"))
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// How it ended, if it has.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("a child can be waited for")
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a network function again whenever it has ended, and ends it when it has lived for long. Stops when dropped.
#[derive(Debug)]
pub struct Stubborn {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Stubborn {
    /// `command` makes the command of each life; the socket is where the instance's will be, or has been.
    pub fn start(
        command: impl Fn() -> Command + Send + 'static,
        socket: PathBuf,
        longest_life: Duration,
    ) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let until = over.clone();
        let lives = move || {
            while !until.load(Ordering::Relaxed) {
                // Between two lives there is none for a moment.
                if socket.exists() {
                    live(ByHand::spawn(command(), &socket), &until, longest_life);
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        Self {
            over,
            thread: Some(std::thread::spawn(lives)),
        }
    }
}

fn live(mut nf: ByHand, over: &AtomicBool, longest: Duration) {
    let began = Instant::now();
    while nf.status().is_none() && !over.load(Ordering::Relaxed) && began.elapsed() < longest {
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Drop for Stubborn {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
