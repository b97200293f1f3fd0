//! Lines of iptables that were pasted into a rules file, and how they are written here.

/// What to write in place of a line of iptables; none: it is not one.
pub(super) fn hint(line: &str) -> Option<String> {
    let mut words = line.split_whitespace().peekable();
    let named = words.next_if(|word| {
        matches!(
            *word,
            "iptables" | "ip6tables" | "-A" | "--append" | "-I" | "--insert"
        )
    })?;
    if named.starts_with("ip") {
        words.next_if(|word| matches!(*word, "-A" | "--append" | "-I" | "--insert"))?;
    }
    Some(match translated(words.skip(1)) {
        Some(rule) => format!("this is a line of iptables; here it is `{rule}`"),
        None => "this is a line of iptables; here a rule is written as `accept tcp from 10.0.0.0/8 to any port 22`"
            .to_owned(),
    })
}

/// The rule that the options behind the chain's name make. None: they say more than a rule can.
fn translated<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<String> {
    let (mut action, mut protocol) = (None, None);
    let (mut from, mut to) = (None, None);
    let (mut source_ports, mut ports) = (None, None);
    while let Some(option) = words.next() {
        let value = words.next()?;
        match option {
            "-s" | "--source" => from = Some(value),
            "-d" | "--destination" => to = Some(value),
            "-p" | "--protocol" => protocol = Some(value),
            "--sport" | "--source-port" | "--sports" => source_ports = Some(value),
            "--dport" | "--destination-port" | "--dports" => ports = Some(value),
            "-m" | "--match" if matches!(value, "tcp" | "udp" | "multiport") => {}
            "-j" | "--jump" => {
                action = Some(match value {
                    "ACCEPT" => "accept",
                    "DROP" | "REJECT" => "drop",
                    _ => return None,
                });
            }
            _ => return None,
        }
    }
    let mut rule = action?.to_owned();
    rule.extend(protocol.into_iter().flat_map(|protocol| [" ", protocol]));
    for (end, address, ports) in [("from", from, source_ports), ("to", to, ports)] {
        if address.is_none() && ports.is_none() {
            continue;
        }
        rule.push_str(&format!(" {end} {}", address.unwrap_or("any")));
        rule.extend(ports.map(|ports| format!(" port {}", ports.replace(':', "-"))));
    }
    super::one(rule.as_bytes(), 1).is_ok().then_some(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_iptables_are_rewritten() {
        let is = |line: &str, rule: &str| {
            let wanted = format!("this is a line of iptables; here it is `{rule}`");
            assert_eq!(hint(line).as_deref(), Some(wanted.as_str()), "{line}");
        };
        is(
            "-A INPUT -s 10.0.0.0/8 -p tcp --dport 22 -j ACCEPT",
            "accept tcp from 10.0.0.0/8 to any port 22",
        );
        is(
            "iptables -I FORWARD -p udp -m multiport --sports 53,1000:2000 -d 192.0.2.1 -j REJECT",
            "drop udp from any port 53,1000-2000 to 192.0.2.1",
        );
        is("ip6tables -A INPUT -j DROP", "drop");
        let other = hint("-A INPUT -m state --state NEW -j ACCEPT").unwrap();
        assert!(other.contains("here a rule is written as"), "{other}");
        assert_eq!(hint("accept tcp"), None);
    }
}
