//! `ip saddr 10.0.0.0/8 tcp dport { 22, 80 } accept`, with or without `nft add rule inet filter input` before it.

use super::{Foreign, Meant, SYN, VERDICTS, address, negated, ports, protocol, verdict};

pub(super) fn read(words: &[&str]) -> Option<Foreign> {
    let found = |rule| Foreign {
        tool: "nftables",
        rule,
    };
    let words = match words {
        ["nft", rest @ ..] => rest,
        _ => words,
    };
    if matches!(
        words,
        ["table" | "chain" | "type" | "policy", ..]
            | ["}"]
            | ["add" | "create" | "flush", "table" | "chain", ..]
    ) {
        return Some(found(None));
    }
    let rest = match words {
        // nft add rule FAMILY TABLE CHAIN ...
        ["add" | "insert", "rule", _, _, _, rest @ ..] => rest,
        _ => words,
    };
    let ours = rest.first().is_some_and(|word| VERDICTS.contains(word));
    let words_of_nft = [
        "saddr", "daddr", "sport", "dport", "ct", "meta", "iifname", "oifname", "counter",
    ];
    let theirs = rest.iter().any(|word| words_of_nft.contains(word));
    (!ours && theirs).then(|| found(meant(rest)))
}

fn meant(words: &[&str]) -> Option<Meant> {
    let mut rest = words;
    let mut terms: Vec<String> = Vec::new();
    let mut verdict_of = None;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (*first, after) {
            ("ip" | "ip6", [field @ ("saddr" | "daddr"), after @ ..]) => {
                let (not, values, after) = values(after)?;
                rest = after;
                let direction = if *field == "saddr" { "src" } else { "dst" };
                let all: Option<Vec<String>> = values.iter().map(|v| address(direction, v)).collect();
                terms.push(any(not, all?));
            }
            ("ip", ["protocol", after @ ..])
            | ("ip6", ["nexthdr", after @ ..])
            | ("meta", ["l4proto", after @ ..]) => {
                let (not, values, after) = values(after)?;
                rest = after;
                let all: Option<Vec<String>> = values.iter().map(|v| protocol(v)).collect();
                terms.push(any(not, all?));
            }
            (transport @ ("tcp" | "udp" | "sctp" | "th"), [field @ ("sport" | "dport"), after @ ..]) => {
                let (not, values, after) = values(after)?;
                rest = after;
                let direction = if *field == "sport" { "src" } else { "dst" };
                if transport != "th" {
                    terms.push(transport.to_owned());
                }
                terms.push(negated(not, ports(direction, &values)?));
            }
            ("tcp", ["flags", "syn", after @ ..]) => {
                rest = after;
                terms.push(SYN.to_owned());
            }
            ("counter", _) => {}
            ("comment", [_, after @ ..]) => rest = after,
            (word, _) => verdict_of = Some(verdict(word)?),
        }
    }
    terms.retain(|term| !term.is_empty());
    terms.dedup();
    Some(Meant {
        verdict: verdict_of?,
        terms,
    })
}

/// `X`, `!= X` or `{ X, Y }`: whether it is negated, the values, and what is behind.
fn values<'w>(words: &'w [&'w str]) -> Option<(bool, Vec<&'w str>, &'w [&'w str])> {
    let (not, words) = match words {
        ["!=", rest @ ..] => (true, rest),
        ["==", rest @ ..] => (false, rest),
        _ => (false, words),
    };
    let (first, rest) = words.split_first()?;
    if *first != "{" {
        return Some((not, vec![first], rest));
    }
    let end = rest.iter().position(|word| *word == "}")?;
    let (inside, after) = rest.split_at(end);
    let values = inside.iter().flat_map(|word| word.split(','));
    let values: Vec<&str> = values.filter(|word| !word.is_empty()).collect();
    Some((not, values, after.get(1..)?))
}

fn any(not: bool, mut terms: Vec<String>) -> String {
    match terms.len() {
        1 => negated(not, terms.pop().unwrap_or_default()),
        _ => negated(not, format!("({})", terms.join(" or "))),
    }
}
