//! B8: what the loss of an NF costs: until its flows are elsewhere and its buffers back, in packets, and in buffers.

use std::{
    thread,
    time::{Duration, Instant},
};

use onvm_api::InstanceStatus;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    BenchError, Effort,
    manager::{Manager, milliseconds_between},
    results::{Goal, Record, rounded},
};

pub const ID: &str = "b8";

/// Losses in one run of onvm-run.
const LOSSES: usize = 5;
const LOOK_PERIOD: Duration = Duration::from_millis(20);
const DEADLINE: Duration = Duration::from_secs(5);
/// So that what was killed before is there again, and the traffic goes on.
const PAUSE: Duration = Duration::from_millis(300);
/// Milliseconds from the loss to the recovery.
const GOAL: f64 = 1.0;

const SOURCE: &str = "\
port source = null { size = 64 }
port sink = vdev { device = \"net_null_sink,size=64,no-rx=1\" }
nf f = forward with { replicas = 3 }
chain through = f -> sink
steer source { else -> through }
";

/// What one line of the log says of an instance.
struct Line {
    at: String,
    recovered: u64,
}

pub fn run(effort: Effort) -> Result<Record, BenchError> {
    let mut record = Record::new(
        ID,
        "Loss of an NF",
        "A null port sends at full rate through one NF with three replicas. The one that has the flow is killed (SIGKILL), again and again. \
         From the line in the log that says that it is lost to the one that says that its buffers are recovered; before that, its flows are \
         its siblings'.",
        "design: whole again within 1 ms of the loss being known, lost is what the NF held, no buffer leaks. openNetVM: a killed NF stays \
         `running`, its share of the traffic is lost and its buffers leak",
    );
    let runs = if effort.quick {
        1
    } else {
        effort.repetitions as usize
    };
    let (mut times, mut held) = (Vec::new(), Vec::new());
    let (mut beyond, mut leaked) = (0, 0);
    for run in 1..=runs {
        eprintln!("{ID}: run {run} of {runs}");
        let manager = Manager::start_with(SOURCE, &[], &["--json"])?;
        let mut recovered = 0;
        for _ in 0..LOSSES {
            let (milliseconds, packets) = lose_one(&manager)?;
            times.push(milliseconds);
            held.push(packets as f64);
            recovered += packets;
        }
        let rate = manager.status()?;
        let delivered = rate.balance.delivered as f64 / rate.uptime_s;
        record.notes.push(format!(
            "{} Mpps on the average of a run",
            rounded(delivered / 1e6)
        ));
        let summary = manager.stop_with_summary()?;
        let number = |part: &str, name: &str| summary[part][name].as_u64();
        let (dropped, in_use) = (number("balance", "dropped"), number("buffers", "in_use"));
        let (Some(dropped), Some(in_use)) = (dropped, in_use) else {
            return Err(BenchError::Needs("counts in what onvm-run prints at its end"));
        };
        beyond += dropped.abs_diff(recovered);
        leaked += in_use;
    }
    if let Some(found) = record.add("loss known to recovered", "ms", times) {
        let text = "whole again after the loss is known";
        record.goals.push(Goal::below(text, "ms", GOAL, found));
    }
    record.add("packets that it held, all lost", "packets", held);
    let none = |text: &str, unit: &str, found: u64| Goal::below(text, unit, 0.5, found as f64);
    record
        .goals
        .push(none("lost beyond what the NFs held", "packets", beyond));
    record.goals.push(none("buffers leaked", "buffers", leaked));
    Ok(record)
}

/// Kills the instance that has the flow: how long it took until its buffers were recovered, and how many there were.
fn lose_one(manager: &Manager) -> Result<(f64, u64), BenchError> {
    thread::sleep(PAUSE);
    let (name, pid) = busiest(manager)?;
    let lines = |message: &str| lines_of(&manager.log(), message, &name);
    let before = lines("recovered").len();
    let pid = Pid::from_raw(pid as i32).ok_or(BenchError::Needs("the process of an NF"))?;
    kill_process(pid, Signal::KILL).map_err(BenchError::errno(format!("{name} cannot be killed")))?;
    let deadline = Instant::now() + DEADLINE;
    while lines("recovered").len() == before {
        if Instant::now() >= deadline {
            return Err(manager.failed(&format!("recovered nothing of {name}")));
        }
        thread::sleep(LOOK_PERIOD);
    }
    match (lines("lost").last(), lines("recovered").last()) {
        (Some(lost), Some(recovered)) => {
            let time = milliseconds_between(&lost.at, &recovered.at);
            let time = time.ok_or(BenchError::Needs("times in the log"))?;
            Ok((time, recovered.recovered))
        }
        _ => Err(manager.failed("did not log the loss of an NF")),
    }
}

/// The instance that was given the most in a while, and its process.
fn busiest(manager: &Manager) -> Result<(String, u32), BenchError> {
    let instances = || -> Result<Vec<InstanceStatus>, BenchError> {
        let status = manager.status()?;
        Ok(status.services.into_iter().flat_map(|s| s.instances).collect())
    };
    let before = instances()?;
    thread::sleep(LOOK_PERIOD);
    let after = instances()?;
    let busiest = before
        .iter()
        .zip(&after)
        .max_by_key(|(before, after)| after.rx_packets.saturating_sub(before.rx_packets));
    busiest
        .and_then(|(_, instance)| Some((instance.name.clone(), instance.pid?)))
        .ok_or(BenchError::Needs("an NF that runs"))
}

/// Lines of a log in JSON whose message begins so, of one instance.
fn lines_of(log: &str, message: &str, instance: &str) -> Vec<Line> {
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).ok()?;
        let fields = &line["fields"];
        let begins = fields["message"]
            .as_str()
            .is_some_and(|text| text.starts_with(message));
        (begins && fields["instance"] == instance).then(|| Line {
            at: line["timestamp"].as_str().unwrap_or_default().to_owned(),
            recovered: fields["recovered"].as_u64().unwrap_or(0),
        })
    };
    log.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_one_instance() {
        let log = r#"
{"timestamp":"2026-11-28T11:01:15.507067Z","level":"WARN","fields":{"message":"lost: its process ended","instance":"f-0"},"target":"onvm_run::fleet"}
{"timestamp":"2026-11-28T11:01:15.507567Z","level":"WARN","fields":{"message":"recovered the buffers of a lost instance","instance":"f-0","recovered":7},"target":"onvm_run::fleet"}
{"timestamp":"2026-11-28T11:01:15.508789Z","level":"WARN","fields":{"message":"lost: its process ended","instance":"f-1"},"target":"onvm_run::fleet"}
"#;
        let [lost, recovered] = ["lost", "recovered"].map(|message| lines_of(log, message, "f-0"));
        assert_eq!((lost.len(), recovered.len(), recovered[0].recovered), (1, 1, 7));
        let time = milliseconds_between(&lost[0].at, &recovered[0].at).unwrap();
        assert!((time - 0.5).abs() < 0.001, "{time}");
    }
}
