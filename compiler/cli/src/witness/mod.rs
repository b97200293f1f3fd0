//! `onvmc test --witness`: a packet for every way, followed by the interpreter and sent through `onvm-run`; both must agree.

mod agreement;

use std::{
    fs::{self, File},
    io::BufWriter,
    path::{Path, PathBuf},
    time::Duration,
};

use onvmc::{
    Checked, Inputs, Program,
    interpret::{Exit, Interpreter},
    sources::Sources,
    traffic::{Certainty, Missing, Models, Way, Witnesses, witnesses},
};
use pcap_file::pcap::{PcapPacket, PcapWriter};

use self::agreement::Expected;
use super::{
    Outcome,
    args::TestArgs,
    check::compile,
    output::{Output, count},
    replay::Seen,
    trace::does_not_start,
    traffic::hex,
};

/// Ways of all files.
#[derive(Debug, Default)]
struct Tally {
    agreed: usize,
    left_out: usize,
    failed: bool,
}

pub(super) fn run(out: &Output, args: &TestArgs) -> Outcome {
    if args.out.is_some() && args.files.len() > 1 {
        out.error("out", "--out takes the packets of one FILE: name one");
        return Outcome::Usage;
    }
    let mut tally = Tally::default();
    let mut reports = Vec::new();
    for file in &args.files {
        let checked = compile(out, file, &args.source, &Inputs::default());
        let report = checked.and_then(|checked| one_file(out, args, file, &checked, &mut tally));
        tally.failed |= report.is_none();
        reports.push(report);
    }
    if out.json {
        out.data_json(&serde_json::json!({
            "version": 1, "files": reports, "agreed": tally.agreed, "left_out": tally.left_out,
        }));
    } else {
        let word = if tally.failed { "FAILED" } else { "ok" };
        let (agreed, left_out) = (count(tally.agreed, "packet"), tally.left_out);
        out.data(&format!(
            "witness result: {word}. {agreed} went through onvm-run as the interpreter says; {left_out} left out\n"
        ));
    }
    match tally.failed {
        false => Outcome::Done,
        true => Outcome::Refused,
    }
}

/// None: it could not be done, which has been said.
fn one_file(
    out: &Output,
    args: &TestArgs,
    file: &Path,
    checked: &Checked,
    tally: &mut Tally,
) -> Option<serde_json::Value> {
    let program = checked.program.as_ref()?;
    let contents = program.contents();
    let started = Models::new(contents, &program.files)
        .and_then(|models| Ok((models, Interpreter::new(contents, &program.files)?)));
    let (models, mut interpreter) = match started {
        Ok(started) => started,
        Err(e) => {
            does_not_start(out, &e);
            return None;
        }
    };
    let found = witnesses(contents, &models, &mut interpreter);
    if !out.json {
        let title = format!("{} of {}\n", count(found.ways.len(), "way"), file.display());
        out.data(&(title + &text(&found) + "\n"));
    }
    // The interpreter only assumes the effect of an NF that is not run here.
    let assumed = |way: &&Way| way.story.hops.iter().any(|hop| hop.assumed);
    let (left_out, sent): (Vec<&Way>, Vec<&Way>) = found.ways.iter().partition(assumed);
    let expected = Expected::new(&interpreter, &sent);
    match send(program, &checked.sources, &sent, &expected, args) {
        Err(message) => {
            out.error("witness", &message);
            None
        }
        Ok(disagreements) => {
            match disagreements.is_empty() {
                true => tally.agreed += sent.len(),
                false => tally.failed = true,
            }
            tally.left_out += left_out.len();
            if !out.json {
                disagreements
                    .iter()
                    .for_each(|line| out.data(&format!("disagreement: {line}\n")));
            }
            Some(json(file, &found, &disagreements))
        }
    }
}

/// Sends the packets through `onvm-run`; gives what is not as it should be.
fn send(
    program: &Program,
    sources: &Sources,
    ways: &[&Way],
    expected: &Expected<'_>,
    args: &TestArgs,
) -> Result<Vec<String>, String> {
    if ways.is_empty() {
        return Ok(Vec::new());
    }
    let scratch = tempfile::tempdir().map_err(|e| format!("cannot make a directory for the packets: {e}"))?;
    let dir = args.out.as_deref().unwrap_or(scratch.path());
    fs::create_dir_all(dir).map_err(|e| format!("cannot make {}: {e}", dir.display()))?;
    let mut captures: Vec<(&str, PathBuf)> = Vec::new();
    for port in &program.manager.ports {
        let arrive = ways.iter().filter(|way| way.port == port.name);
        let frames: Vec<&[u8]> = arrive.map(|way| way.packet.frame.bytes.as_slice()).collect();
        if !frames.is_empty() {
            let path = dir.join(format!("in-{}.pcap", port.name));
            write(&path, &frames)?;
            captures.push((&port.name, path));
        }
        let leave = expected.leaving(&port.name);
        if !leave.is_empty() {
            write(&dir.join(format!("out-{}.pcap", port.name)), leave)?;
        }
    }
    let captures: Vec<(&str, &Path)> = captures
        .iter()
        .map(|(port, path)| (*port, path.as_path()))
        .collect();
    expected.compare(&Seen::of_run(program, sources, &captures, args.limit())?)
}

/// Packet N is at second N, so that the two captures of a run can be held beside each other.
fn write(path: &Path, frames: &[&[u8]]) -> Result<(), String> {
    let failed = |e: &dyn std::fmt::Display| format!("cannot write {}: {e}", path.display());
    let file = File::create(path).map_err(|e| failed(&e))?;
    let mut writer = PcapWriter::new(BufWriter::new(file)).map_err(|e| failed(&e))?;
    for (second, frame) in (0..).zip(frames) {
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let packet = PcapPacket::new(Duration::from_secs(second), length, frame);
        writer.write_packet(&packet).map_err(|e| failed(&e))?;
    }
    writer
        .into_writer()
        .into_inner()
        .map(drop)
        .map_err(|e| failed(e.error()))
}

fn text(found: &Witnesses) -> String {
    let mut text = String::new();
    for way in &found.ways {
        let by = way.story.rule.as_ref().map(ToString::to_string);
        text.push_str(&format!(
            "  {} {}\n      {}   by `{}`\n",
            way.port,
            way.packet,
            path(way),
            by.unwrap_or_default()
        ));
    }
    found
        .missing
        .iter()
        .for_each(|missing| text.push_str(&one_missing(missing)));
    for nf in &found.undecided {
        text.push_str(&format!(
            "  ways on which `{nf}` does more than pass a packet on are left out: its decisions are not known here\n"
        ));
    }
    if found.more {
        text.push_str("  there are more ways than were searched\n");
    }
    text
}

fn one_missing(missing: &Missing) -> String {
    let Missing {
        port,
        rule,
        path,
        certainty,
    } = missing;
    let way = match path {
        None => format!("comes to the rule `{rule}`"),
        Some(path) => format!("goes {path}   by `{rule}`"),
    };
    match certainty {
        Certainty::Proved => format!("  {port}: no packet {way}\n"),
        Certainty::Modelled => format!("  {port}: no packet {way}, as its NFs decide\n"),
        Certainty::Partial => format!("  {port}: none was found that {way}\n"),
    }
}

/// `fw -> scan -(match)-> jail`
fn path(way: &Way) -> String {
    let assumed = way.story.hops.iter().find(|hop| hop.assumed);
    let note = assumed.map(|hop| format!(" (`{}` is assumed to pass it on)", hop.at));
    way.way.clone() + &note.unwrap_or_default()
}

fn json(file: &Path, found: &Witnesses, disagreements: &[String]) -> serde_json::Value {
    let ways = found.ways.iter().map(|way| {
        let leaves = matches!(way.path.exit, Exit::Port(_)).then(|| hex(&way.leaves));
        serde_json::json!({
            "port": way.port, "packet": way.packet.to_string(), "bytes": hex(&way.packet.frame.bytes),
            "way": way.way, "path": way.story, "leaves": leaves,
        })
    });
    serde_json::json!({
        "file": file.to_string_lossy(), "ways": ways.collect::<Vec<_>>(), "missing": found.missing,
        "undecided": found.undecided, "more": found.more, "disagreements": disagreements,
    })
}
