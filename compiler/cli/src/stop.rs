//! `onvmc stop`: asks a manager to stop in order, and waits until it has.

use std::time::{Duration, Instant};

use onvm_api::{InstanceState, Status};

use super::{
    Outcome,
    args::StopArgs,
    client::{self, Failure, Wanted},
    output::{Output, count},
};

/// For a manager that does not take the request: it may be gone already.
const REFUSED: Duration = Duration::from_secs(1);

pub(super) fn run(out: &Output, args: &StopArgs) -> Outcome {
    let began = Instant::now();
    let stopped = client::find(&args.runtime, Wanted::Named(args.name.as_deref()))
        .and_then(|client| Ok((client.status()?, client.process()?, client)));
    let (status, process, client) = match stopped {
        Ok(found) => found,
        Err(e) => return e.report(out),
    };
    if let Err(e) = client.stop()
        && !process.ends_within(REFUSED)
    {
        return Failure::from(e).report(out);
    }
    let who = format!("{} (pid {})", status.bundle, status.pid);
    if !process.ends_within(args.limit()) {
        let inside = match client.status() {
            Ok(now) => inside(&now),
            Err(_) => "and it no longer answers".to_owned(),
        };
        out.error(
            "not_stopped",
            &format!(
                "{who} was asked to stop and has not within {} s: {inside}. It still stops when that has left; --timeout waits \
                 for longer, and `kill -9 {}` ends it at once, without a balance.",
                args.limit().as_secs(),
                status.pid
            ),
        );
        return Outcome::Refused;
    }
    if client.is_left() {
        out.error(
            "not_in_order",
            &format!("{who} ended without stopping in order: its control socket is left. Its log says why."),
        );
        return Outcome::Refused;
    }
    if out.json {
        out.data_json(&serde_json::json!({
            "version": 1, "bundle": status.bundle, "pid": status.pid, "took_ms": began.elapsed().as_secs_f64() * 1e3,
        }));
    } else {
        out.note(&format!(
            "{who} has stopped, within {:.1} s. The balance is in its output.",
            began.elapsed().as_secs_f64()
        ));
    }
    Outcome::Done
}

/// The reasons why a manager has not stopped yet.
fn inside(status: &Status) -> String {
    let state = format!("{:?}", status.state).to_lowercase();
    let instances = status.services.iter().flat_map(|s| &s.instances);
    let running = instances.filter(|i| i.pid.is_some() && i.state != InstanceState::Stopped);
    let running: Vec<&str> = running.map(|i| i.name.as_str()).collect();
    let mut inside = Vec::new();
    if let n @ 1.. = status.balance.in_flight {
        inside.push(count(usize::try_from(n).unwrap_or(usize::MAX), "packet"));
    }
    if !running.is_empty() {
        inside.push(format!("the NFs {}", running.join(", ")));
    }
    match inside.as_slice() {
        [] => format!("it is {state} and waits for a port or a disk"),
        inside => format!("it is {state}, and inside are {}", inside.join(" and ")),
    }
}
