//! Frames in the words of the language.

use std::{
    fmt::{self, Write as _},
    net::{Ipv4Addr, Ipv6Addr},
};

use super::{
    frame::Frame,
    witness::{Layers, Witness, layers, u16_at},
};
use crate::packet::{FLAGS, PSH_ACK, SYN};

/// As a `send` of the language would have it, with what that does not say in words behind it.
impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match describe(&self.frame) {
            Some(text) => f.write_str(&text),
            None => raw(&self.frame, f),
        }
    }
}

fn describe(frame: &Frame) -> Option<String> {
    let bytes = &frame.bytes;
    let layers = layers(bytes)?;
    let mut fields = Vec::new();
    let mut beside = Vec::new();
    for (kind, tag) in &layers.tags {
        match kind {
            0x8100 => fields.push(format!("vlan = {}", tag & 0x0fff)),
            other => beside.push(format!("behind a tag {other:#06x} of VLAN {}", tag & 0x0fff)),
        }
    }
    let proto = match layers.kind {
        0x0800 | 0x86dd => ip(bytes, &layers, &mut fields, &mut beside)?,
        0x0806 | 0x8035 => {
            let at = layers.l3;
            fields.push(format!("src = {}", v4(bytes, at + 14)?));
            fields.push(format!("dst = {}", v4(bytes, at + 24)?));
            if layers.kind == 0x8035 {
                beside.push("as RARP".to_owned());
            }
            "arp"
        }
        kind => {
            fields.push(format!("type = {kind:#06x}"));
            "ether"
        }
    };
    let macs = [("to", 0, [2, 0, 0, 0, 0, 2]), ("from", 6, [2, 0, 0, 0, 0, 1])];
    for (word, at, usual) in macs {
        let mac = bytes.get(at..at + 6)?;
        if mac != usual {
            let text: Vec<String> = mac.iter().map(|b| format!("{b:02x}")).collect();
            beside.push(format!("{word} {}", text.join(":")));
        }
    }
    let payload = shown_payload(bytes, &layers);
    let carried = payload.map_or(0, <[u8]>::len);
    if let Some(payload) = payload {
        fields.push(format!("payload = {}", quoted(payload)));
    }
    let length = frame.wire_len as usize;
    if !(60..=66).contains(&length) && length != shortest(bytes, &layers, carried) {
        beside.push(format!("{length} bytes long"));
    }
    if bytes.len() < length {
        beside.push(format!("captured only up to byte {}", bytes.len()));
    }
    let mut text = format!("{proto} {{ {} }}", fields.join(", "));
    for (n, what) in beside.iter().enumerate() {
        // Writing to a string does not fail.
        let _ = write!(text, "{} {what}", if n == 0 { "" } else { "," });
    }
    Some(text)
}

/// Length of a packet with so many bytes of payload.
fn shortest(bytes: &[u8], layers: &Layers, carried: usize) -> usize {
    let headers = layers.payload_at(bytes).unwrap_or(layers.l3);
    (headers + carried).max(60)
}

/// The payload, unless it is nothing but zeros or the middle of something.
fn shown_payload<'b>(bytes: &'b [u8], layers: &Layers) -> Option<&'b [u8]> {
    let whole = layers.fragment.is_none_or(|offset| offset == 0);
    let payload = layers.payload(bytes).filter(|_| whole)?;
    payload.iter().any(|byte| *byte != 0).then_some(payload)
}

/// A string of the language: one character for each byte.
fn quoted(payload: &[u8]) -> String {
    const SHOWN: usize = 128;
    let mut text = String::from("\"");
    for byte in payload.iter().take(SHOWN) {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => text.push(char::from(*byte)),
            // Writing to a string does not fail.
            _ => drop(write!(text, "\\x{byte:02x}")),
        }
    }
    text.push('"');
    if payload.len() > SHOWN {
        text.push_str("...");
    }
    text
}

/// The list of `flags`, unless a packet of the language has these anyway.
fn flags(bits: u8, has_payload: bool) -> Option<String> {
    let usual = if has_payload { PSH_ACK } else { SYN };
    let set = FLAGS.iter().filter(|(_, bit)| bits & bit != 0);
    let names: Vec<&str> = set.map(|(name, _)| *name).collect();
    (bits != usual).then(|| format!("flags = [{}]", names.join(", ")))
}

fn ip(
    bytes: &[u8],
    layers: &Layers,
    fields: &mut Vec<String>,
    beside: &mut Vec<String>,
) -> Option<&'static str> {
    let l3 = layers.l3;
    let v6 = layers.kind == 0x86dd;
    let (protocol, l4) = layers.l4?;
    let (src, dst, class) = if v6 {
        let class = (u16_at(bytes, l3)? >> 4) as u8;
        (
            v6_at(bytes, l3 + 8)?.to_string(),
            v6_at(bytes, l3 + 24)?.to_string(),
            class,
        )
    } else {
        (
            v4(bytes, l3 + 12)?.to_string(),
            v4(bytes, l3 + 16)?.to_string(),
            *bytes.get(l3 + 1)?,
        )
    };
    let name = match (protocol, v6) {
        (6, _) => "tcp",
        (17, _) => "udp",
        (1, false) => "icmp",
        (58, true) => "icmp6",
        (_, false) => "ip",
        (_, true) => "ip6",
    };
    let has_ports = matches!(protocol, 6 | 17 | 132) && layers.fragment.is_none_or(|at| v6 && at == 0);
    let ports = (u16_at(bytes, l4), u16_at(bytes, l4 + 2));
    match (has_ports, ports) {
        (true, (Some(from), Some(to))) if v6 => {
            fields.extend([format!("src = [{src}]:{from}"), format!("dst = [{dst}]:{to}")]);
        }
        (true, (Some(from), Some(to))) => {
            fields.extend([format!("src = {src}:{from}"), format!("dst = {dst}:{to}")]);
        }
        (true, _) => return None,
        (false, _) => fields.extend([format!("src = {src}"), format!("dst = {dst}")]),
    }
    if matches!(name, "ip" | "ip6") {
        fields.push(format!("proto = {protocol}"));
    }
    if class >> 2 != 0 {
        fields.push(format!("dscp = {}", class >> 2));
    }
    if name == "tcp" && has_ports {
        let payload = shown_payload(bytes, layers);
        fields.extend(flags(*bytes.get(l4 + 13)?, payload.is_some()));
    }
    if let Some(at) = layers.fragment {
        beside.push(format!("as a fragment at offset {at}"));
    }
    if !v6 && l4 - l3 > 20 {
        beside.push(format!("with an IP header of {} bytes", l4 - l3));
    }
    Some(name)
}

/// `a frame of 10 bytes: 0200 0000 0002 ...`
fn raw(frame: &Frame, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    const SHOWN: usize = 48;
    write!(f, "a frame of {} bytes", frame.wire_len)?;
    if frame.bytes.len() < frame.wire_len as usize {
        write!(f, ", captured up to byte {}", frame.bytes.len())?;
    }
    f.write_str(":")?;
    for pair in frame.bytes.chunks(2).take(SHOWN / 2) {
        f.write_char(' ')?;
        for byte in pair {
            write!(f, "{byte:02x}")?;
        }
    }
    if frame.bytes.len() > SHOWN {
        f.write_str(" ...")
    } else {
        Ok(())
    }
}

fn v4(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(*bytes.get(at..)?.first_chunk::<4>()?))
}

fn v6_at(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    Some(Ipv6Addr::from(*bytes.get(at..)?.first_chunk::<16>()?))
}

#[cfg(test)]
mod tests {
    use super::super::witness::tests::witness;
    use super::*;

    #[track_caller]
    fn shown(filter: &str, text: &str) {
        assert_eq!(witness(filter).to_string(), text);
    }

    #[test]
    fn packets_are_shown_as_a_test_would_send_them() {
        shown("(tcp)", "tcp { src = 198.51.100.7:4000, dst = 203.0.113.9:80 }");
        shown(
            "(and (udp-port dst 53) (net src 10.0.0.0/8))",
            "udp { src = 10.0.0.7:4000, dst = 203.0.113.9:53 }",
        );
        shown(
            "(and (tcp) (ip6))",
            "tcp { src = [2001:db8:1::7]:4000, dst = [2001:db8:2::9]:80 }",
        );
        shown("(arp)", "arp { src = 198.51.100.7, dst = 203.0.113.9 }");
        shown("(ether-proto 35020)", "ether { type = 0x88cc }");
        shown(
            "(and (vlan 7) (ip@1))",
            "tcp { vlan = 7, src = 198.51.100.7:4000, dst = 203.0.113.9:80 }",
        );
    }

    #[test]
    fn what_a_test_cannot_send_is_said_beside_it() {
        shown(
            "(and (tcp) (greater 1000))",
            "tcp { src = 198.51.100.7:4000, dst = 203.0.113.9:80 } 1000 bytes long",
        );
        shown(
            "(and (ip) (not (first-fragment)))",
            "tcp { src = 198.51.100.7, dst = 203.0.113.9 } as a fragment at offset 8",
        );
        shown(
            "(less 20)",
            "a frame of 20 bytes: 0200 0000 0002 0200 0000 0001 0800 4500 0028 0001",
        );
    }

    #[test]
    fn payloads_are_strings() {
        let carries = |filter: &str, payload: &[u8]| {
            let frame = witness(filter).frame.with_payload(payload);
            frame.map(|frame| Witness { frame }.to_string())
        };
        assert_eq!(
            carries("(udp-port dst 53)", b"a \"b\\\n").as_deref(),
            Some(r#"udp { src = 198.51.100.7:4000, dst = 203.0.113.9:53, payload = "a \"b\\\x0a" }"#)
        );
        assert_eq!(
            carries("(and (tcp) (ip6))", &[b'x'; 40]).as_deref(),
            Some(&*format!(
                r#"tcp {{ src = [2001:db8:1::7]:4000, dst = [2001:db8:2::9]:80, flags = [syn], payload = "{}" }}"#,
                "x".repeat(40)
            ))
        );
        assert_eq!(
            carries("(icmp)", b"ping").as_deref(),
            Some(r#"icmp { src = 198.51.100.7, dst = 203.0.113.9, payload = "ping" }"#)
        );
        assert_eq!(carries("(arp)", b"x"), None);
    }
}
