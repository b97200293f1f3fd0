//! Lines of iptables, nftables and Cisco access lists among rules, and their translation.

mod cisco;
mod iptables;
mod nftables;

use super::VERDICTS;
use crate::{Diagnostic, codes, filter, syntax::Span};

/// What a line of another firewall is.
struct Foreign {
    /// As in "a line of iptables".
    tool: &'static str,
    /// The rule that means the same; none: it says more than a rule can, or nothing.
    rule: Option<Meant>,
}

/// The parts of a rule: what must hold together, as filters.
struct Meant {
    verdict: &'static str,
    terms: Vec<String>,
}

impl Meant {
    /// None where it does not parse, so that nothing wrong is proposed.
    fn text(&self) -> Option<String> {
        let body = match self.terms.as_slice() {
            [] => "all".to_owned(),
            terms => terms.join(" and "),
        };
        let mut diagnostics = Vec::new();
        filter::parse_at(&body, 0, super::END, &mut diagnostics);
        diagnostics.is_empty().then(|| format!("{} {body}", self.verdict))
    }
}

/// The error for a line of another firewall, if it is one.
pub(super) fn diagnostic(line: &str, span: Span) -> Option<Diagnostic> {
    let words = words(line);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let foreign = iptables::read(&words)
        .or_else(|| cisco::read(&words))
        .or_else(|| nftables::read(&words))?;
    let found = Diagnostic::error(
        codes::FOREIGN_RULE,
        format!("this is a line of {}", foreign.tool),
        span,
        "rules are written `VERDICT FILTER` here",
    );
    Some(match foreign.rule.as_ref().and_then(Meant::text) {
        Some(rule) => found.help(format!("here it is `{rule}`")).write(span, rule),
        None => found.help("a rule looks like `drop src net 10.0.0.0/8 and tcp dst port 22`; its filter is of the chain language"),
    })
}

/// Words, with brackets, braces and commas apart and quotes kept together.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        let current = words.last_mut().map_or(0, |w| w.len());
        match c {
            '"' => quoted = !quoted,
            c if quoted => push(&mut words, c),
            c if c.is_whitespace() => {
                if current > 0 {
                    words.push(String::new());
                }
            }
            '{' | '}' | ';' => {
                words.push(c.to_string());
                words.push(String::new());
            }
            c => push(&mut words, c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn push(words: &mut [String], c: char) {
    if let Some(word) = words.last_mut() {
        word.push(c);
    }
}

/// The word for it here.
fn verdict(word: &str) -> Option<&'static str> {
    let lower = word.to_lowercase();
    Some(match lower.as_str() {
        "accept" | "permit" | "allow" | "pass" => "accept",
        "drop" | "deny" | "reject" | "block" => "drop",
        _ => return None,
    })
}

/// `src host 10.0.0.1`, `dst net 10.0.0.0/8`; empty for every address.
fn address(direction: &str, written: &str) -> Option<String> {
    let (address, length) = match written.split_once('/') {
        Some((address, length)) => (address, Some(length.parse::<u8>().ok()?)),
        None => (written, None),
    };
    let full = if address.parse::<std::net::IpAddr>().ok()?.is_ipv4() {
        32
    } else {
        128
    };
    Some(match length {
        Some(0) => String::new(),
        Some(length) if length != full => format!("{direction} net {address}/{length}"),
        _ => format!("{direction} host {address}"),
    })
}

/// `dst port 22`, `src portrange 1000-2000`, `dst port [53, 1000-2000]`.
fn ports(direction: &str, written: &[&str]) -> Option<String> {
    let ports: Vec<String> = written.iter().map(|port| port.replace(':', "-")).collect();
    match ports.as_slice() {
        [] => None,
        [one] if one.contains('-') => Some(format!("{direction} portrange {one}")),
        [one] => Some(format!("{direction} port {one}")),
        more => Some(format!("{direction} port [{}]", more.join(", "))),
    }
}

/// `tcp`, `proto 47`; empty for every protocol.
fn protocol(word: &str) -> Option<String> {
    Some(match word {
        "all" | "ip" | "ipv4" => String::new(),
        "tcp" | "udp" | "sctp" | "icmp" | "igmp" | "ah" | "esp" => word.to_owned(),
        "icmpv6" | "ipv6-icmp" => "icmp6".to_owned(),
        "gre" => "proto 47".to_owned(),
        "ospf" => "proto 89".to_owned(),
        number => format!("proto {}", number.parse::<u8>().ok()?),
    })
}

/// Packets of a TCP connection's beginning, as `--syn` and `ct state new` without its table have it.
const SYN: &str = "tcp[tcpflags] & (tcp-syn|tcp-ack|tcp-fin|tcp-rst) == tcp-syn";

/// A direction that is stated with its term: `not` before it where that is negated.
fn negated(not: bool, term: String) -> String {
    match not && !term.is_empty() {
        true => format!("not {term}"),
        false => term,
    }
}
