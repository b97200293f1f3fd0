//! The header fields that manifests name in `effects.reads` and `effects.writes`.

/// The fields of the headers that this project knows. Manifests may name others, such as `gtp.teid`; a header's name
/// alone stands for all its fields.
pub(crate) const KNOWN: &[&str] = &[
    "ether.src",
    "ether.dst",
    "ether.type",
    "vlan.id",
    "vlan.priority",
    "ip.src",
    "ip.dst",
    "ip.protocol",
    "ip.ttl",
    "ip.dscp",
    "ip.ecn",
    "ip.length",
    "ip.id",
    "ip.fragment",
    "ip.options",
    "ip.checksum",
    "ip.flow_label",
    "tcp.src_port",
    "tcp.dst_port",
    "tcp.seq",
    "tcp.ack",
    "tcp.flags",
    "tcp.window",
    "tcp.options",
    "tcp.checksum",
    "udp.src_port",
    "udp.dst_port",
    "udp.length",
    "udp.checksum",
    "sctp.src_port",
    "sctp.dst_port",
    "sctp.checksum",
    "icmp.type",
    "icmp.code",
    "icmp.id",
    "icmp.checksum",
];

/// Refuses what is not a field, and what is one slip away from a known one.
pub(crate) fn check(field: &str) -> Result<(), String> {
    if !field.split('.').all(onvm_lang::is_name) {
        return Err(format!("`{field}` is not a header field such as `ip.src`"));
    }
    if KNOWN.contains(&field) || !field.contains('.') {
        return Ok(());
    }
    let slip = |k: &&&str| strsim::damerau_levenshtein(field, k) == 1;
    match KNOWN.iter().find(slip) {
        Some(known) => Err(format!(
            "there is no header field `{field}`: did you mean `{known}`?"
        )),
        None => Ok(()),
    }
}

/// Whether one of them is the other, or the header that holds it.
pub(crate) fn overlap(a: &str, b: &str) -> bool {
    let holds = |header: &str, field: &str| {
        field
            .strip_prefix(header)
            .is_some_and(|rest| rest.starts_with('.'))
    };
    a == b || holds(a, b) || holds(b, a)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        for field in ["ip.src", "gtp.teid", "ip", "tcp.flags"] {
            assert_eq!(check(field), Ok(()));
        }
        assert!(check("ip.scr").is_err_and(|e| e.contains("`ip.src`")));
        assert!(check("IP src").is_err());
        assert!(check("ip..src").is_err());
        assert!(overlap("ip", "ip.src") && overlap("ip.src", "ip") && overlap("ip.src", "ip.src"));
        assert!(!overlap("ip", "ip6.src") && !overlap("ip.src", "ip.dst"));
    }
}
