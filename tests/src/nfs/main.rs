//! `test-nf NAME`: network functions that do what no network function should, for the suites.

mod attacker;
mod chatter;
mod conform;
mod crash;
mod hostile;
mod jumper;
mod maker;
mod misuse;
mod pacer;
mod panics;
mod parent;
mod plant;
mod probe;
mod rogue;
mod scan;
mod shout;
mod sorter;
mod stamp;
mod tag;
mod tuned;
mod without;

use std::process::ExitCode;

use nflib::Program;

/// Those that can share a process.
const FUSED: [Program; 4] = [
    Program::of::<chatter::Chatter>("chatter"),
    Program::of::<jumper::Jumper>("jumper"),
    Program::of::<stamp::Stamp>("stamp"),
    Program::of::<tag::Tag>("tag"),
];

/// The program of this name is one whose fused NFs are not what they should be.
fn is_hostile() -> bool {
    let program = std::env::args().next().unwrap_or_default();
    program.ends_with("misuse-nf")
}

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("attacker") => nflib::run::<attacker::Attacker>(),
        Some("chatter") => nflib::run::<chatter::Chatter>(),
        Some("conform") => nflib::run::<conform::Conform>(),
        Some("crash") => nflib::run::<crash::Crash>(),
        Some(nflib::FUSED) if is_hostile() => misuse::run(),
        Some(nflib::FUSED) => nflib::run_fused(|name| FUSED.iter().find(|p| p.name == name).copied()),
        Some("hostile") => hostile::run(),
        Some("jumper") => nflib::run::<jumper::Jumper>(),
        Some("maker") => nflib::run::<maker::Maker>(),
        Some("misuse") => misuse::run(),
        Some("pacer") => nflib::run::<pacer::Pacer>(),
        Some("panics") => nflib::run::<panics::Panics>(),
        Some("parent") => nflib::run::<parent::Parent>(),
        Some("plant") => nflib::run::<plant::Plant>(),
        Some("rogue") => rogue::run(),
        Some("scan") => nflib::run::<scan::Scan>(),
        Some("shout") => nflib::run::<shout::Shout>(),
        Some("sorter") => nflib::run::<sorter::Sorter>(),
        Some("stamp") => nflib::run::<stamp::Stamp>(),
        Some("tag") => nflib::run::<tag::Tag>(),
        Some("tuned") => nflib::run::<tuned::Tuned>(),
        Some("probe") => probe::run(),
        Some("without") => without::run(),
        other => {
            eprintln!(
                "error: test-nf takes attacker, chatter, conform, crash, fused, hostile, jumper, maker, misuse, pacer, panics, parent, plant, probe, rogue, scan, shout, sorter, stamp, tag, tuned or without, not {other:?}"
            );
            ExitCode::from(2)
        }
    }
}
