//! `access-list 101 permit tcp any host 192.0.2.1 eq 80`, and the lines of a named list.

use std::net::Ipv4Addr;

use super::{Foreign, Meant, address, ports, protocol};

pub(super) fn read(words: &[&str]) -> Option<Foreign> {
    let found = |rule| Foreign {
        tool: "a Cisco access list",
        rule,
    };
    let rest = match words {
        ["access-list", _, rest @ ..] => rest,
        ["ip" | "ipv6", "access-list", ..] => return Some(found(None)),
        [number, rest @ ..] if number.parse::<u32>().is_ok() => rest,
        _ => words,
    };
    let (verdict, rest) = match rest {
        ["permit", rest @ ..] => ("accept", rest),
        ["deny", rest @ ..] => ("drop", rest),
        _ => return None,
    };
    Some(found(meant(verdict, rest)))
}

fn meant(verdict: &'static str, words: &[&str]) -> Option<Meant> {
    let mut words = Words(words);
    let first = protocol(words.next()?)?;
    let mut terms = vec![first];
    terms.push(words.end("src")?);
    terms.push(words.ports("src")?);
    terms.push(words.end("dst")?);
    terms.push(words.ports("dst")?);
    for word in words.0 {
        match *word {
            "established" => terms.push("tcp[tcpflags] & (tcp-ack|tcp-rst) != 0".to_owned()),
            "echo" => terms.push("icmp[icmptype] == icmp-echo".to_owned()),
            "echo-reply" => terms.push("icmp[icmptype] == icmp-echoreply".to_owned()),
            "fragments" => terms.push("ip[6:2] & 0x1fff != 0".to_owned()),
            "log" | "log-input" => {}
            _ => return None,
        }
    }
    terms.retain(|term| !term.is_empty());
    Some(Meant { verdict, terms })
}

struct Words<'w>(&'w [&'w str]);

impl<'w> Words<'w> {
    fn next(&mut self) -> Option<&'w str> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    /// `any`, `host A`, `A WILDCARD`.
    fn end(&mut self, direction: &str) -> Option<String> {
        match self.next()? {
            "any" => Some(String::new()),
            "host" => address(direction, self.next()?),
            prefix if prefix.contains('/') => address(direction, prefix),
            network => {
                let wildcard: Ipv4Addr = self.next()?.parse().ok()?;
                let mask = !u32::from(wildcard);
                let length = mask.leading_ones();
                // A wildcard with holes is not a prefix.
                (mask.count_ones() == length).then_some(())?;
                address(direction, &format!("{network}/{length}"))
            }
        }
    }

    /// `eq 80`, `range 1000 2000`, `gt 1023`, `lt 1024`, `neq 25`; empty where none stands.
    fn ports(&mut self, direction: &str) -> Option<String> {
        let number = |word: &str| word.parse::<u16>().ok();
        match self.0 {
            ["eq", ..] => {
                self.next();
                let mut listed = vec![self.next()?];
                while self.0.first().is_some_and(|word| number(word).is_some()) {
                    listed.extend(self.next());
                }
                ports(direction, &listed)
            }
            ["neq", ..] => {
                self.next();
                Some(format!("not {direction} port {}", self.next()?))
            }
            ["range", ..] => {
                self.next();
                let (low, high) = (self.next()?, self.next()?);
                ports(direction, &[&format!("{low}-{high}")])
            }
            ["gt", ..] => {
                self.next();
                let low = number(self.next()?)?.checked_add(1)?;
                ports(direction, &[&format!("{low}-65535")])
            }
            ["lt", ..] => {
                self.next();
                let high = number(self.next()?)?.checked_sub(1)?;
                ports(direction, &[&format!("0-{high}")])
            }
            _ => Some(String::new()),
        }
    }
}
