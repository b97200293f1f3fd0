//! How long a restart takes, by the manager's own log.

use std::{
    collections::HashMap,
    thread,
    time::{Duration, Instant},
};

use crate::{
    BenchError,
    manager::{Manager, milliseconds_between},
};

/// While a start is measured, nobody looks.
const LOOK_PERIOD: Duration = Duration::from_millis(20);
/// For one that takes much longer than it should.
const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until the instance runs again.
pub fn await_restart(manager: &Manager, name: &str) -> Result<(), BenchError> {
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
pub fn restart_times(log: &str) -> Vec<f64> {
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
