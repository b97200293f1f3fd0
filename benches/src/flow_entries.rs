//! How fast an NF installs flow entries: from its first request until all workers obey the last. A part of B2.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    BenchError, Effort,
    flow_director::ID,
    manager::Manager,
    results::{Goal, Record},
};

/// Entries that are installed in one run.
const ENTRIES: u64 = 400_000;
/// Entries a second.
const GOAL: f64 = 200_000.0;
const LOOK_PERIOD: Duration = Duration::from_millis(50);
const DEADLINE: Duration = Duration::from_secs(60);

const SOURCE: &str = "\
use \"flow_maker.nf.toml\" as flow_maker
port wan = vdev { device = \"net_null_wan,size=64,no-rx=1\" }
port lan = vdev { device = \"net_null_lan,size=64,no-rx=1\" }
nf maker = flow_maker { entries = ENTRIES }
chain through = maker -> lan
steer wan { else -> through }
allow maker to program wan { all -> through }
";

const MANIFEST: &str = "\
name = \"flow_maker\"
version = \"0.1.0\"
summary = \"Makes flow entries\"
[run]
binary = \"flow_maker\"
[effects]
programs = true
[[params]]
name = \"entries\"
type = \"int\"
doc = \"How many.\"
";

pub(crate) fn run(effort: Effort, record: &mut Record) -> Result<(), BenchError> {
    let rates = (1..=effort.repetitions).map(|run| {
        eprintln!("{ID}: entries installed, run {run} of {}", effort.repetitions);
        install()
    });
    let rates = rates.collect::<Result<Vec<f64>, _>>()?;
    if let Some(found) = record.add("flow entries installed by an NF, one worker", "entries/s", rates) {
        let text = "flow entries that an NF installs and hears of";
        record.goals.push(Goal::at_least(text, "entries/s", GOAL, found));
    }
    Ok(())
}

/// Entries a second of one run.
fn install() -> Result<f64, BenchError> {
    let source = SOURCE.replace("ENTRIES", &ENTRIES.to_string());
    let manager = Manager::start(&source, &[("flow_maker.nf.toml", MANIFEST)])?;
    let deadline = Instant::now() + DEADLINE;
    let took = loop {
        thread::sleep(LOOK_PERIOD);
        let status = manager.status()?;
        let mut instances = status.services.iter().flat_map(|s| &s.instances);
        let counter = |name: &str| Some(*instances.clone().next()?.counters.get(name)?);
        if counter("refused").is_some_and(|refused| refused > 0) {
            return Err(manager.failed("refused flow entries"));
        }
        if let Some(took @ 1..) = counter("took_us") {
            break took;
        }
        if instances.any(|i| i.restarts > 0) || Instant::now() >= deadline {
            return Err(manager.failed("did not install all flow entries"));
        }
    };
    manager.stop()?;
    Ok(ENTRIES as f64 / (took as f64 / 1e6))
}
