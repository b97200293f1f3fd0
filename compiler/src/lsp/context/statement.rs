//! In tests.

use super::{NODE, Owner, STATEMENT, Want, in_record, open};

/// Within a test.
pub(super) fn statement<'a>(body: &[&'a str]) -> Vec<Want<'a>> {
    const WORDS: [&str; 3] = ["send", "replay", "expect"];
    const PROTOCOLS: Want<'static> = Want::Words(&["ether", "arp", "ip", "ip6", "icmp", "tcp", "udp"]);
    match open(body).as_slice() {
        [] if !closes(body) => {}
        // The fields of a packet.
        [at, ..] => match body.split_at(*at) {
            ([.., "send", _, proto], [_, fields @ ..]) => return in_record(fields, Owner::Packet(proto)),
            _ => return Vec::new(),
        },
        [] => return Vec::new(),
    }
    let Some(at) = body.iter().rposition(|t| WORDS.contains(t)) else {
        return vec![STATEMENT];
    };
    let rest = body.get(at + 1..).unwrap_or_default();
    match (body.get(at).copied().unwrap_or(""), rest) {
        ("send" | "replay", []) => vec![Want::Port],
        ("send", [_]) => vec![PROTOCOLS],
        ("send", [.., "times"]) => Vec::new(),
        ("send", [_, _, ..]) if !rest.contains(&"times") => vec![Want::Words(&["times"]), STATEMENT],
        ("replay", [_]) => vec![Want::Words(&["file"])],
        ("expect", []) => [&NODE[..], &[Want::Words(&["passes", "drop"])]].concat(),
        ("expect", ["passes"]) => vec![Want::Nf],
        ("expect", ["drop", "at"]) => NODE.to_vec(),
        ("expect", ["drop"]) => vec![Want::Words(&["at"]), STATEMENT],
        ("expect", [.., "->"]) => [&NODE[..], &[Want::Words(&["drop"])]].concat(),
        ("expect", [nf, "counter"]) => vec![Want::Counter(nf)],
        ("expect", [_, "same"]) => vec![Want::Words(&["as"])],
        ("expect", [_, "same", "as"]) => vec![Want::Words(&["file"])],
        ("expect", [_]) => vec![Want::Words(&["counter", "same"]), STATEMENT],
        ("expect", [_, count]) if count.starts_with(|c: char| c.is_ascii_digit()) => {
            vec![Want::Words(&["packets"])]
        }
        _ => vec![STATEMENT],
    }
}

/// The test's own brace is closed within: the place is behind the test.
fn closes(body: &[&str]) -> bool {
    let mut depth = 0_i32;
    body.iter().any(|token| {
        match *token {
            "{" | "[" | "(" => depth += 1,
            "}" | "]" | ")" => depth -= 1,
            _ => {}
        }
        depth < 0
    })
}
