//! The regression guard: instructions per descriptor, counted by callgrind, against a committed baseline.
//!
//! Unlike time, the count hardly varies on a noisy machine. Each course runs twice with different numbers of
//! bursts; the difference of the two totals is free of what starting and stopping cost.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use serde::{Deserialize, Serialize};

use crate::{
    BenchError, host,
    results::{Goal, Record, rounded},
};

pub mod course;

pub const ID: &str = "instructions";
/// Relative to the project's folder.
pub const BASELINE: &str = "benches/instructions.toml";

/// Bursts of the shorter and the longer run.
const BURSTS: [u32; 2] = [256, 1280];

/// The content of the baseline file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Baseline {
    /// How much above the baseline a count may be.
    tolerance_percent: f64,
    /// What the counts were taken with; another compiler generates other code.
    rustc: String,
    /// Instructions per descriptor by course.
    instructions: BTreeMap<String, f64>,
}

/// Counts every course and judges it by the baseline.
pub fn run(baseline: &Path) -> Result<Record, BenchError> {
    let mut record = Record::new(
        ID,
        "Instructions per descriptor",
        "The ring, and the NF's side of a hop (run loop, ring, burst, `forward`), with full bursts under callgrind: the \
         difference of two runs of different length.",
        "the committed baseline, benches/instructions.toml",
    );
    let known = load(baseline)?;
    for (name, count) in count_all()? {
        record.add(&name, "instructions", vec![count]);
        let Some(&base) = known.instructions.get(&name) else {
            return Err(refuse(
                baseline,
                format!("it has no count for `{name}`; write it anew with --bless"),
            ));
        };
        let allowed = base * (1.0 + known.tolerance_percent / 100.0);
        let text = format!(
            "{name}: baseline {} + {} %",
            rounded(base),
            known.tolerance_percent
        );
        record
            .goals
            .push(Goal::below(text, "instructions", allowed, count));
        if count < base * (1.0 - known.tolerance_percent / 100.0) {
            record
                .notes
                .push(format!("{name} became cheaper; lower the baseline with --bless"));
        }
    }
    let rustc = rustc();
    if rustc != known.rustc {
        record.notes.push(format!(
            "the baseline was taken with {}, this is {rustc}",
            known.rustc
        ));
    }
    Ok(record)
}

/// As [`run`], prints the record, and fails when a count is beyond the tolerance.
pub fn check(baseline: &Path) -> Result<(), BenchError> {
    let record = run(baseline)?;
    println!("{record}");
    let worse: Vec<&str> = record
        .goals
        .iter()
        .filter(|g| !g.met)
        .map(|g| g.text.as_str())
        .collect();
    match worse.is_empty() {
        true => Ok(()),
        false => Err(BenchError::Regression(worse.join("; "))),
    }
}

/// Writes the baseline anew from what is counted now; keeps its tolerance.
pub fn bless(baseline: &Path) -> Result<(), BenchError> {
    const TOLERANCE_PERCENT: f64 = 3.0;
    let tolerance_percent = load(baseline).map_or(TOLERANCE_PERCENT, |b| b.tolerance_percent);
    let mut text = format!(
        "# Instructions per descriptor, counted by callgrind on a release build for x86-64. Written by `ring_hop --bless`;\n\
         # raise a count only in a commit that says what is bought with it.\n\
         tolerance_percent = {tolerance_percent:.1}\nrustc = \"{}\"\n\n[instructions]\n",
        rustc()
    );
    for (name, count) in count_all()? {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name} = {count:.2}");
    }
    std::fs::write(baseline, text).map_err(BenchError::system(baseline.display().to_string()))
}

fn load(path: &Path) -> Result<Baseline, BenchError> {
    let text = std::fs::read_to_string(path).map_err(|e| {
        refuse(
            path,
            format!("{e}. Run from the project's folder, or name the file with --baseline"),
        )
    })?;
    toml::from_str(&text).map_err(|e| refuse(path, e.to_string()))
}

fn refuse(path: &Path, reason: String) -> BenchError {
    BenchError::Baseline {
        path: path.to_owned(),
        reason,
    }
}

fn rustc() -> String {
    host::Host::look().rustc
}

fn count_all() -> Result<Vec<(String, f64)>, BenchError> {
    let program = host::program("ring_hop")?;
    let each = course::COURSES.iter().map(|course| {
        let [short, long] = [
            total(&program, course.name, BURSTS[0])?,
            total(&program, course.name, BURSTS[1])?,
        ];
        let descriptors = u64::from(BURSTS[1] - BURSTS[0]) * course::BURST as u64;
        Ok((
            course.name.to_owned(),
            long.saturating_sub(short) as f64 / descriptors as f64,
        ))
    });
    each.collect()
}

/// Instructions of one run from its first to its last.
fn total(program: &Path, course: &str, bursts: u32) -> Result<u64, BenchError> {
    let dir = tempfile::tempdir().map_err(BenchError::system("a temporary directory"))?;
    let out: PathBuf = dir.path().join("callgrind.out");
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--quiet"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program)
        .args(["--course", course, "--bursts", &bursts.to_string()]);
    host::must(&mut command)?;
    let text = std::fs::read_to_string(&out).map_err(BenchError::system("callgrind's output"))?;
    // The line `summary: N` or, with several threads in one file, `totals: N`.
    let count = |key: &str| {
        text.lines()
            .filter_map(|l| l.strip_prefix(key))
            .find_map(|n| n.trim().parse().ok())
    };
    count("totals:")
        .or_else(|| count("summary:"))
        .ok_or(BenchError::Needs("a total in callgrind's output"))
}
