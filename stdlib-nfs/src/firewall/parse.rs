//! The rules file: one rule a line, `#` to the end of a line is comment.
//!
//! ```text
//! rule      = ("accept" | "drop") protocol? condition*
//! protocol  = "any" | "ip" | "ip6" | "tcp" | "udp" | "sctp" | "icmp" | "icmp6" | "arp"
//!           | "proto" 0..255 | "ether" 0x0600..0xffff
//! condition = "from" addresses ports? | "to" addresses ports? | "flags" flags | "type" numbers
//!           | "vlan" 0..4095 | "fragment"
//! addresses = "any" | PREFIX ("," PREFIX)*            an address alone is a prefix of full length
//! ports     = "port" numbers                          of tcp, udp and sctp
//! numbers   = (N | N "-" M) ("," (N | N "-" M))*
//! flags     = "!"? FLAG ("," "!"? FLAG)*              fin syn rst psh ack urg ece cwr
//! ```
//!
//! `ip` is IPv4 only, as in tcpdump; without a protocol, or with `any`, a rule without addresses matches everything.

mod cursor;
mod iptables;

use ipnet::IpNet;
use nflib::{FileMistake, headers::protocol};

use self::cursor::{Cursor, Failure};
use super::rules::{Action, Family, Rule, Side, Span};
use crate::files::Parsed;

const PROTOCOLS: &str =
    "`any`, `ip`, `ip6`, `tcp`, `udp`, `sctp`, `icmp`, `icmp6`, `arp`, `proto` or `ether`";
const CONDITIONS: &str = "`from`, `to`, `flags`, `type`, `vlan`, `fragment` or the end of the line";
const FLAGS: [&str; 8] = ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"];

/// Reads a whole file. Each line is read for itself, so one mistake hides none in another.
pub fn rules(content: &[u8]) -> Parsed<Vec<Rule>> {
    let (mut rules, mut mistakes) = (Vec::new(), Vec::new());
    for (i, bytes) in content.split(|&b| b == b'\n').enumerate() {
        let line = i + 1;
        match one(bytes, line) {
            Ok(rule) => rules.extend(rule),
            Err(failure) => mistakes.push(FileMistake {
                help: iptables::hint(&String::from_utf8_lossy(bytes)),
                ..FileMistake::new(line, failure.column, failure.length, failure.message)
            }),
        }
    }
    if mistakes.is_empty() {
        Ok(rules)
    } else {
        Err(mistakes)
    }
}

/// The rule of a line; none on an empty one.
fn one(bytes: &[u8], line: usize) -> Result<Option<Rule>, Failure> {
    let text = str::from_utf8(bytes).map_err(|e| Failure {
        column: String::from_utf8_lossy(&bytes[..e.valid_up_to()]).chars().count() + 1,
        length: 1,
        message: "this is not UTF-8 text".to_owned(),
    })?;
    let mut cursor = Cursor::new(text);
    if cursor.at_end() {
        return Ok(None);
    }
    rule(&mut cursor, line).map(Some)
}

fn rule(c: &mut Cursor<'_>, line: usize) -> Result<Rule, Failure> {
    let action = match c.peek() {
        "accept" => Action::Accept,
        "drop" => Action::Drop,
        _ => return Err(c.expected("`accept` or `drop`")),
    };
    c.advance();
    let mut rule = Rule {
        line,
        text: c.text(),
        action,
        family: Family::Any,
        protocol: None,
        source: Side::default(),
        destination: Side::default(),
        flags: (0, 0),
        icmp_types: Box::default(),
        vlan: None,
        fragment: false,
    };
    protocol_of(c, &mut rule)?;
    let mut seen = Vec::new();
    while !c.at_end() {
        let word = c.peek();
        if seen.contains(&word) {
            return Err(c.failure(format!("`{word}` stands twice in this rule")));
        }
        condition(c, &mut rule, seen.is_empty())?;
        seen.push(word);
    }
    Ok(rule)
}

fn protocol_of(c: &mut Cursor<'_>, rule: &mut Rule) -> Result<(), Failure> {
    (rule.family, rule.protocol) = match c.peek() {
        "any" => (Family::Any, None),
        "ip" => (Family::Ipv4, None),
        "ip6" => (Family::Ipv6, None),
        "arp" => (Family::ARP, None),
        "tcp" => (Family::Ip, Some(protocol::TCP)),
        "udp" => (Family::Ip, Some(protocol::UDP)),
        "sctp" => (Family::Ip, Some(protocol::SCTP)),
        "icmp" => (Family::Ipv4, Some(protocol::ICMP)),
        "icmp6" => (Family::Ipv6, Some(protocol::ICMPV6)),
        "proto" => {
            c.advance();
            let number = c.number(0..=255, "an IP protocol number from 0 to 255")?;
            (rule.family, rule.protocol) = (Family::Ip, Some(number as u8));
            return Ok(());
        }
        "ether" => {
            c.advance();
            let number = c.number(0x600..=0xffff, "an EtherType from 0x0600 to 0xffff")?;
            rule.family = Family::Ether(number);
            return Ok(());
        }
        _ => return Ok(()),
    };
    c.advance();
    Ok(())
}

fn condition(c: &mut Cursor<'_>, rule: &mut Rule, first: bool) -> Result<(), Failure> {
    let has_ports = matches!(
        rule.protocol,
        Some(protocol::TCP | protocol::UDP | protocol::SCTP)
    );
    match c.peek() {
        "from" => rule.source = side(c, &mut rule.family, has_ports)?,
        "to" => rule.destination = side(c, &mut rule.family, has_ports)?,
        "flags" if rule.protocol == Some(protocol::TCP) => {
            c.advance();
            rule.flags = flags(c)?;
        }
        "type" if matches!(rule.protocol, Some(protocol::ICMP | protocol::ICMPV6)) => {
            c.advance();
            rule.icmp_types = numbers(c, 255, "an ICMP type from 0 to 255")?;
        }
        "vlan" => {
            c.advance();
            rule.vlan = Some(c.number(0..=4095, "a VLAN number from 0 to 4095")?);
        }
        "fragment" if may_be_ip(rule.family) => {
            c.advance();
            rule.fragment = true;
            if rule.family == Family::Any {
                rule.family = Family::Ip;
            }
        }
        "flags" => return Err(c.failure("`flags` needs the protocol `tcp`".to_owned())),
        "type" => return Err(c.failure("`type` needs the protocol `icmp` or `icmp6`".to_owned())),
        "fragment" => return Err(c.failure("only IP packets are fragments".to_owned())),
        "port" => return Err(c.failure("`port` follows an address, as in `to any port 80`".to_owned())),
        _ if first && rule.family == Family::Any => {
            return Err(c.expected(&format!("{PROTOCOLS}, or {CONDITIONS}")));
        }
        _ => return Err(c.expected(CONDITIONS)),
    }
    let names_transport =
        !(rule.source.ports.is_empty() && rule.destination.ports.is_empty() && rule.icmp_types.is_empty());
    if rule.fragment && (names_transport || rule.flags.0 != 0) {
        let message = "later fragments carry no ports, flags or types, so this rule could never match";
        return Err(c.failure_at_previous(message.to_owned()));
    }
    Ok(())
}

fn may_be_ip(family: Family) -> bool {
    !matches!(family, Family::Ether(_))
}

/// `from` or `to` with what follows; narrows the family to that of the addresses.
fn side(c: &mut Cursor<'_>, family: &mut Family, has_ports: bool) -> Result<Side, Failure> {
    if !may_be_ip(*family) {
        return Err(c.failure("`arp` and `ether` rules take no addresses".to_owned()));
    }
    c.advance();
    let mut networks = Vec::new();
    if c.peek() == "any" {
        c.advance();
    } else {
        let (mut v4, mut v6) = (false, false);
        let start = c.failure(String::new());
        loop {
            let network = prefix(c)?;
            v4 |= matches!(network, IpNet::V4(_));
            v6 |= matches!(network, IpNet::V6(_));
            networks.push(network.into());
            if !c.take(",") {
                break;
            }
        }
        *family = narrow(*family, v4, v6).map_err(|message| Failure { message, ..start })?;
    }
    let mut ports = Box::default();
    if c.peek() == "port" {
        if !has_ports {
            return Err(c.failure("`port` needs the protocol `tcp`, `udp` or `sctp`".to_owned()));
        }
        c.advance();
        ports = numbers(
            c,
            u16::MAX,
            "a port from 0 to 65535 or a range such as `1000-2000`",
        )?;
    }
    Ok(Side {
        networks: networks.into(),
        ports,
    })
}

fn prefix(c: &mut Cursor<'_>) -> Result<IpNet, Failure> {
    let word = c.peek();
    let network = match word.parse::<IpNet>() {
        Ok(network) => network,
        Err(_) => word.parse::<std::net::IpAddr>().map(IpNet::from).map_err(|_| {
            c.expected("`any`, an address, or a prefix such as `10.0.0.0/8` or `2001:db8::/32`")
        })?,
    };
    if network != network.trunc() {
        return Err(c.failure(format!(
            "`{word}` has bits set beyond its length: write `{}`",
            network.trunc()
        )));
    }
    c.advance();
    Ok(network)
}

/// The family that is left when the rule names addresses of these kinds.
fn narrow(family: Family, v4: bool, v6: bool) -> Result<Family, String> {
    match family {
        Family::Ipv4 if v6 => Err("this rule is about IPv4 and here is an IPv6 address".to_owned()),
        Family::Ipv6 if v4 => Err("this rule is about IPv6 and here is an IPv4 address".to_owned()),
        Family::Any | Family::Ip if v4 && !v6 => Ok(Family::Ipv4),
        Family::Any | Family::Ip if v6 && !v4 => Ok(Family::Ipv6),
        Family::Any => Ok(Family::Ip),
        other => Ok(other),
    }
}

fn numbers(c: &mut Cursor<'_>, largest: u16, what: &str) -> Result<Box<[Span]>, Failure> {
    let mut spans = Vec::new();
    loop {
        let word = c.peek();
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if first <= largest && last <= largest => {
                if first > last {
                    return Err(c.failure(format!("the range is backwards: write `{last}-{first}`")));
                }
                spans.push(Span(first, last));
            }
            _ => return Err(c.expected(what)),
        }
        c.advance();
        if !c.take(",") {
            return Ok(spans.into());
        }
    }
}

fn flags(c: &mut Cursor<'_>) -> Result<(u8, u8), Failure> {
    let (mut mask, mut set) = (0, 0);
    loop {
        let word = c.peek();
        let name = word.strip_prefix('!').unwrap_or(word);
        let Some(bit) = FLAGS.iter().position(|&flag| flag == name) else {
            return Err(
                c.expected("a TCP flag (`fin syn rst psh ack urg ece cwr`), or one with `!` before it")
            );
        };
        if mask & 1 << bit != 0 {
            return Err(c.failure(format!("the flag `{name}` stands twice")));
        }
        mask |= 1 << bit;
        set |= u8::from(name.len() == word.len()) << bit;
        c.advance();
        if !c.take(",") {
            return Ok((mask, set));
        }
    }
}
