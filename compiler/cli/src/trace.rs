//! `onvmc trace`: what would happen to a packet, or to each packet of a capture.

use std::{collections::HashMap, path::Path as FilePath};

use onvm_api::{FlowsReply, MOST_FLOWS};
use onvm_bundle::filter::{FlowMatch, NotAFlow, flow::FlowKey};
use onvm_captures::{Capture, CaptureError, Packet};
use onvmc::{
    Inputs, Program,
    interpret::{FlowEntry, InterpretError, Interpreter, Path, Story, StoryHop},
    scenarios::{Body, Send, Statement},
    sets::{Frame, Witness},
};

use super::{
    Outcome,
    args::TraceArgs,
    check::look,
    output::{Output, count},
};

/// A port and a packet that are wrong in no file are wrong on the command line.
const PACKET: &str = "ether {}";

pub(super) fn run(out: &Output, args: &TraceArgs) -> Outcome {
    let written = match &args.pcap {
        None => with_braces(&args.packet.join(" ")),
        Some(_) => PACKET.to_owned(),
    };
    let inputs = Inputs {
        packet: Some((&args.port, &written)),
        ..Inputs::default()
    };
    let Some((program, _)) = look(out, &args.file, &args.source, &inputs) else {
        return Outcome::Refused;
    };
    let Some(sent) = only_packet(&program) else {
        let text = "PACKET is one packet, such as 'tcp { dst = 203.0.113.9:80 }' or: tcp dst 203.0.113.9:80";
        out.error("packet", text);
        return Outcome::Usage;
    };
    let mut interpreter = match Interpreter::new(program.contents(), &program.files) {
        Ok(interpreter) => interpreter,
        Err(e) => {
            does_not_start(out, &e);
            return Outcome::Refused;
        }
    };
    let Some(port) = interpreter.port(&sent.port) else {
        out.error("port", &format!("there is no port `{}`", sent.port));
        return Outcome::Usage;
    };
    if let Some(file) = &args.flows
        && let Err(message) = given(out, &mut interpreter, file)
    {
        out.error("flows", &format!("{}: {message}", file.display()));
        return Outcome::Refused;
    }
    match &args.pcap {
        None => one(out, &mut interpreter, port, &sent.frame),
        Some(capture) => match each(out, &mut interpreter, port, capture, args.each) {
            Ok(()) => {}
            Err(e) => {
                out.error("capture", &e.to_string());
                return Outcome::Refused;
            }
        },
    }
    Outcome::Done
}

pub(super) fn does_not_start(out: &Output, e: &InterpretError) {
    out.error("nf", &format!("{}: {e}", e.source_ref));
}

/// The packet of the program's last test, which is the command line's.
fn only_packet(program: &Program) -> Option<&Send> {
    match &program.tests.last()?.body {
        Body::Paths(statements) => match statements.as_slice() {
            [Statement::Send(send)] if send.times == 1 => Some(send),
            _ => None,
        },
        Body::Replay(_) => None,
    }
}

/// Gives the interpreter the flow entries of a manager.
fn given(out: &Output, interpreter: &mut Interpreter<'_>, file: &FilePath) -> Result<(), String> {
    let text = std::fs::read(file).map_err(|e| e.to_string())?;
    let reply: FlowsReply =
        serde_json::from_slice(&text).map_err(|e| format!("not the output of `onvmc flows --json` ({e})"))?;
    if reply.more {
        out.note(&format!(
            "{} has {} of {} flow entries; `onvmc flows --json --limit {MOST_FLOWS}` prints more",
            file.display(),
            reply.entries.len(),
            reply.total
        ));
    }
    let entries = reply.entries.into_iter().map(|entry| {
        let matches = matches(&entry).map_err(|e| format!("flow entry {}: {e}", entry.id))?;
        Ok(FlowEntry {
            id: entry.id,
            nf: entry.nf,
            port: entry.port,
            chain: entry.chain,
            matches,
            priority: entry.priority,
        })
    });
    for entry in interpreter.program(entries.collect::<Result<_, String>>()?) {
        out.note(&format!(
            "flow entry {} takes nothing: no `allow {} to program {}` names `{}`",
            entry.id, entry.nf, entry.port, entry.chain
        ));
    }
    Ok(())
}

fn matches(entry: &onvm_api::FlowEntry) -> Result<FlowMatch, String> {
    match (&entry.flow, &entry.filter) {
        (Some(flow), None) => {
            let key: FlowKey = flow.parse().map_err(|e: NotAFlow| e.to_string())?;
            Ok(match entry.both_ways {
                true => FlowMatch::BothWays(key),
                false => FlowMatch::Flow(key),
            })
        }
        (None, Some(filter)) => filter
            .parse()
            .map(FlowMatch::Filter)
            .map_err(|e| format!("`{filter}`: {e}")),
        _ => Err("it has to have either `flow` or `filter`".to_owned()),
    }
}

fn one(out: &Output, interpreter: &mut Interpreter<'_>, port: u16, frame: &[u8]) {
    let (path, moved) = interpreter.send_and_watch(port, frame, frame.len() as u32);
    let story = interpreter.tell(&path, &moved);
    if out.json {
        out.data_json(&serde_json::json!({ "version": 1, "bytes": frame.len(), "path": story }));
    } else {
        out.data(&text(&story));
    }
}

/// Packets that were treated alike.
struct Group {
    path: Path,
    packets: u64,
    bytes: u64,
    /// Number of the first of them.
    first: u64,
    /// That packet in words.
    sample: String,
}

fn each(
    out: &Output,
    interpreter: &mut Interpreter<'_>,
    port: u16,
    capture: &FilePath,
    lines: bool,
) -> Result<(), CaptureError> {
    let mut groups: Vec<Group> = Vec::new();
    let mut known: HashMap<Path, usize> = HashMap::new();
    let mut packets = 0;
    let read = Capture::open(capture)?.for_each(|packet: Packet<'_>| {
        packets = packet.number;
        let path = interpreter.send(port, packet.data, packet.wire_length);
        if lines {
            let story = interpreter.tell(&path, &[]);
            out.data(&line(out, packet.number, &story));
            return;
        }
        let index = *known.entry(path).or_insert_with_key(|path| {
            groups.push(Group {
                path: path.clone(),
                packets: 0,
                bytes: 0,
                first: packet.number,
                sample: shown(&packet),
            });
            groups.len() - 1
        });
        groups[index].packets += 1;
        groups[index].bytes += packet.data.len() as u64;
    });
    // What could be read before an error is shown before it.
    if !lines && (read.is_ok() || packets > 0) {
        show_groups(out, interpreter, groups, packets, capture);
    }
    read.map(|_| ())
}

fn show_groups(
    out: &Output,
    interpreter: &Interpreter<'_>,
    mut groups: Vec<Group>,
    packets: u64,
    capture: &FilePath,
) {
    groups.sort_by_key(|g| (std::cmp::Reverse(g.packets), g.first));
    let told = groups.iter().map(|g| (g, interpreter.tell(&g.path, &[])));
    if out.json {
        let paths: Vec<_> = told
            .map(|(g, story)| {
                serde_json::json!({
                    "packets": g.packets, "bytes": g.bytes, "first": g.first, "sample": g.sample, "path": story,
                })
            })
            .collect();
        let capture = capture.to_string_lossy();
        out.data_json(
            &serde_json::json!({ "version": 1, "capture": capture, "packets": packets, "paths": paths }),
        );
    } else {
        for (group, story) in told {
            out.data(&format!(
                "{}, the first is number {}: {}\n{}\n",
                count(group.packets as usize, "packet"),
                group.first,
                group.sample,
                text(&story)
            ));
        }
        out.data(&format!(
            "{}, {}\n",
            count(packets as usize, "packet"),
            count(groups.len(), "path")
        ));
    }
}

/// `tcp { src = 198.51.100.7:4000, dst = 203.0.113.9:80 }`
fn shown(packet: &Packet<'_>) -> String {
    let frame = Frame {
        bytes: packet.data.to_vec(),
        wire_len: packet.wire_length,
    };
    Witness { frame }.to_string()
}

/// One packet on one line: its number, the rule's place, its way.
fn line(out: &Output, number: u64, story: &Story) -> String {
    if out.json {
        return format!("{}\n", serde_json::json!({ "number": number, "path": story }));
    }
    let rule = story.rule.as_ref().map_or("-", |r| r.source.0.as_str());
    format!("{number}  {rule}  {}\n", story.names().join(" -> "))
}

/// One line for the rule and one for each hop, with their places.
fn text(story: &Story) -> String {
    let mut rows: Vec<[String; 3]> = Vec::new();
    if let Some(rule) = &story.rule {
        rows.push([rule.source.to_string(), story.port.clone(), rule.to_string()]);
    }
    for hop in &story.hops {
        rows.push([hop.source.to_string(), hop.at.clone(), what(hop, story)]);
    }
    if story.hops.is_empty() {
        let why = match story.exit.dropped {
            Some("chain") => "dropped (chain): the port has no `steer` block".to_owned(),
            other => format!("dropped ({})", other.unwrap_or_default()),
        };
        rows.push([String::new(), story.port.clone(), why]);
    }
    let width = |column: usize| rows.iter().map(|r| r[column].chars().count()).max().unwrap_or(0);
    let (first, second) = (width(0), width(1));
    let line = |[place, at, what]: &[String; 3]| format!("  {place:<first$}  {at:<second$}  {what}\n");
    rows.iter().map(line).collect()
}

fn what(hop: &StoryHop, story: &Story) -> String {
    let Some(verdict) = &hop.verdict else {
        return match story.exit.dropped {
            Some(reason) => format!("dropped ({reason})"),
            None => "leaves".to_owned(),
        };
    };
    let nf_type = hop.nf_type.as_deref().unwrap_or_default();
    let nf_type = match &hop.copied_into {
        Some(domain) => format!("copied into domain {domain}, {nf_type}"),
        None => nf_type.to_owned(),
    };
    if hop.assumed {
        return format!("{nf_type}: assumed to pass it on (third-party NFs are not run here)");
    }
    let mut text = format!("{nf_type}: {verdict}");
    if hop.overruled {
        text.push_str(", which is not permitted: it follows the chain");
    }
    let counted: Vec<String> = hop
        .counted
        .iter()
        .map(|(name, n)| match n {
            1 => name.clone(),
            n => format!("{name} {n}"),
        })
        .collect();
    if !counted.is_empty() {
        text.push_str(&format!(" (counts {})", counted.join(", ")));
    }
    text
}

/// `tcp dst 203.0.113.9:80 ttl 3` as `tcp { dst = 203.0.113.9:80, ttl = 3 }`; what has braces stays as it is.
fn with_braces(packet: &str) -> String {
    let words = words(packet);
    match words.split_first() {
        Some((proto, fields)) if !fields.is_empty() && !packet.contains('{') => {
            let pairs = fields.chunks(2).map(|pair| pair.join(" = "));
            format!("{proto} {{ {} }}", pairs.collect::<Vec<_>>().join(", "))
        }
        _ => packet.to_owned(),
    }
}

/// Splits at spaces, but not within quotes and brackets.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut quoted, mut escaped, mut depth) = (false, false, 0_usize);
    for c in text.chars() {
        let last = words.len() - 1;
        if c.is_whitespace() && !quoted && depth == 0 {
            if !words[last].is_empty() {
                words.push(String::new());
            }
            continue;
        }
        match c {
            '"' if !escaped => quoted = !quoted,
            '[' if !quoted => depth += 1,
            ']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        escaped = quoted && c == '\\' && !escaped;
        words[last].push(c);
    }
    words.retain(|w| !w.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_form() {
        let full = |short: &str| with_braces(short);
        assert_eq!(full("tcp"), "tcp");
        assert_eq!(full("tcp { ttl = 3 }"), "tcp { ttl = 3 }");
        assert_eq!(
            full("tcp src 10.0.0.1:4000 dst 203.0.113.9:80"),
            "tcp { src = 10.0.0.1:4000, dst = 203.0.113.9:80 }"
        );
        assert_eq!(
            full(r#"tcp flags [syn, ack]  payload "GET / \"x\" [""#),
            r#"tcp { flags = [syn, ack], payload = "GET / \"x\" [" }"#
        );
        assert_eq!(full("udp dst"), "udp { dst }");
    }
}
