//! `onvmc status --watch`: the status again and again, in place on a terminal, one below the other elsewhere.

use std::{
    io::{IsTerminal, stdout},
    time::{Duration, Instant},
};

use onvm_api::{Client, ClientError, Status};
use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
};

use super::{Outcome, client::Failure, output::Output};

/// For a manager that does not answer any more to remove its socket, as one that stops in order does.
const END: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(20);

/// The terminal's second screen, which leaves the first as it was; the end of that.
const ENTER: &str = "\u{1b}[?1049h";
const LEAVE: &str = "\u{1b}[?1049l";

/// Shows it until the manager stops or somebody has seen enough.
pub(super) fn run(
    out: &Output,
    client: &Client,
    period: Duration,
    look: impl Fn() -> Result<Status, ClientError>,
    show: impl Fn(&Status) -> String,
) -> Outcome {
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(e) => {
            out.error("signals", &format!("signals cannot be watched: {e}"));
            return Outcome::Refused;
        }
    };
    let in_place = !out.json && stdout().is_terminal();
    if in_place {
        out.data(ENTER);
    }
    let mut last = None;
    let ended = loop {
        let began = Instant::now();
        match look() {
            Ok(status) => {
                let text = show(&status);
                match (in_place, out.json) {
                    (true, _) => out.data(&frame(&text)),
                    (false, false) if last.is_some() => out.data(&format!("\n{text}")),
                    (false, _) => out.data(&text),
                }
                last = Some(text);
            }
            Err(e) => break Some(e),
        }
        if out.is_unread() || signals.come_within(period.saturating_sub(began.elapsed())) {
            break None;
        }
    };
    if in_place {
        // The last output stays.
        out.data(LEAVE);
        out.data(&last.clone().unwrap_or_default());
    }
    match ended {
        None => Outcome::Done,
        Some(_) if last.is_some() && goes_within(client, END) => {
            out.note("The manager has stopped.");
            Outcome::Done
        }
        Some(e) => Failure::from(e).report(out),
    }
}

/// Every line at its place. What is below the last row of the terminal is written over that row, so that nothing scrolls and the
/// balance, the last line, is seen always.
fn frame(text: &str) -> String {
    let mut frame = String::new();
    for (n, line) in text.lines().enumerate() {
        frame.push_str(&format!("\u{1b}[{};1H\u{1b}[2K{line}", n + 1));
    }
    frame + "\u{1b}[J"
}

/// SIGINT and SIGTERM, which end the command in order.
struct Signals {
    runtime: Runtime,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let entered = runtime.enter();
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        drop(entered);
        Ok(Self {
            runtime,
            interrupt,
            terminate,
        })
    }

    fn come_within(&mut self, time: Duration) -> bool {
        let Self {
            runtime,
            interrupt,
            terminate,
        } = self;
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => true,
                _ = terminate.recv() => true,
                () = tokio::time::sleep(time) => false,
            }
        })
    }
}

/// Whether the manager removes its socket in that time.
fn goes_within(client: &Client, time: Duration) -> bool {
    let began = Instant::now();
    while client.is_left() {
        if began.elapsed() >= time {
            return false;
        }
        std::thread::sleep(LOOK);
    }
    true
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_frame_never_scrolls() {
        let text = super::frame("a\nb\n");
        assert_eq!(text, "\u{1b}[1;1H\u{1b}[2Ka\u{1b}[2;1H\u{1b}[2Kb\u{1b}[J");
        assert!(!text.contains('\n'));
    }
}
