//! How a worker sleeps when nothing comes.

use std::time::Duration;

use nflib::bell::{Bell, sleep_on_any};

use super::Link;

/// While a port must be polled, a sleep is this long, so that the first packet after idle meets less than 100 us.
const BETWEEN_POLLS: Duration = Duration::from_micros(90);
/// With nothing to poll, only the bells and commands matter, and commands can wait this long.
const UNPOLLED: Duration = Duration::from_millis(2);

/// Sleeps until an NF hands something back, or until the ports are to be polled again.
pub(super) fn nap(
    links: &mut [Option<Box<Link>>],
    in_flight: u64,
    polled: bool,
    has_commands: impl Fn() -> bool,
) {
    let at_most = if polled { BETWEEN_POLLS } else { UNPOLLED };
    if in_flight == 0 {
        // No NF holds anything that it could hand back, and a plain sleep costs half of one on the bells.
        if !has_commands() {
            std::thread::sleep(at_most);
        }
        return;
    }
    let bells: Vec<Bell> = links.iter().flatten().map(|l| l.worker_bell.clone()).collect();
    bells.iter().for_each(Bell::announce_sleep);
    // The last look, after the announcement: see the race in `nflib::bell`.
    let work = links.iter_mut().flatten().any(|l| !l.faulty && l.has_returns()) || has_commands();
    if work {
        bells.iter().for_each(Bell::stay_awake);
    } else {
        sleep_on_any(&bells, at_most);
    }
}
