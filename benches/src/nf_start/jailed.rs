//! The start of an NF as `onvm-run` does it: namespaces, root directory, user id, Landlock, the filter of system calls, and all that
//! the manager does until the instance may be given packets.

use std::{fmt::Write, thread, time::Duration};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    BenchError,
    manager::Manager,
    restarts::{await_restart, restart_times},
};

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
