//! `port` declarations.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use onvm_bundle::{MAX_DPDK_PORTS, MAX_PORTS, ManagerConfig, MemifRole, ParamKind, PathRef, Port, PortKind};
use onvm_lang::syntax;

use super::{Table, domains, narrow};
use crate::{
    diagnostics::{
        closest, device_twice, frame_too_large, missing_setting, out_of_range, table_full, unknown_type,
    },
    resolve::{
        spec::{Kind, Spec},
        values::{Settings, Values},
    },
    source::{
        context::Context,
        sources::{FileId, Place},
    },
};

/// The Ethernet header and one VLAN tag: a frame of MTU `n` has `n + 18` bytes.
const FRAME_OVERHEAD: u64 = 18;

/// Reads all ports, but those that are reported.
pub(crate) fn all<'a>(
    cx: &Context<'_>,
    values: &Values<'_>,
    declared: impl Iterator<Item = (FileId, &'a syntax::Port)>,
    config: &ManagerConfig,
) -> Vec<Port> {
    let (mut ports, mut served) = (Vec::new(), 0);
    let mut taken = BTreeMap::new();
    for (id, (file, decl)) in declared.enumerate() {
        let Some((port, place)) = port(cx, values, file, decl, id, config) else {
            continue;
        };
        if let Some(device) = alone(&port.kind) {
            let (first, owner) = taken
                .entry(device.clone())
                .or_insert_with(|| (place, port.name.clone()));
            if *owner != port.name {
                cx.report(device_twice::device_twice(place, &device, *first, owner));
            }
        }
        served += usize::from(port.kind.is_dpdk());
        if port.kind.is_dpdk() && served > MAX_DPDK_PORTS {
            let head = cx.place(file, decl.name.span);
            cx.report(table_full::table_full(
                head,
                "ports that DPDK serves",
                served,
                MAX_DPDK_PORTS,
            ));
        }
        ports.push(port);
    }
    ports
}

/// What two ports cannot both have, as in "the interface `eth0`".
fn alone(kind: &PortKind) -> Option<String> {
    match kind {
        PortKind::Pci { address } => Some(format!("the network card `{address}`")),
        PortKind::Tap { name: interface }
        | PortKind::AfPacket { interface }
        | PortKind::AfXdp { interface } => Some(format!("the interface `{interface}`")),
        // What leads nowhere, or to a terminal, takes any number.
        PortKind::Pcap {
            write: Some(PathRef::Host(path)),
            ..
        } if !path.starts_with("/dev/") => {
            let components = Path::new(path).components();
            let plain: PathBuf = components.filter(|c| *c != Component::CurDir).collect();
            Some(format!("the output file `{}`", plain.display()))
        }
        PortKind::Pcap { .. } | PortKind::Memif { .. } | PortKind::Null { .. } | PortKind::Vdev { .. } => {
            None
        }
    }
}

/// Reads a port, and where it says on what it is. None: reported.
fn port(
    cx: &Context<'_>,
    values: &Values<'_>,
    file: FileId,
    decl: &syntax::Port,
    id: usize,
    config: &ManagerConfig,
) -> Option<(Port, Place)> {
    let name = decl.name.node.as_str();
    let head = cx.place(file, decl.name.span);
    let Some(all) = settings(&decl.kind.node) else {
        let close = closest(&decl.kind.node, PortKind::WORDS);
        let place = cx.place(file, decl.kind.span);
        cx.report(unknown_type::unknown_type(
            place,
            "port kind",
            &decl.kind.node,
            close,
            &PortKind::WORDS.join(", "),
        ));
        return None;
    };
    if id >= MAX_PORTS {
        cx.report(table_full::table_full(head, "ports", id + 1, MAX_PORTS));
    }
    let owner = format!("port `{name}`");
    let read = values.settings(file, &owner, head, decl.config.as_ref(), &all);
    let kind = kind(cx, &decl.kind.node, name, head, &read);
    let fits = check_sizes(cx, name, &read, config.buffers.mtu.into());
    let mac = read.values.text("mac");
    let domain = domains::read(cx, &read);
    let addressed = mac.as_deref().is_none_or(|mac| check_mac(cx, mac, &read));
    if !read.complete || !fits || !addressed {
        return None;
    }
    let on = ["interface", "name", "address", "write"];
    let place = on.iter().find_map(|setting| read.places.get(*setting));
    let place = place.copied().unwrap_or(head);
    let port = Port {
        id: narrow(id as u64),
        name: name.to_owned(),
        source: cx.sources.reference(head),
        queues: read
            .values
            .number("queues")
            .map_or_else(|| queues(kind.as_ref(), config), narrow),
        promiscuous: read.values.flag("promiscuous").unwrap_or(true),
        mtu: read.values.number("mtu").map(narrow),
        mac,
        domain: domain?,
        ignore_tags: read.values.text("tags").as_deref() == Some("ignored"),
        kind: kind?,
    };
    Some((port, place))
}

/// Receive queues where none are asked for: one for each thread that polls where every device of the kind has several.
fn queues(kind: Option<&PortKind>, config: &ManagerConfig) -> u16 {
    match kind {
        Some(PortKind::Pci { .. } | PortKind::Null { .. }) => match config.workers.receivers {
            0 => config.workers.count,
            receivers => receivers,
        },
        _ => 1,
    }
}

/// Every setting of one kind of port. None: there is no such kind.
pub(crate) fn settings(kind: &str) -> Option<Vec<Spec>> {
    Some(specs(kind)?.into_iter().chain(common()).collect())
}

/// Settings that every kind has.
fn common() -> [Spec; 6] {
    [
        domains::spec(),
        Spec::plain("queues", ParamKind::Int, "receive queues").range(1, 64),
        Spec::plain("mtu", ParamKind::Int, "largest layer-3 packet in bytes").range(68, 9216),
        Spec::plain("mac", ParamKind::Mac, "the port's own address"),
        Spec::plain("promiscuous", ParamKind::Bool, "take packets for any address"),
        Spec::plain(
            "tags",
            ParamKind::Enum,
            "whether filters see the VLAN tags of its packets",
        )
        .words(&["visible", "ignored"]),
    ]
}

/// The settings of one kind. None: there is no such kind.
fn specs(kind: &str) -> Option<Vec<Spec>> {
    let text = |name, doc| Spec::plain(name, ParamKind::String, doc);
    Some(match kind {
        "pci" => vec![text("address", "the device's PCI address, such as \"0000:3b:00.0\"").required()],
        "tap" => vec![text("name", "the kernel interface that the port creates")],
        "af_packet" | "af_xdp" => vec![text("interface", "an existing kernel interface").required()],
        "pcap" => vec![
            Spec::new("read", Kind::HostPathOrFile, "the capture to receive"),
            Spec::new("write", Kind::HostPath, "the capture to send into"),
            Spec::plain("repeat", ParamKind::Bool, "start over at the capture's end"),
        ],
        "memif" => vec![
            text("socket", "path of the memif socket").required(),
            Spec::plain("role", ParamKind::Enum, "which end of the connection").words(&["server", "client"]),
            Spec::plain("id", ParamKind::Int, "the connection's number on the socket")
                .range(0, i64::from(u32::MAX)),
        ],
        "null" => vec![Spec::plain("size", ParamKind::Int, "bytes of a generated packet").range(60, 9216)],
        "vdev" => vec![text("device", "a DPDK virtual device, such as \"net_ring0\"").required()],
        _ => return None,
    })
}

fn kind(cx: &Context<'_>, kind: &str, port: &str, head: Place, read: &Settings) -> Option<PortKind> {
    let values = &read.values;
    let refuse = |name: &str, text: &str, rule: &str| {
        let place = read.places.get(name).copied().unwrap_or(head);
        cx.report(out_of_range::malformed(place, name, &format!("\"{text}\""), rule));
    };
    let interface = |name: &str, text: String| match is_interface(&text) {
        true => Some(text),
        false => {
            refuse(
                name,
                &text,
                "an interface name: 1 to 15 bytes, no `/`, no `:`, no space",
            );
            None
        }
    };
    Some(match kind {
        "pci" => {
            let address = values.text("address")?;
            let Some(address) = pci_address(&address) else {
                refuse("address", &address, "a PCI address, such as \"0000:3b:00.0\"");
                return None;
            };
            PortKind::Pci { address }
        }
        "tap" if !read.complete => return None,
        "tap" => PortKind::Tap {
            name: interface("name", values.text("name").unwrap_or_else(|| port.to_owned()))?,
        },
        "af_packet" => PortKind::AfPacket {
            interface: interface("interface", values.text("interface")?)?,
        },
        "af_xdp" => PortKind::AfXdp {
            interface: interface("interface", values.text("interface")?)?,
        },
        "pcap" => {
            let (input, output) = (path(values, "read"), path(values, "write"));
            if input.is_none() && output.is_none() && read.complete {
                let doc = "the capture to receive, or `write`, the capture to send into";
                cx.report(missing_setting::missing_setting(
                    head,
                    &format!("port `{port}`"),
                    "read",
                    doc,
                ));
                return None;
            }
            PortKind::Pcap {
                read: input,
                write: output,
                repeat: values.flag("repeat").unwrap_or(false),
            }
        }
        "memif" => PortKind::Memif {
            socket: values.text("socket")?,
            role: if values.text("role").as_deref() == Some("server") {
                MemifRole::Server
            } else {
                MemifRole::Client
            },
            id: narrow(values.number("id").unwrap_or(0)),
        },
        "null" => PortKind::Null {
            size: narrow(values.number("size").unwrap_or(64)),
        },
        "vdev" => {
            let device = values.text("device")?;
            if !device.starts_with("net_") || device.contains(char::is_whitespace) {
                refuse("device", &device, "a DPDK network device, such as \"net_ring0\"");
                return None;
            }
            PortKind::Vdev { device }
        }
        _ => return None,
    })
}

fn path(values: &toml::Table, name: &str) -> Option<PathRef> {
    match values.get(name)? {
        toml::Value::String(path) => Some(PathRef::Host(path.clone())),
        toml::Value::Table(t) => t.text("file").map(PathRef::Bundle),
        _ => None,
    }
}

/// Packets must fit into the buffers.
fn check_sizes(cx: &Context<'_>, port: &str, read: &Settings, mtu: u64) -> bool {
    let largest = [("mtu", mtu), ("size", mtu + FRAME_OVERHEAD)];
    let too_large = largest.iter().find_map(|(name, most)| {
        let size = read.values.number(name).filter(|size| size > most)?;
        Some((*name, size, read.places.get(*name)?))
    });
    if let Some((name, size, place)) = too_large {
        cx.report(frame_too_large::frame_too_large(*place, port, name, size, mtu));
    }
    too_large.is_none()
}

fn check_mac(cx: &Context<'_>, mac: &str, read: &Settings) -> bool {
    let group = mac
        .get(1..2)
        .and_then(|d| u8::from_str_radix(d, 16).ok())
        .is_some_and(|d| d & 1 == 1);
    let bad = group || mac == "00:00:00:00:00:00";
    if let (true, Some(place)) = (bad, read.places.get("mac")) {
        cx.report(out_of_range::malformed(
            *place,
            "mac",
            mac,
            "the address of one station, not of a group",
        ));
    }
    !bad
}

/// Linux: at most 15 bytes (IFNAMSIZ - 1), and none of what the kernel's `dev_valid_name` refuses.
fn is_interface(name: &str) -> bool {
    let valid = |c: char| !c.is_whitespace() && !c.is_control() && c != '/' && c != ':' && c != ',';
    (1..=15).contains(&name.len()) && name != "." && name != ".." && name.chars().all(valid)
}

/// `dddd:bb:dd.f` in lower case. Where the domain is left out, as `lspci` does, it is 0.
fn pci_address(address: &str) -> Option<String> {
    let hex = |s: &str, n: usize| s.len() == n && s.chars().all(|c| c.is_ascii_hexdigit());
    let parts: Vec<&str> = address.split(':').collect();
    let (domain, bus, slot) = match parts.as_slice() {
        [domain, bus, slot] => (*domain, bus, slot),
        [bus, slot] => ("0000", bus, slot),
        _ => return None,
    };
    let (device, function) = slot.split_once('.')?;
    let valid = hex(domain, 4)
        && hex(bus, 2)
        && hex(device, 2)
        && u8::from_str_radix(device, 16).is_ok_and(|d| d < 32)
        && matches!(function.as_bytes(), [b'0'..=b'7']);
    valid.then(|| format!("{domain}:{bus}:{slot}").to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names() {
        for same in ["0000:3b:1f.1", "3b:1f.1", "3B:1F.1", "0000:3B:1f.1"] {
            assert_eq!(pci_address(same).as_deref(), Some("0000:3b:1f.1"));
        }
        for wrong in ["0000:3b:00.8", "eth0", "0:3b:00.0", "3b:20.0", "3b:00", "3b:+1.0"] {
            assert_eq!(pci_address(wrong), None, "{wrong}");
        }
        assert!(is_interface("lan0") && is_interface("a23456789012345"));
        assert!(!is_interface("") && !is_interface("a234567890123456") && !is_interface("a/b"));
    }
}
