//! Steering rules like the access lists that ClassBench makes (Taylor and Turner, IEEE/ACM Transactions on Networking 2007):
//! prefixes of both addresses nested within a few hundred networks, port ranges, protocols, wildcards.

use std::fmt::Write as _;

/// The same sequence every time (xorshift, Marsaglia 2003).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }
}

/// A source with so many rules and assertions.
pub(super) fn source(rules: usize, asserts: usize) -> String {
    let mut random = Random(88_172_645_463_325_252);
    let networks = 20 + rules as u64 / 50;
    let mut list: Vec<(u32, String)> = (0..rules).map(|_| rule(&mut random, networks)).collect();
    // As operators keep them: exceptions before what they are exceptions to.
    list.sort_by_key(|(precision, _)| std::cmp::Reverse(*precision));
    let mut text = String::from(
        "port wan = null { size = 64 }\nport lan = null { size = 64 }\n\
         nf a = forward\nnf b = forward\nnf c = forward\n\
         chain left = a -> b -> lan\nchain right = c -> b -> lan\n\
         steer lan { else -> drop }\nsteer wan {\n",
    );
    // Writing to a string does not fail.
    for (i, (_, filter)) in list.iter().enumerate() {
        let chain = if i % 3 == 0 { "left" } else { "right" };
        let _ = writeln!(text, "    {filter} -> {chain}");
    }
    text += "    else -> left\n}\n";
    for i in 0..asserts {
        let (_, filter) = rule(&mut random, networks);
        let claim = [
            "passes b before lan",
            "never reaches wan",
            "reaches lan",
            "passes b",
        ][i % 4];
        let _ = writeln!(text, "assert wan: {filter} {claim}");
    }
    text
}

/// Rules of each firewall of [`behind_firewalls`].
const FIREWALL_RULES: usize = 1_000;
/// What their files are called.
const FIREWALLS: [&str; 2] = ["outer.rules", "inner.rules"];
/// The first firewall accepts nothing to this port and those above.
const CLOSED: u64 = 20_000;

/// As [`source`], with two firewalls on every chain, and assertions that hold by their rules.
pub(super) fn behind_firewalls(rules: usize, asserts: usize) -> String {
    let [outer, inner] = FIREWALLS;
    let mut text = source(rules, 0);
    for (from, to) in [
        (
            "nf a = forward\nnf b = forward\nnf c = forward\n",
            format!(
                "port jail = null {{ size = 64 }}\nsteer jail {{ else -> drop }}\nnf b = forward\n\
                 nf outer = firewall {{ rules = file(\"{outer}\"), on_deny = output }}\n\
                 nf inner = firewall {{ rules = file(\"{inner}\"), default = accept }}\n"
            ),
        ),
        (
            "chain left = a -> b -> lan",
            "chain left = outer { denied -> jail } -> inner -> b -> lan".to_owned(),
        ),
        (
            "chain right = c -> b -> lan",
            "chain right = inner -> outer { denied -> jail } -> b -> lan".to_owned(),
        ),
    ] {
        text = text.replacen(from, &to, 1);
    }
    let dropped = firewall(1);
    for (i, rule) in (0..asserts).zip(dropped.iter().cycle()) {
        let rule = match i % 2 {
            0 => FirewallRule {
                protocol: "tcp",
                port: CLOSED + i as u64,
                ..*rule
            },
            _ => *rule,
        };
        let _ = writeln!(text, "assert wan: {} never reaches lan", rule.as_filter());
    }
    text
}

/// As [`behind_firewalls`], of ports where hosts are, which may send VLAN tags and fragments; every fourth rule drops.
pub(super) fn live(rules: usize) -> String {
    let mut text = String::new();
    let mut seen = 0;
    for line in behind_firewalls(rules, 0).lines() {
        let target = line
            .strip_prefix("    ")
            .and_then(|rule| rule.rsplit_once(" -> "));
        match target {
            Some((filter, chain)) if filter != "else" => {
                seen += 1;
                let chain = if seen % 4 == 0 { "drop" } else { chain };
                let _ = writeln!(text, "    {filter} -> {chain}");
            }
            _ => {
                let _ = writeln!(text, "{line}");
            }
        }
    }
    for (port, interface) in [("wan", "w0"), ("lan", "l0")] {
        let from = format!("port {port} = null {{ size = 64 }}");
        text = text.replacen(
            &from,
            &format!("port {port} = af_packet {{ interface = \"{interface}\" }}"),
            1,
        );
    }
    text
}

#[derive(Debug, Clone, Copy)]
struct FirewallRule {
    protocol: &'static str,
    from: Option<(std::net::Ipv4Addr, u32)>,
    to: Option<(std::net::Ipv4Addr, u32)>,
    port: u64,
}

impl FirewallRule {
    fn as_filter(&self) -> String {
        let net = |word: &str, net: Option<(std::net::Ipv4Addr, u32)>| {
            net.map_or(String::new(), |(net, length)| {
                format!(" and {word} net {net}/{length}")
            })
        };
        let (from, to) = (net("src", self.from), net("dst", self.to));
        format!("{} dst port {}{from}{to}", self.protocol, self.port)
    }

    fn as_rule(&self, action: &str) -> String {
        format!("{action} {}\n", self.as_filter())
    }
}

fn firewall(which: u64) -> Vec<FirewallRule> {
    let mut random = Random(362_436_069 + which);
    let networks = 20 + FIREWALL_RULES as u64 / 50;
    let mut rule = || FirewallRule {
        protocol: if random.below(3) == 0 { "udp" } else { "tcp" },
        from: prefix(&mut random, networks),
        to: prefix(&mut random, networks),
        port: random.below(CLOSED),
    };
    (0..FIREWALL_RULES).map(|_| rule()).collect()
}

/// The rules of the firewalls: the first accepts what they say, the second drops it.
pub(super) fn firewall_files() -> [(&'static str, String); 2] {
    let [outer, inner] = FIREWALLS;
    let text = |which, action| firewall(which).iter().map(|rule| rule.as_rule(action)).collect();
    [(outer, text(0, "accept")), (inner, text(1, "drop"))]
}

/// A rule's filter, and how much of a packet it lays down.
fn rule(random: &mut Random, networks: u64) -> (u32, String) {
    let mut parts = Vec::new();
    let mut precision = 0;
    let protocol = match random.below(10) {
        0..=5 => Some("tcp"),
        6..=8 => Some("udp"),
        _ => None,
    };
    if let Some(protocol) = protocol {
        parts.push(protocol.to_owned());
        precision += 8;
    }
    for end in ["src", "dst"] {
        if let Some((net, length)) = prefix(random, networks) {
            parts.push(format!("{end} net {net}/{length}"));
            precision += length;
        }
    }
    if protocol.is_some() {
        if let Some((ports, bits)) = ports(random) {
            parts.push(format!("dst {ports}"));
            precision += bits;
        }
        if random.below(5) == 0 {
            parts.push("src portrange 1024-65535".to_owned());
            precision += 1;
        }
    }
    if parts.is_empty() {
        parts.push("ip".to_owned());
    }
    (precision, parts.join(" and "))
}

/// A prefix within one of the networks; none for any address.
fn prefix(random: &mut Random, networks: u64) -> Option<(std::net::Ipv4Addr, u32)> {
    let length = match random.below(100) {
        0..=7 => return None,
        8..=11 => 8,
        12..=24 => 16,
        25..=34 => 20,
        35..=59 => 24,
        60..=74 => 28,
        _ => 32,
    };
    let network = random.below(networks) as u32;
    let low = random.below(1 << 16) as u32 & if random.below(2) == 0 { 0xffff } else { 0x0f0f };
    let address = (10 + network % 64) << 24 | (network * 37 % 256) << 16 | low;
    let mask = u32::MAX << (32 - length);
    Some(((address & mask).into(), length))
}

fn ports(random: &mut Random) -> Option<(String, u32)> {
    const KNOWN: [u16; 8] = [80, 443, 53, 22, 25, 8080, 3306, 123];
    Some(match random.below(10) {
        0..=2 => return None,
        3..=6 => (format!("port {}", KNOWN[random.below(8) as usize]), 16),
        7 => ("portrange 1024-65535".to_owned(), 1),
        8 => (format!("port {}", random.below(1 << 16)), 16),
        _ => {
            let low = random.below(60_000);
            (format!("portrange {low}-{}", low + random.below(3_000)), 6)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{live, source};

    #[test]
    fn every_fourth_rule_of_a_live_port_drops() {
        let text = live(1_000);
        assert_eq!(text.matches(" -> drop\n").count(), 250);
        assert_eq!(text.matches("= af_packet {").count(), 2);
    }

    #[test]
    fn as_many_as_asked_for_and_the_same_every_time() {
        let text = source(1_000, 50);
        let count = |start: &str| text.lines().filter(|l| l.starts_with(start)).count();
        assert_eq!(count("    "), 1_001);
        assert_eq!(count("assert wan: "), 50);
        assert_eq!(text, source(1_000, 50));
    }
}
