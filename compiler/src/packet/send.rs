//! The way back from a frame: the `send` that makes it, or one much like it.

use std::{
    fmt::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use onvm_lang::syntax::PacketProto;

use super::{
    fields::FLAGS,
    frame::{BROADCAST, DESTINATION_MAC, SHORTEST, SOURCE_MAC, TTL, frame},
};

/// What stands behind `send PORT`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Send {
    proto: PacketProto,
    values: toml::Table,
    /// The fields in the order and the notation in which they are shown.
    shown: Vec<(&'static str, String)>,
}

impl Send {
    /// Those that make a frame like this one, the shortest first. The last one says all that can be said.
    pub(crate) fn like(bytes: &[u8]) -> Vec<Self> {
        let of = |(payload, all)| Reader::of(bytes, payload, all)?.read();
        let told = [(false, false), (true, false), (true, true)];
        let mut found: Vec<Self> = told.into_iter().filter_map(of).collect();
        found.dedup();
        found
    }

    /// The one that makes this frame, byte for byte.
    pub(crate) fn exactly(bytes: &[u8]) -> Option<Self> {
        Self::like(bytes)
            .into_iter()
            .find(|s| s.frame().as_deref() == Some(bytes))
    }

    pub(crate) fn frame(&self) -> Option<Vec<u8>> {
        frame(self.proto, &self.values).ok()
    }

    fn set(&mut self, name: &'static str, value: impl Into<toml::Value>, shown: impl Into<String>) {
        self.values.insert(name.to_owned(), value.into());
        self.shown.push((name, shown.into()));
    }

    fn number(&mut self, name: &'static str, n: impl Into<i64>) {
        let n = n.into();
        self.set(name, n, n.to_string());
    }

    fn text(&mut self, name: &'static str, text: String) {
        self.set(name, text.clone(), text);
    }
}

/// As the language writes it: `tcp { src = 198.51.100.7:4000 }`.
impl fmt::Display for Send {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields: Vec<String> = self.shown.iter().map(|(k, v)| format!("{k} = {v}")).collect();
        match fields.as_slice() {
            [] => write!(f, "{} {{}}", self.proto.name()),
            fields => write!(f, "{} {{ {} }}", self.proto.name(), fields.join(", ")),
        }
    }
}

/// Reads a frame into fields.
struct Reader<'a> {
    bytes: &'a [u8],
    /// Also what stands behind the headers; else there are zeros.
    payload: bool,
    /// Also what hardly ever matters: MACs, numbers that identify, time to live.
    all: bool,
    tag: Option<u16>,
    kind: u16,
    /// Where the payload of Ethernet begins.
    l3: usize,
}

impl<'a> Reader<'a> {
    fn of(bytes: &'a [u8], payload: bool, all: bool) -> Option<Self> {
        let tagged = u16_at(bytes, 12)? == 0x8100;
        let l3 = if tagged { 18 } else { 14 };
        Some(Self {
            bytes,
            payload,
            all,
            tag: if tagged { Some(u16_at(bytes, 14)?) } else { None },
            kind: u16_at(bytes, l3 - 2)?,
            l3,
        })
    }

    fn read(&self) -> Option<Send> {
        let mut send = Send {
            proto: PacketProto::Ether,
            values: toml::Table::new(),
            shown: Vec::new(),
        };
        if let Some(tag) = self.tag {
            send.number("vlan", tag & 0x0fff);
            if tag >> 13 != 0 {
                send.number("pcp", tag >> 13);
            }
        }
        let body = match self.kind {
            0x0800 => self.ip4(&mut send)?,
            0x86dd => self.ip6(&mut send)?,
            0x0806 => self.arp(&mut send)?,
            kind => {
                send.proto = PacketProto::Ether;
                send.set("type", i64::from(kind), format!("{kind:#06x}"));
                self.l3..self.bytes.len()
            }
        };
        let (from, to) = match send.proto {
            PacketProto::Ether => ("src", "dst"),
            _ => ("eth_src", "eth_dst"),
        };
        let asks = send.proto == PacketProto::Arp && !send.values.contains_key("op");
        let usual = if asks { BROADCAST } else { DESTINATION_MAC };
        for (name, at, usual) in [(from, 6, SOURCE_MAC), (to, 0, usual)] {
            self.mac(&mut send, name, at, usual)?;
        }
        self.payload(&mut send, body)?;
        Some(send)
    }

    fn mac(&self, send: &mut Send, name: &'static str, at: usize, usual: [u8; 6]) -> Option<()> {
        let mac = self.bytes.get(at..at + 6)?;
        if self.all && mac != usual {
            let text: Vec<String> = mac.iter().map(|b| format!("{b:02x}")).collect();
            send.text(name, text.join(":"));
        }
        Some(())
    }

    /// The bytes behind the headers, without the zeros at their end, and what these come to.
    fn payload(&self, send: &mut Send, body: std::ops::Range<usize>) -> Option<()> {
        let end = body.end.min(self.bytes.len()).max(body.start);
        let body_bytes = self.bytes.get(body.start..end)?;
        let zeros = match self.payload {
            true => body_bytes.iter().rev().take_while(|b| **b == 0).count(),
            false => body_bytes.len(),
        };
        let text = body_bytes.get(..body_bytes.len() - zeros)?;
        if send.proto == PacketProto::Arp && !text.is_empty() {
            return None;
        }
        if !text.is_empty() {
            // With a payload, other flags are usual.
            if send.proto == PacketProto::Tcp && !send.values.contains_key("flags") {
                send.set("flags", vec!["syn"], "[syn]");
            }
            let value: String = text.iter().map(|b| char::from(*b)).collect();
            send.set("payload", value, quoted(text));
        }
        if self.bytes.len() > (body.start + text.len()).max(SHORTEST) {
            send.number("size", i64::try_from(self.bytes.len()).ok()?);
        }
        Some(())
    }

    fn arp(&self, send: &mut Send) -> Option<std::ops::Range<usize>> {
        let at = self.l3;
        send.proto = PacketProto::Arp;
        let reply = u16_at(self.bytes, at + 6)? == 2;
        if reply {
            send.text("op", "reply".to_owned());
        }
        send.text("src", v4(self.bytes, at + 14)?.to_string());
        send.text("dst", v4(self.bytes, at + 24)?.to_string());
        self.mac(send, "src_mac", at + 8, SOURCE_MAC)?;
        self.mac(
            send,
            "dst_mac",
            at + 18,
            if reply { DESTINATION_MAC } else { [0; 6] },
        )?;
        Some(at + 28..self.bytes.len())
    }

    fn ip4(&self, send: &mut Send) -> Option<std::ops::Range<usize>> {
        let at = self.l3;
        let (flags, end) = (
            u16_at(self.bytes, at + 6)?,
            at + usize::from(u16_at(self.bytes, at + 2)?),
        );
        let (offset, more) = ((flags & 0x1fff) * 8, flags & 0x2000 != 0);
        let ends = [
            IpAddr::V4(v4(self.bytes, at + 12)?),
            IpAddr::V4(v4(self.bytes, at + 16)?),
        ];
        let protocol = *self.bytes.get(at + 9)?;
        let whole = offset == 0 && !more;
        let body = self.transport(send, protocol, whole, ends, at + 20)?;
        if !whole {
            send.number("fragment", offset);
        }
        if more {
            send.set("more_fragments", true, "true");
        }
        let id = u16_at(self.bytes, at + 4)?;
        if self.all && send.proto == PacketProto::Ip && id != 0 {
            send.number("id", id);
        }
        self.class(send, *self.bytes.get(at + 1)?, *self.bytes.get(at + 8)?);
        Some(body..end)
    }

    fn ip6(&self, send: &mut Send) -> Option<std::ops::Range<usize>> {
        let at = self.l3;
        let end = at + 40 + usize::from(u16_at(self.bytes, at + 4)?);
        let ends = [
            IpAddr::V6(v6(self.bytes, at + 8)?),
            IpAddr::V6(v6(self.bytes, at + 24)?),
        ];
        let body = self.transport(send, *self.bytes.get(at + 6)?, true, ends, at + 40)?;
        let class = u16_at(self.bytes, at)? >> 4 & 0xff;
        self.class(send, class.to_be_bytes()[1], *self.bytes.get(at + 7)?);
        Some(body..end)
    }

    fn class(&self, send: &mut Send, class: u8, ttl: u8) {
        if class >> 2 != 0 {
            send.number("dscp", class >> 2);
        }
        if self.all && class & 3 != 0 {
            send.number("ecn", class & 3);
        }
        if self.all && ttl != TTL {
            send.number("ttl", ttl);
        }
    }

    /// Both ends and the header that follows; returns where its payload begins.
    fn transport(
        &self,
        send: &mut Send,
        protocol: u8,
        whole: bool,
        ends: [IpAddr; 2],
        at: usize,
    ) -> Option<usize> {
        let six = ends[0].is_ipv6();
        send.proto = match (protocol, six) {
            (6, _) if whole => PacketProto::Tcp,
            (17, _) if whole => PacketProto::Udp,
            (1, false) | (58, true) if whole => PacketProto::Icmp,
            (_, false) => PacketProto::Ip,
            (_, true) => PacketProto::Ip6,
        };
        let ported = matches!(send.proto, PacketProto::Tcp | PacketProto::Udp);
        for (n, (name, ip)) in ["src", "dst"].into_iter().zip(ends).enumerate() {
            let text = match ported {
                true => SocketAddr::new(ip, u16_at(self.bytes, at + 2 * n)?).to_string(),
                false => ip.to_string(),
            };
            send.text(name, text);
        }
        match send.proto {
            PacketProto::Tcp => self.tcp(send, at),
            PacketProto::Udp => Some(at + 8),
            PacketProto::Icmp => self.icmp(send, at, if six { 128 } else { 8 }),
            _ => {
                send.number("proto", protocol);
                Some(at)
            }
        }
    }

    fn tcp(&self, send: &mut Send, at: usize) -> Option<usize> {
        let flags = *self.bytes.get(at + 13)?;
        let words: Vec<&str> = FLAGS
            .iter()
            .filter(|(_, bit)| flags & bit != 0)
            .map(|f| f.0)
            .collect();
        if words != ["syn"] {
            send.set("flags", words.clone(), format!("[{}]", words.join(", ")));
        }
        if self.all {
            for (name, at, usual) in [("seq", at + 4, 1), ("ack", at + 8, u32::from(flags >> 4 & 1))] {
                let n = u32::from_be_bytes(*self.bytes.get(at..)?.first_chunk()?);
                if n != usual {
                    send.number(name, n);
                }
            }
            let window = u16_at(self.bytes, at + 14)?;
            if window != u16::MAX {
                send.number("window", window);
            }
        }
        Some(at + 20)
    }

    fn icmp(&self, send: &mut Send, at: usize, echo: u8) -> Option<usize> {
        for (name, at, usual) in [("type", at, echo), ("code", at + 1, 0)] {
            let n = *self.bytes.get(at)?;
            if n != usual {
                send.number(name, n);
            }
        }
        for (name, at) in [("id", at + 4), ("seq", at + 6)] {
            let n = u16_at(self.bytes, at)?;
            if self.all && n != 1 {
                send.number(name, n);
            }
        }
        Some(at + 8)
    }
}

/// A string of the language that stands for these bytes.
fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = match byte {
            b'"' | b'\\' => write!(text, "\\{}", char::from(*byte)),
            b' '..=b'~' => write!(text, "{}", char::from(*byte)),
            _ => write!(text, "\\x{byte:02x}"),
        };
    }
    text.push('"');
    text
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn v4(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(*bytes.get(at..)?.first_chunk::<4>()?))
}

fn v6(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    Some(Ipv6Addr::from(*bytes.get(at..)?.first_chunk::<16>()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    /// Reading the frame of a `send` gives that `send`, without its defaults.
    #[track_caller]
    fn same(text: &str) {
        let source = format!("test \"t\" {{ send wan {text} }}");
        let parse = onvm_lang::parse(&source);
        assert!(parse.diagnostics.is_empty(), "{:?}", parse.diagnostics);
        let send = Send::exactly(&sent(&parse)).unwrap();
        assert_eq!(send.to_string(), text);
    }

    fn sent(parse: &onvm_lang::Parse) -> Vec<u8> {
        use onvm_lang::syntax::{DeclKind, StmtKind, Value};
        let DeclKind::Test(test) = &parse.file.decls[0].kind.node else {
            unreachable!("a test")
        };
        let StmtKind::Send { proto, fields, .. } = &test.stmts[0].node else {
            unreachable!("a send")
        };
        let values = fields.iter().flat_map(|f| &f.fields).map(|f| {
            let value = match &f.value.node {
                Value::Int(n) => toml::Value::from(*n),
                Value::Bool(b) => (*b).into(),
                Value::Str(text) => text.as_str().into(),
                Value::List(items) => items
                    .iter()
                    .map(|i| toml::Value::from(crate::resolve::notation::notation(&i.node)))
                    .collect::<Vec<_>>()
                    .into(),
                other => crate::resolve::notation::notation(other).into(),
            };
            (f.name.node.clone(), value)
        });
        frame(proto.node, &values.collect()).unwrap()
    }

    #[test]
    fn a_frame_is_told_as_the_send_that_makes_it() {
        same("tcp { src = 198.51.100.7:4000, dst = 203.0.113.9:80 }");
        same(
            "tcp { vlan = 7, pcp = 3, src = [2001:db8::1]:4000, dst = [2001:db8::2]:80, flags = [syn, ack] }",
        );
        same(
            r#"tcp { src = 198.51.100.7:4000, dst = 203.0.113.9:80, flags = [psh, ack], payload = "GET \"/\\\x0d\x0a" }"#,
        );
        same(r#"tcp { src = 198.51.100.7:4000, dst = 203.0.113.9:80, flags = [syn], payload = "GET" }"#);
        same("udp { src = 198.51.100.7:4000, dst = 203.0.113.9:53, dscp = 46, size = 1000 }");
        same(
            "udp { src = 198.51.100.7:4000, dst = 203.0.113.9:53, ecn = 1, ttl = 1, eth_dst = 01:00:5e:00:00:01 }",
        );
        same("icmp { src = 198.51.100.7, dst = 203.0.113.9, type = 3, code = 1 }");
        same("icmp { src = 2001:db8::1, dst = 2001:db8::2, type = 135 }");
        same("ip { src = 198.51.100.7, dst = 203.0.113.9, proto = 6, fragment = 8, more_fragments = true }");
        same("ip6 { src = 2001:db8::1, dst = 2001:db8::2, proto = 132 }");
        same("arp { op = reply, src = 192.0.2.1, dst = 192.0.2.2, dst_mac = 02:00:00:00:00:09 }");
        same("ether { type = 0x88cc, src = 02:00:00:00:00:07, size = 100 }");
    }

    #[test]
    fn no_bytes_are_too_few_or_too_odd() {
        let whole = sent(&onvm_lang::parse(
            "test \"t\" { send wan tcp { vlan = 7, dst = 2001:db8::2 } }",
        ));
        for end in 0..whole.len() {
            for byte in 0..=255 {
                let mut bytes = whole[..end].to_vec();
                bytes.iter_mut().skip(12).step_by(7).for_each(|b| *b ^= byte);
                Send::like(&bytes);
            }
        }
    }
}
