//! Lists of rules like those that ClassBench makes (Taylor and Turner, IEEE/ACM Transactions on Networking 2007), and frames that
//! their rules take.

use std::fmt::Write as _;

use super::frames::Random;

/// The three kinds of ClassBench's seeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Access lists: destinations laid down, and their ports.
    Acl,
    /// Firewalls: one end is mostly any, ports are often ranges.
    Fw,
    /// Chains of `ipchains`: a mix, both ends often laid down.
    Ipc,
}

/// Rules like `drop 10.1.0.0/16 -> 10.2.3.4 tcp 80`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    /// Addresses of IPv6: those of IPv4 behind 2001:db8.
    six: bool,
    source: (u32, u32),
    destination: (u32, u32),
    protocol: Option<u8>,
    source_ports: (u16, u16),
    ports: (u16, u16),
}

/// A list of so many rules, those that lay down most first. One in `six` is of IPv6; 0: none.
pub(crate) fn list(random: &mut Random, kind: Kind, rules: usize, six: usize) -> Vec<Rule> {
    let networks = 20 + rules / 50;
    let mut list: Vec<Rule> = (0..rules).map(|_| rule(random, kind, networks, six)).collect();
    list.sort_by_key(|rule| std::cmp::Reverse(rule.precision()));
    list
}

fn rule(random: &mut Random, kind: Kind, networks: usize, six: usize) -> Rule {
    // Of a hundred: any source, any destination, any source port, one port, a range of ports.
    let [any_source, any_destination, any_source_port, one_port, ports] = match kind {
        Kind::Acl => [15, 4, 95, 55, 25],
        Kind::Fw => [35, 35, 70, 40, 40],
        Kind::Ipc => [12, 12, 80, 45, 25],
    };
    let below = |random: &mut Random, of: usize| random.below(100) < of;
    let source = if below(random, any_source) {
        (0, 0)
    } else {
        prefix(random, networks)
    };
    let destination = if below(random, any_destination) {
        (0, 0)
    } else {
        prefix(random, networks)
    };
    let protocol = [Some(6), Some(6), Some(6), Some(17), Some(17), Some(1), None][random.below(7)];
    let with_ports = matches!(protocol, Some(6 | 17));
    let range = |random: &mut Random, one: usize, ranges: usize| match random.below(100) {
        _ if !with_ports => (0, u16::MAX),
        n if n < one => {
            let known = [80, 443, 53, 22, 25, 8080, 3306, 123];
            let port = if random.one_in(4) {
                random.next() as u16
            } else {
                random.pick(&known)
            };
            (port, port)
        }
        n if n < one + ranges => {
            let (low, size) = (random.below(60_000) as u16, random.below(3000) as u16);
            random.pick(&[(1024, u16::MAX), (0, 1023), (low, low + size)])
        }
        _ => (0, u16::MAX),
    };
    let other = 100 - any_source_port;
    Rule {
        six: six > 0 && random.one_in(six),
        source,
        destination,
        protocol,
        source_ports: range(random, other / 3, other - other / 3),
        ports: range(random, one_port, ports),
    }
}

/// A prefix within one of the networks.
fn prefix(random: &mut Random, networks: usize) -> (u32, u32) {
    let length = [8, 16, 16, 20, 24, 24, 24, 28, 32, 32, 32][random.below(11)];
    let network = random.below(networks) as u32;
    let address = (10 + network % 64) << 24 | (network * 37 % 256) << 16 | random.next() as u32 & 0xffff;
    (address & mask(length), length)
}

fn mask(length: u32) -> u32 {
    u32::MAX.checked_shl(32 - length).unwrap_or(0)
}

impl Rule {
    fn precision(&self) -> u32 {
        let bits = |(low, high): (u16, u16)| (high - low).leading_zeros();
        let protocol = if self.protocol.is_some() { 8 } else { 0 };
        self.source.1 + self.destination.1 + protocol + bits(self.source_ports) + bits(self.ports)
    }

    /// The lowered filter.
    pub(crate) fn filter(&self) -> String {
        let mut tests = String::new();
        let mut test = |text: std::fmt::Arguments<'_>| {
            let _ = write!(tests, " ({text})");
        };
        test(format_args!("{}", if self.six { "ip6" } else { "ip" }));
        match self.protocol {
            Some(1) => test(format_args!("ip-proto 1")),
            Some(6) => test(format_args!("tcp")),
            Some(17) => test(format_args!("udp")),
            _ => {}
        }
        for (end, (address, length)) in [("src", self.source), ("dst", self.destination)] {
            match (length, self.six) {
                (0, _) => {}
                (_, true) => {
                    let (high, low) = (address >> 16, address & 0xffff);
                    test(format_args!(
                        "net {end} 2001:db8:{high:x}:{low:x}::/{}",
                        32 + length
                    ));
                }
                (_, false) => test(format_args!(
                    "net {end} {}/{length}",
                    std::net::Ipv4Addr::from_bits(address)
                )),
            }
        }
        for (end, ports) in [("src", self.source_ports), ("dst", self.ports)] {
            match ports {
                (0, u16::MAX) => {}
                (low, high) if low == high => test(format_args!("port {end} {low}")),
                (low, high) => test(format_args!("port {end} {low}-{high}")),
            }
        }
        match tests.matches('(').count() {
            1 => tests.trim_start().to_owned(),
            _ => format!("(and{tests})"),
        }
    }

    /// A frame that the rule takes, unless it is of ICMP and IPv6.
    pub(crate) fn frame(&self, random: &mut Random) -> Vec<u8> {
        let mut address = |(address, length)| address | random.next() as u32 & !mask(length);
        let (source, destination) = (address(self.source), address(self.destination));
        let mut port = |(low, high): (u16, u16)| low + random.below(usize::from(high - low) + 1) as u16;
        let (source_port, port) = (port(self.source_ports), port(self.ports));
        let protocol = self.protocol.unwrap_or(random.pick(&[6, 17, 47]));
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        let word = |address: u32| address.to_be_bytes();
        if self.six {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, protocol, 64]);
            for address in [source, destination] {
                frame.extend([0x20, 1, 0x0d, 0xb8]);
                frame.extend(word(address));
                frame.extend([0; 8]);
            }
        } else {
            frame.extend([8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, protocol, 0, 0]);
            frame.extend([word(source), word(destination)].concat());
        }
        frame.extend([source_port.to_be_bytes(), port.to_be_bytes()].concat());
        frame.extend([0; 26]);
        frame
    }
}
