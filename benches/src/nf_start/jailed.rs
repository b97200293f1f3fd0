//! The start of an NF as `onvm-run` does it: namespaces, root directory, user id, Landlock, the filter of system calls, and all that
//! the manager does until the instance may be given packets.

use std::{
    collections::HashMap,
    fmt::Write,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    BenchError,
    manager::{Manager, milliseconds_between},
    nf_process::DEADLINE,
};

/// While a start is measured, nobody looks.
const LOOK_PERIOD: Duration = Duration::from_millis(20);
/// After one, so that what the killed process leaves is cleared away.
const PAUSE: Duration = Duration::from_millis(50);

/// Kills each of so many NFs once. Gives what they are held with, and the milliseconds from `restarting` to `running`, by the
/// manager's own log. Once each, since onvm-run pauses before it restarts one that fails again.
pub(super) fn restarts(nfs: usize) -> Result<(String, Vec<f64>), BenchError> {
    let manager = Manager::start(&source(nfs), &[])?;
    let status = manager.status()?;
    let instances = status.services.iter().flat_map(|s| &s.instances);
    for (name, pid) in instances.filter_map(|i| Some((&i.name, i.pid?))) {
        thread::sleep(PAUSE);
        if let Some(pid) = Pid::from_raw(pid as i32) {
            kill_process(pid, Signal::KILL).map_err(BenchError::errno(format!("{name} cannot be killed")))?;
        }
        await_restart(&manager, name)?;
    }
    let times = restart_times(&manager.log());
    manager.stop()?;
    Ok((status.isolation.means.join(", "), times))
}

/// A chain through so many NFs, on which nothing flows.
fn source(nfs: usize) -> String {
    let mut source = "port a = vdev { device = \"net_null_a,no-rx=1\" }\nport b = vdev { device = \"net_null_b,no-rx=1\" }\n".to_owned();
    let mut chain = String::new();
    for i in 0..nfs {
        let _ = writeln!(source, "nf f{i} = forward");
        let _ = write!(chain, "f{i} -> ");
    }
    source + &format!("chain c = {chain}b\nsteer a {{ else -> c }}\n")
}

fn await_restart(manager: &Manager, name: &str) -> Result<(), BenchError> {
    let deadline = Instant::now() + DEADLINE;
    let running = format!(" running instance={name} ");
    while manager.log().matches(&running).count() < 2 {
        if Instant::now() >= deadline {
            return Err(manager.failed(&format!("did not restart {name}")));
        }
        thread::sleep(LOOK_PERIOD);
    }
    Ok(())
}

/// From each line `TIME … restarting instance=NAME …` to the next with `running` of that name.
fn restart_times(log: &str) -> Vec<f64> {
    let mut began = HashMap::new();
    let mut times = Vec::new();
    for line in log.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let instance = words.iter().find_map(|w| w.strip_prefix("instance="));
        let (Some(instance), Some(&at)) = (instance, words.first()) else {
            continue;
        };
        if words.contains(&"restarting") {
            began.insert(instance, at);
        } else if words.contains(&"running")
            && let Some(time) = began
                .remove(instance)
                .and_then(|began| milliseconds_between(began, at))
        {
            times.push(time);
        }
    }
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_each_instance_by_itself_past_midnight_too() {
        let log = "\
2026-11-27T23:59:59.900000Z  INFO onvm_run::fleet: running instance=f0-0 pid=1
2026-11-27T23:59:59.990000Z  WARN onvm_run::fleet: lost: its process ended instance=f0-0
2026-11-27T23:59:59.998000Z  INFO onvm_run::fleet: restarting instance=f0-0 pause_ms=0
2026-11-27T23:59:59.999000Z  INFO onvm_run::fleet: restarting instance=f1-0 pause_ms=0
2026-11-28T00:00:00.004000Z  INFO onvm_run::fleet: running instance=f0-0 pid=2
2026-11-28T00:00:00.009000Z  INFO onvm_run::fleet: running instance=f1-0 pid=3
";
        let times: Vec<i64> = restart_times(log).iter().map(|ms| ms.round() as i64).collect();
        assert_eq!(times, [6, 10]);
    }
}
