//! The regression guard: instructions per descriptor, counted by callgrind, against a committed baseline.
//!
//! Unlike time, the count hardly varies on a noisy machine. Each figure is the difference of two runs, with more bursts or with
//! more NFs, and so is free of what starting and stopping cost.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use serde::{Deserialize, Serialize};

use crate::{
    BenchError, host,
    results::{Goal, Record, rounded},
    rig,
};

pub mod course;

pub const ID: &str = "instructions";
/// Relative to the project's folder.
pub const BASELINE: &str = "benches/instructions.toml";

/// Bursts of a shorter and of a longer run.
const SHORT: u32 = 256;
const LONG: u32 = 1280;

/// A figure: the difference of two runs, for each descriptor that one has more than the other, or at each hop.
struct Figure {
    name: &'static str,
    /// Course and bursts.
    less: (&'static str, u32),
    more: (&'static str, u32),
    bursts: u32,
    /// Descriptors of each.
    burst: usize,
}

const FIGURES: &[Figure] = &[
    Figure {
        name: "ring",
        less: ("ring", SHORT),
        more: ("ring", LONG),
        bursts: LONG - SHORT,
        burst: course::BURST,
    },
    Figure {
        name: "nf_forward",
        less: ("nf_forward", SHORT),
        more: ("nf_forward", LONG),
        bursts: LONG - SHORT,
        burst: course::BURST,
    },
    Figure {
        name: "worker_port_to_port",
        less: ("worker_0", SHORT),
        more: ("worker_0", LONG),
        bursts: LONG - SHORT,
        burst: rig::BURST,
    },
    Figure {
        name: "worker_nf_visit",
        less: ("worker_0", LONG),
        more: ("worker_1", LONG),
        bursts: LONG,
        burst: rig::BURST,
    },
    Figure {
        name: "worker_hop",
        less: ("worker_1", LONG),
        more: ("worker_5", LONG),
        bursts: 4 * LONG,
        burst: rig::BURST,
    },
];

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
        "The ring, the NF's side of a hop (run loop, ring, burst, `forward`), and the worker's (between two null ports, for a packet's \
         first NF, for each further one), with full bursts under callgrind: the difference of two runs that are longer or shorter, \
         or of chains that are.",
        "the committed baseline, benches/instructions.toml",
    );
    let known = load(baseline)?;
    for (name, count) in count_all()? {
        let Some(&base) = known.instructions.get(&name) else {
            return Err(refuse(
                baseline,
                format!("it has no count for `{name}`; write it anew with --bless"),
            ));
        };
        judge(&mut record, &name, count, base, known.tolerance_percent);
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

fn judge(record: &mut Record, name: &str, count: f64, base: f64, percent: f64) {
    record.add(name, "instructions", vec![count]);
    let text = format!("{name}: baseline {} + {percent} %", rounded(base));
    let allowed = base * (1.0 + percent / 100.0);
    record
        .goals
        .push(Goal::below(text, "instructions", allowed, count));
    if count < base * (1.0 - percent / 100.0) {
        record
            .notes
            .push(format!("{name} became cheaper; lower the baseline with --bless"));
    }
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
    const TOLERANCE_PERCENT: f64 = 5.0;
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
    let mut totals: BTreeMap<(&str, u32), u64> = BTreeMap::new();
    for run in FIGURES.iter().flat_map(|figure| [figure.less, figure.more]) {
        if let Entry::Vacant(place) = totals.entry(run) {
            place.insert(total(&program, run)?);
        }
    }
    let figure = |figure: &Figure| {
        let [more, less] = [figure.more, figure.less].map(|run| totals.get(&run).copied().unwrap_or(0));
        let descriptors = u64::from(figure.bursts) * figure.burst as u64;
        let each = more.saturating_sub(less) as f64 / descriptors as f64;
        (figure.name.to_owned(), each)
    };
    Ok(FIGURES.iter().map(figure).collect())
}

/// Instructions of one run of a course: from its first to its last, or of the function that is counted.
fn total(program: &Path, (name, bursts): (&str, u32)) -> Result<u64, BenchError> {
    let course = course::COURSES.iter().find(|course| course.name == name);
    let counted = course.and_then(|course| course.counted);
    let dir = tempfile::tempdir().map_err(BenchError::system("a temporary directory"))?;
    let out: PathBuf = dir.path().join("callgrind.out");
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--quiet"])
        .args(counted.map(|function| format!("--toggle-collect={function}")))
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program)
        .args(["--course", name, "--bursts", &bursts.to_string()]);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_tolerance_fails_and_less_asks_for_a_new_baseline() {
        let judged = |count| {
            let mut record = Record::new(ID, "", "", "");
            judge(&mut record, "ring", count, 100.0, 5.0);
            (record.goals[0].met, record.notes.len())
        };
        assert_eq!(
            [94.9, 95.1, 104.9, 105.1].map(judged),
            [(true, 1), (true, 0), (true, 0), (false, 0)]
        );
    }

    #[test]
    fn each_figure_is_of_courses_that_exist_and_has_a_baseline() {
        let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.toml");
        let known = load(&committed).unwrap();
        for figure in FIGURES {
            for (name, bursts) in [figure.less, figure.more] {
                assert!(course::COURSES.iter().any(|course| course.name == name));
                assert!(bursts <= course::MAX_BURSTS);
            }
            assert!(known.instructions.contains_key(figure.name), "{}", figure.name);
        }
        assert_eq!(known.instructions.len(), FIGURES.len());
    }
}
