//! NFs in containers: their start, an edit that replaces one, and packets a second beside the same NFs as processes.

use std::{process::Command, thread, time::Duration};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    BenchError, Effort,
    chain_length::millions,
    host,
    manager::Manager,
    restarts::{await_restart, restart_times},
    results::{Goal, Metric, Record, rounded},
};

pub const ID: &str = "containers";

const STARTS: usize = 20;
/// Packets a second in containers, of those in processes.
const GOAL_RATE: f64 = 0.97;
const GOAL_AHEAD_MS: f64 = 300.0;
const GOAL_NOTHING_MS: f64 = 500.0;
const GOAL_APPLY_MS: f64 = 1000.0;
/// NFs of the chain that is measured.
const NFS: usize = 5;
/// Times that packets are turned over from one kind to the other, for one manager.
const TURNS: usize = 8;
/// Of a turn: until its rate is steady, and measured.
const TURN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(500));
/// Between losses, so that what one leaves is cleared away.
const PAUSE: Duration = Duration::from_millis(200);

/// Needs an engine that runs.
pub fn run(effort: Effort) -> Result<Record, BenchError> {
    let mut record = Record::new(
        ID,
        "NFs in containers",
        "onvm-run has NFs in containers (`--nfs compose`). Each is killed, and the time is what its log has from `restarting` to \
         `running`; each is removed (`docker rm -f`), so that it is created anew; an edit replaces one, by the manager's own clock; \
         and one manager has five `forward`s in containers and five as processes, to which 64-byte packets are turned over in turn.",
        "paper: 0.526 s until an NF is ready, throughput in containers as without",
    );
    image()?;
    start(&mut record)?;
    edit(&mut record)?;
    rate(&mut record, effort)?;
    Ok(record)
}

/// The image of the standard NFs, from the program beside this one.
fn image() -> Result<(), BenchError> {
    host::must(Command::new("docker").args(["version", "--format", "{{.Server.Version}}"])).map_err(
        |_| BenchError::Needs("a container engine that runs (`dockerd --bridge=none --iptables=false`)"),
    )?;
    let program = host::static_onvm_nf()?;
    host::must(
        Command::new(host::program("onvmc")?)
            .args(["image", "--binary"])
            .arg(program),
    )
    .map(drop)
}

fn start(record: &mut Record) -> Result<(), BenchError> {
    eprintln!("{ID}: {STARTS} restarts, and {STARTS} from nothing");
    let manager = Manager::start_with(&source(STARTS, "no-rx=1"), &[], &["--nfs", "compose"])?;
    let status = manager.status()?;
    record.notes.extend(status.isolation.containers.clone());
    for (name, pid, _) in instances(&manager)? {
        thread::sleep(PAUSE);
        if let Some(pid) = Pid::from_raw(pid as i32) {
            kill_process(pid, Signal::KILL).map_err(BenchError::errno(format!("{name} cannot be killed")))?;
        }
        await_restart(&manager, &name)?;
    }
    let ahead = restart_times(&manager.log());
    manager.stop()?;
    let manager = Manager::start_with(&source(STARTS, "no-rx=1"), &[], &["--nfs", "compose"])?;
    for (name, _, container) in instances(&manager)? {
        thread::sleep(PAUSE);
        host::must(Command::new("docker").args(["rm", "--force", &container]))?;
        await_restart(&manager, &name)?;
    }
    let nothing = restart_times(&manager.log());
    manager.stop()?;
    let goals = [
        (
            "container that was created ahead: restarting to running",
            ahead,
            GOAL_AHEAD_MS,
        ),
        (
            "container from nothing: restarting to running",
            nothing,
            GOAL_NOTHING_MS,
        ),
    ];
    for (name, samples, goal) in goals {
        let median = record.add(name, "ms", samples).unwrap_or(f64::INFINITY);
        record.goals.push(Goal::below(
            format!("{name}, median of {STARTS}"),
            "ms",
            goal,
            median,
        ));
    }
    Ok(())
}

/// Name, process and container of each instance.
fn instances(manager: &Manager) -> Result<Vec<(String, u32, String)>, BenchError> {
    let status = manager.status()?;
    let all = status.services.into_iter().flat_map(|service| service.instances);
    Ok(all.filter_map(|i| Some((i.name, i.pid?, i.container?))).collect())
}

/// Edits that replace one container under traffic.
fn edit(record: &mut Record) -> Result<(), BenchError> {
    eprintln!("{ID}: {STARTS} edits");
    // Slower than they can go, so that what is lost is lost by the edit.
    let with = |memory: usize| {
        source(2, "").replacen(
            "= forward\n",
            &format!("= forward with {{ memory = {memory} MiB }}\n"),
            1,
        )
    };
    let manager = Manager::start_with(&with(16), &[], &["--nfs", "compose"])?;
    let mut took = Vec::new();
    for n in 0..STARTS {
        thread::sleep(PAUSE);
        took.push(manager.apply(&with(17 + n))?.took_ms);
    }
    let lost: u64 = manager.status()?.drops.iter().map(|drop| drop.packets).sum();
    manager.stop()?;
    let name = "edit that replaces a container";
    let median = record.add(name, "ms", took).unwrap_or(f64::INFINITY);
    record.goals.push(Goal::below(
        format!("{name}, median of {STARTS}"),
        "ms",
        GOAL_APPLY_MS,
        median,
    ));
    record.goals.push(Goal::below(
        "packets lost by these edits",
        "packets",
        1.0,
        lost as f64,
    ));
    Ok(())
}

/// Packets a second through either kind in turn. One manager has both, so that what changes from start to start is the same for
/// both: an edit turns the packets over.
fn rate(record: &mut Record, effort: Effort) -> Result<(), BenchError> {
    let mut kinds = [("process", Vec::new()), ("container", Vec::new())];
    let mut ratios = Vec::new();
    for repetition in 1..=effort.repetitions {
        eprintln!("{ID}: repetition {repetition} of {}", effort.repetitions);
        let manager = Manager::start(&both("container"), &[])?;
        let mut turns = [Vec::new(), Vec::new()];
        for _ in 0..TURNS {
            for ((kind, _), rates) in kinds.iter().zip(&mut turns) {
                manager.apply(&both(kind))?;
                rates.push(millions(manager.rate("b", TURN)?.packets));
            }
        }
        manager.stop()?;
        let medians = turns.map(|rates| Metric::new("", "", rates).map_or(0.0, |rates| rates.median));
        ratios.push(medians[1] / medians[0]);
        for ((_, samples), median) in kinds.iter_mut().zip(medians) {
            samples.push(median);
        }
    }
    let [(_, processes), (_, containers)] = kinds;
    record.add("five NFs as processes", "Mpps", processes);
    record.add("five NFs in containers", "Mpps", containers);
    let ratio = record
        .add("containers, of processes of the same manager", "", ratios)
        .unwrap_or(0.0);
    record.goals.push(Goal::at_least(
        "containers within 3 % of processes",
        "",
        GOAL_RATE,
        ratio,
    ));
    record.notes.push(format!(
        "containers move {} times what processes do",
        rounded(ratio)
    ));
    Ok(())
}

/// Five NFs as processes and five in containers. One kind gets the packets; the others would get ARP, which a null port makes none of.
fn both(kind: &str) -> String {
    let chain = |of: &str| {
        let names: Vec<String> = (0..NFS).map(|n| format!("{of}{n}")).collect();
        let declared = names
            .iter()
            .map(|name| format!("nf {name} = forward with {{ run = {of} }}\n"));
        let declared: String = declared.collect();
        format!("{declared}chain by_{of} = {} -> b\n", names.join(" -> "))
    };
    let other = match kind {
        "process" => "container",
        _ => "process",
    };
    format!(
        "port a = null {{ size = 64 }}\nport b = vdev {{ device = \"net_null_b,size=64,no-rx=1\" }}\n{}{}\
         steer a {{\n    arp -> by_{other}\n    else -> by_{kind}\n}}\n",
        chain("process"),
        chain("container")
    )
}

/// A chain through so many NFs.
fn source(nfs: usize, device: &str) -> String {
    let names: Vec<String> = (0..nfs).map(|n| format!("f{n}")).collect();
    let declared: String = names
        .iter()
        .map(|name| format!("nf {name} = forward\n"))
        .collect();
    let port_a = match device {
        "" => "null { size = 64 }".to_owned(),
        options => format!("vdev {{ device = \"net_null_a,{options}\" }}"),
    };
    format!(
        "port a = {port_a}\nport b = vdev {{ device = \"net_null_b,size=64,no-rx=1\" }}\n{declared}chain c = {} -> b\n\
         steer a {{ else -> c }}\n",
        names.join(" -> ")
    )
}
