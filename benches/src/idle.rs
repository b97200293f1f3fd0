//! What a system costs through which nothing flows.

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::{
    BenchError, Effort, host,
    manager::Manager,
    results::{Goal, Record},
};

pub const ID: &str = "idle";

const SETTLING: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(5);
const GOAL_PERCENT: f64 = 5.0;

/// Samples the processor time of the manager and three NFs over 5 s each.
pub fn run(effort: Effort) -> Result<Record, BenchError> {
    let mut record = Record::new(
        ID,
        "Idle system",
        "A firewall, a payload scanner and a monitor between two ports on which nothing arrives; processor time of onvm-run \
         and all NFs together over 5 s, as a share of one core.",
        "openNetVM: 100 % of each of its cores, since it polls",
    );
    let veth = if host::is_root() { Veth::new().ok() } else { None };
    let ports = match &veth {
        Some(veth) => {
            record
                .notes
                .push("ports: af_packet on two veth pairs without addresses".to_owned());
            let port = |name, end: &str| format!("port {name} = af_packet {{ interface = \"{end}\" }}\n");
            port("wan", &veth.0[0]) + &port("lan", &veth.0[1])
        }
        None => {
            record
                .notes
                .push("ports: null ports that receive nothing, since veth pairs need root".to_owned());
            let port = |name| format!("port {name} = vdev {{ device = \"net_null_{name},no-rx=1\" }}\n");
            port("wan") + &port("lan")
        }
    };
    let manager = Manager::start(&(ports + CHAINS), &[("rules", RULES), ("patterns", PATTERNS)])?;
    thread::sleep(SETTLING);
    let samples = if effort.quick { 2 } else { effort.repetitions };
    let mut shares = Vec::new();
    for i in 1..=samples {
        eprintln!("{ID}: sample {i} of {samples}");
        let (before, began) = (manager.processor_time()?, Instant::now());
        thread::sleep(MEASURED);
        let used = manager.processor_time()? - before;
        shares.push(100.0 * used.as_secs_f64() / began.elapsed().as_secs_f64());
    }
    manager.stop()?;
    let median = record
        .add("manager and three NFs", "% of a core", shares)
        .unwrap_or(f64::INFINITY);
    record.goals.push(Goal::below(
        "processor time of an idle system",
        "% of a core",
        GOAL_PERCENT,
        median,
    ));
    Ok(record)
}

const CHAINS: &str = r#"
nf fw = firewall { rules = file("rules"), default = accept }
nf scan = payload_scan { patterns = file("patterns") }
nf mon = monitor { every = 1 s }
chain inspect = fw -> scan { match -> drop } -> mon -> lan
chain back = mon -> wan
steer wan { else -> inspect }
steer lan { else -> back }
"#;
const RULES: &str = "drop tcp dst port [22, 23]\naccept all\n";
const PATTERNS: &str = "/etc/passwd\nsqlmap\n";

/// Two veth pairs, one end of each for a port; removed on drop.
struct Veth([String; 2]);

impl Veth {
    fn new() -> Result<Self, BenchError> {
        let id = std::process::id() % 100_000;
        let veth = Self(["a", "b"].map(|pair| format!("onvb{id}{pair}")));
        for end in &veth.0 {
            let peer = format!("{end}p");
            ip(&["link", "add", end, "type", "veth", "peer", "name", &peer])?;
            for name in [end, &peer] {
                // Otherwise the kernel itself sends router solicitations.
                ip(&["link", "set", name, "addrgenmode", "none"])?;
                ip(&["link", "set", name, "up"])?;
            }
        }
        Ok(veth)
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        for end in &self.0 {
            let _ = ip(&["link", "del", end]);
        }
    }
}

fn ip(arguments: &[&str]) -> Result<String, BenchError> {
    host::must(Command::new("ip").args(arguments))
}
