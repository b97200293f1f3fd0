//! B7: time and memory of `onvmc build` by the number of steering rules, disjoint and overlapping, and of assertions.

use std::{
    fmt::Write as _,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

mod acl;

use crate::{
    BenchError, Effort,
    host::{self, read},
    results::{Goal, Record},
};

pub const ID: &str = "b7";

const LOOK_PERIOD: Duration = Duration::from_micros(500);
const GOAL_RULES: usize = 10_000;
const GOAL_MS: f64 = 500.0;
const GOAL_ACL_MS: f64 = 300.0;
const GOAL_ACL_MIB: f64 = 200.0;
const GOAL_LARGE_ACL_MS: f64 = 3000.0;
const GOAL_ASSERTS_MS: f64 = 1000.0;
const GOAL_FIREWALL_ASSERTS_MS: f64 = 2000.0;
/// Rules and assertions of the file with assertions.
const ASSERTS: usize = 1_000;

/// What a generated source is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// No two rules overlap.
    Disjoint,
    /// Rules as in access lists: nested prefixes, port ranges, wildcards.
    Acl,
    /// As before, and as many assertions as rules.
    Asserts,
    /// Overlapping rules, and two firewalls of 1,000 rules on every chain.
    Firewalls,
    /// As before, of live ports, with rules that drop: whether tagged packets and fragments get past them is looked at, too.
    Live,
    /// Overlapping rules, two firewalls, and as many assertions as rules.
    FirewallAsserts,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Disjoint => "disjoint rules",
            Self::Acl => "overlapping rules",
            Self::Asserts => "overlapping rules and as many asserts",
            Self::Firewalls => "overlapping rules before two firewalls",
            Self::Live => "overlapping rules of a live port before two firewalls",
            Self::FirewallAsserts => "overlapping rules before two firewalls and as many asserts",
        }
    }

    fn source(self, rules: usize) -> String {
        match self {
            Self::Disjoint => source(rules),
            Self::Acl => acl::source(rules, 0),
            Self::Asserts => acl::source(rules, rules),
            Self::Firewalls => acl::behind_firewalls(rules, 0),
            Self::Live => acl::live(rules),
            Self::FirewallAsserts => acl::behind_firewalls(rules, rules),
        }
    }
}

/// Builds sources of 1 to 100,000 rules, in turn, all again for each repetition.
pub fn run(effort: Effort) -> Result<Record, BenchError> {
    let mut record = Record::new(
        ID,
        "Compiler",
        "`onvmc build` of one port with N rules to two chains of two NFs, with all checks; wall time of the process, and its \
         largest resident set in a run of its own. Disjoint rules: a /28 network, a host, a host and TCP port, a host and UDP \
         port range, by turns. Overlapping rules: generated like ClassBench's access lists (Taylor and Turner 2007), with \
         nested prefixes of both addresses, port ranges, protocols and wildcards, the more specific ones first. Live port: an \
         `af_packet` port, and every fourth rule drops.",
        "none in the paper, whose chains are set up by hand",
    );
    let dir = tempfile::tempdir().map_err(BenchError::system("a temporary directory"))?;
    let mut cases: Vec<(Kind, usize)> = Vec::new();
    let large = if effort.quick { 10_000 } else { 100_000 };
    let up_to = |sizes: &[usize]| sizes.iter().copied().filter(|n| *n <= large).collect::<Vec<_>>();
    cases.extend(
        up_to(&[1, 1_000, 10_000, 100_000])
            .into_iter()
            .map(|n| (Kind::Disjoint, n)),
    );
    cases.extend(
        up_to(&[1_000, 3_000, 10_000, 30_000, 100_000])
            .into_iter()
            .map(|n| (Kind::Acl, n)),
    );
    cases.push((Kind::Asserts, ASSERTS));
    for kind in [Kind::Firewalls, Kind::Live] {
        cases.extend(up_to(&[10_000, 100_000]).into_iter().map(|n| (kind, n)));
    }
    cases.push((Kind::FirewallAsserts, ASSERTS));
    for (name, rules) in acl::firewall_files() {
        std::fs::write(dir.path().join(name), rules)
            .map_err(BenchError::system("the rules of a firewall"))?;
    }
    for &(kind, rules) in &cases {
        std::fs::write(source_path(dir.path(), kind, rules), kind.source(rules))
            .map_err(BenchError::system("the generated source"))?;
    }
    let mut times = vec![Vec::new(); cases.len()];
    for repetition in 1..=effort.repetitions {
        eprintln!("{ID}: repetition {repetition} of {}", effort.repetitions);
        for (&(kind, rules), times) in cases.iter().zip(&mut times) {
            let began = Instant::now();
            host::must(&mut build(dir.path(), kind, rules)?)?;
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
    }
    for (&(kind, rules), times) in cases.iter().zip(times) {
        let median = record
            .add(format!("{rules} {}: time", kind.name()), "ms", times)
            .unwrap_or(f64::INFINITY);
        let goal = match (kind, rules) {
            (Kind::Disjoint, GOAL_RULES) => Some(GOAL_MS),
            (Kind::Acl | Kind::Firewalls | Kind::Live, GOAL_RULES) => Some(GOAL_ACL_MS),
            (Kind::Acl | Kind::Firewalls | Kind::Live, 100_000) => Some(GOAL_LARGE_ACL_MS),
            (Kind::FirewallAsserts, _) => Some(GOAL_FIREWALL_ASSERTS_MS),
            (Kind::Asserts, _) => Some(GOAL_ASSERTS_MS),
            _ => None,
        };
        if let Some(limit) = goal {
            let what = format!("build of {rules} {}", kind.name());
            record.goals.push(Goal::below(what, "ms", limit, median));
        }
        if kind == Kind::Acl {
            record.add(
                format!("{rules} {}: time for each", kind.name()),
                "us",
                vec![median * 1e3 / rules as f64],
            );
        }
    }
    for &(kind, rules) in &cases {
        let peak = peak_memory(build(dir.path(), kind, rules)?)?;
        record.add(format!("{rules} {}: memory", kind.name()), "MiB", vec![peak]);
        if (kind, rules) == (Kind::Acl, GOAL_RULES) {
            let what = format!("memory for {rules} {}", kind.name());
            record.goals.push(Goal::below(what, "MiB", GOAL_ACL_MIB, peak));
        }
    }
    Ok(record)
}

fn source_path(dir: &Path, kind: Kind, rules: usize) -> std::path::PathBuf {
    dir.join(format!("{kind:?}{rules}.chain"))
}

fn build(dir: &Path, kind: Kind, rules: usize) -> Result<Command, BenchError> {
    let mut command = Command::new(host::program("onvmc")?);
    let out = dir.join(format!("{kind:?}{rules}.bundle"));
    command
        .args(["build", "--out"])
        .arg(out)
        .arg(source_path(dir, kind, rules));
    Ok(command)
}

/// Rule `i` has a /28 network of 10.0.0.0/8 for itself, so that no two rules overlap.
fn source(rules: usize) -> String {
    let mut text = String::from(
        "port wan = null { size = 64 }\nport lan = null { size = 64 }\n\
         nf a = forward\nnf b = forward\nnf c = forward\n\
         chain left = a -> b -> lan\nchain right = c -> b -> lan\n\
         steer lan { else -> drop }\nsteer wan {\n",
    );
    for i in 0..rules {
        let net = format!("10.{}.{}.{}", i >> 12, i >> 4 & 255, (i & 15) << 4);
        let filter = match i % 4 {
            0 => format!("dst net {net}/28"),
            1 => format!("dst host {net}"),
            2 => format!("tcp and dst host {net} and dst port 443"),
            _ => format!("udp and dst host {net} and dst portrange 5000-5100"),
        };
        let chain = if i % 3 == 0 { "left" } else { "right" };
        // Writing to a string does not fail.
        let _ = writeln!(text, "    {filter} -> {chain}");
    }
    text + "    else -> left\n}\n"
}

/// MiB of the largest resident set, seen by looking at the process until it ends. It only grows, so nothing but the last
/// half millisecond can be missed.
fn peak_memory(mut command: Command) -> Result<f64, BenchError> {
    let failed = || BenchError::system("onvmc cannot be run");
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed())?;
    let path = format!("/proc/{}/status", child.id());
    let mut peak = 0.0_f64;
    while child.try_wait().map_err(failed())?.is_none() {
        let status = read(&path);
        let kib = status
            .lines()
            .find_map(|l| l.strip_prefix("VmHWM:"))
            .map(|v| v.trim().trim_end_matches(" kB"));
        peak = peak.max(kib.and_then(|n| n.parse().ok()).unwrap_or(0.0) / 1024.0);
        thread::sleep(LOOK_PERIOD);
    }
    Ok(peak)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_rule_has_a_network_of_its_own() {
        let source = source(100_000);
        let rules: Vec<&str> = source
            .lines()
            .filter(|l| l.starts_with("    ") && l.contains(" 10."))
            .collect();
        let networks: HashSet<&str> = rules
            .iter()
            .filter_map(|l| l.split(" 10.").nth(1))
            .filter_map(|rest| rest.split([' ', '/']).next())
            .collect();
        assert_eq!((rules.len(), networks.len()), (100_000, 100_000));
    }
}
