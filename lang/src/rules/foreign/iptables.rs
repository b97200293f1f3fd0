//! `iptables -A INPUT -s 10.0.0.0/8 -p tcp --dport 22 -j ACCEPT`, and the files of `iptables-save`.

use super::{Foreign, Meant, SYN, address, negated, ports, protocol, verdict};

pub(super) fn read(words: &[&str]) -> Option<Foreign> {
    let found = |rule| Foreign {
        tool: "iptables",
        rule,
    };
    let (first, rest) = words.split_first()?;
    let heads = first.starts_with('*') || *first == "COMMIT" || first.starts_with(':') && words.len() > 1;
    if heads {
        return Some(found(None));
    }
    let tool = matches!(*first, "iptables" | "ip6tables");
    let options = if tool { rest } else { words };
    let at = options
        .iter()
        .position(|word| matches!(*word, "-A" | "--append" | "-I" | "--insert"))?;
    (tool || at == 0).then(|| found(options.get(at + 2..).and_then(meant)))
}

/// None: the options say more than a rule can.
fn meant(options: &[&str]) -> Option<Meant> {
    let mut words = options.iter().copied();
    let (mut verdict_of, mut terms) = (None, Vec::new());
    let mut not = false;
    while let Some(option) = words.next() {
        if option == "!" {
            not = true;
            continue;
        }
        let mut value = || words.next();
        let term = match option {
            "-s" | "--source" | "--src" => address("src", value()?)?,
            "-d" | "--destination" | "--dst" => address("dst", value()?)?,
            "-p" | "--protocol" | "--proto" => protocol(value()?)?,
            "--sport" | "--source-port" | "--sports" | "--source-ports" => list("src", value()?)?,
            "--dport" | "--destination-port" | "--dports" | "--destination-ports" => list("dst", value()?)?,
            "--syn" => SYN.to_owned(),
            "--tcp-flags" => flags(value()?, value()?)?,
            "-f" | "--fragment" => "ip[6:2] & 0x1fff != 0".to_owned(),
            "-m" | "--match" => match value()? {
                "tcp" | "udp" | "multiport" | "comment" => String::new(),
                _ => return None,
            },
            "--comment" => {
                value()?;
                String::new()
            }
            "-j" | "--jump" => {
                verdict_of = Some(verdict(value()?)?);
                String::new()
            }
            "--reject-with" => {
                value()?;
                String::new()
            }
            _ => return None,
        };
        terms.push(negated(not, term));
        not = false;
    }
    terms.retain(|term| !term.is_empty());
    Some(Meant {
        verdict: verdict_of?,
        terms,
    })
}

fn list(direction: &str, written: &str) -> Option<String> {
    ports(direction, &written.split(',').collect::<Vec<_>>())
}

/// `--tcp-flags MASK SET`
fn flags(mask: &str, set: &str) -> Option<String> {
    let names = |list: &str| match list {
        "NONE" => Some("0".to_owned()),
        "ALL" => Some("0x3f".to_owned()),
        _ => {
            let flags = list.split(',').map(|flag| {
                let flag = flag.to_lowercase();
                let known = ["fin", "syn", "rst", "psh", "ack", "urg"];
                known.contains(&flag.as_str()).then(|| {
                    let flag = if flag == "psh" { "push".to_owned() } else { flag };
                    format!("tcp-{flag}")
                })
            });
            let flags: Option<Vec<String>> = flags.collect();
            Some(format!("({})", flags?.join("|")))
        }
    };
    Some(format!("tcp[tcpflags] & {} == {}", names(mask)?, names(set)?))
}
