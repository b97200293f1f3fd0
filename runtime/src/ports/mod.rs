//! From a bundle's ports to DPDK's.

mod claims;
mod memif;
mod open;
mod pcap_read;
mod pcap_write;
mod spread;

use std::path::PathBuf;

use onvm_bundle::{Bundle, MemifRole, PathRef, PortKind};

pub use self::pcap_write::{CutOutput, UnreadInput};
use self::{claims::Claim, pcap_read::Reading};
pub(crate) use self::{claims::Claims, open::OpenPort, spread::agree};
use crate::{
    dpdk::{self, Capability, Eal, PortConfig},
    error::RunError,
    interface,
    worker::SourceKind,
};

/// How a port is made; all that can be checked without DPDK has been.
#[derive(Debug)]
pub(crate) struct Plan {
    pub name: String,
    pub kind: &'static str,
    /// The security domain that its packets come into.
    pub domain: Option<String>,
    pub config: PortConfig,
    /// What no other manager may have meanwhile.
    pub claim: Option<Claim>,
    /// How its packets arrive; none when it never receives.
    pub source: Option<SourceKind>,
    device: Device,
    place: String,
}

#[derive(Debug)]
enum Device {
    Virtual { name: String, args: String },
    Pci(String),
    Interface(interface::Config),
    Captures(Captures),
}

/// The captures of a port, one of them at least.
#[derive(Debug)]
pub(crate) struct Captures {
    pub read: Option<Reading>,
    pub write: Option<PathBuf>,
    /// Bytes of the longest frame that is written.
    pub longest: u16,
}

/// Plans all ports of a bundle.
pub(crate) fn plan(bundle: &Bundle) -> Result<Vec<Plan>, RunError> {
    let ports = &bundle.manager.ports;
    pcap_write::refuse_shared(bundle).map_err(|(at, reason)| refusal(&ports[at], reason))?;
    ports.iter().map(|port| plan_one(bundle, port)).collect()
}

/// The NUMA node of all cards; none where they are on several.
pub(crate) fn node(plans: &[Plan]) -> Option<u16> {
    let mut nodes = plans.iter().filter_map(Plan::node);
    let first = nodes.next()?;
    nodes.all(|node| node == first).then_some(first)
}

fn refusal(port: &onvm_bundle::Port, reason: String) -> RunError {
    RunError::Port {
        port: port.name.clone(),
        place: port.source.to_string(),
        reason,
    }
}

fn plan_one(bundle: &Bundle, port: &onvm_bundle::Port) -> Result<Plan, RunError> {
    let refuse = |reason| refusal(port, reason);
    let mut source = Some(SourceKind::Live);
    let vdev = |driver: &str, args: String| Device::Virtual {
        name: format!("{driver}{}", port.id),
        args,
    };
    let on = |kind, name: &String| -> Result<Device, String> {
        fits(bundle, port.mtu)?;
        Ok(Device::Interface(interface::Config {
            kind,
            name: name.clone(),
            mtu: port.mtu,
            mac: port.mac.as_deref().map(parse_mac).transpose()?,
            promiscuous: port.promiscuous,
        }))
    };
    let device = match &port.kind {
        PortKind::Pci { address } => Device::Pci(address.clone()),
        PortKind::Tap { name } => {
            need(Capability::NetAdmin).map_err(refuse)?;
            if dpdk::interface_exists(name) {
                return Err(refuse(format!(
                    "the interface `{name}` exists already. Choose another name, or use `af_packet` for an existing one."
                )));
            }
            on(interface::Kind::Tap, name).map_err(refuse)?
        }
        PortKind::AfPacket { interface } => {
            existing(interface).map_err(refuse)?;
            need(Capability::NetRaw).map_err(refuse)?;
            on(interface::Kind::AfPacket, interface).map_err(refuse)?
        }
        PortKind::AfXdp { interface } => {
            existing(interface).map_err(refuse)?;
            vdev(
                "net_af_xdp",
                format!("iface={}", plain(interface).map_err(refuse)?),
            )
        }
        PortKind::Pcap { read, write, repeat } => {
            let captures = captures(bundle, port, read.as_ref(), write.as_ref(), *repeat).map_err(refuse)?;
            source = captures.read.as_ref().map(|reading| match reading.repeat {
                true => SourceKind::Endless,
                false => SourceKind::Finite,
            });
            Device::Captures(captures)
        }
        PortKind::Memif { socket, role, id } => {
            memif::prepare(socket, *role).map_err(refuse)?;
            let role = match role {
                MemifRole::Server => "server",
                MemifRole::Client => "client",
            };
            let socket = plain(socket).map_err(refuse)?;
            // By path, as VPP does and as file permissions can guard it; DPDK's default is an abstract name.
            vdev(
                "net_memif",
                format!("role={role},id={id},socket-abstract=no,socket={socket}"),
            )
        }
        PortKind::Null { size } => {
            // One without `steer` is there to be sent to, and generates nothing.
            let steered = bundle.flows.tables.iter().any(|t| t.port == port.name);
            source = steered.then_some(SourceKind::Endless);
            vdev(
                "net_null",
                format!("size={size},copy=0,no-rx={}", u8::from(!steered)),
            )
        }
        PortKind::Vdev { device } => {
            let (name, args) = device.split_once(',').unwrap_or((device, ""));
            Device::Virtual {
                name: name.to_owned(),
                args: args.to_owned(),
            }
        }
    };
    let mac = port.mac.as_deref().map(parse_mac).transpose().map_err(refuse)?;
    let config = PortConfig {
        rx_queues: port.queues,
        tx_queues: match port.kind {
            // Its driver has them in pairs.
            PortKind::AfXdp { .. } => port.queues.min(bundle.manager.workers.count),
            // The peer decides how many rings there are, and one there always is.
            PortKind::Memif { .. } => 1,
            _ => bundle.manager.workers.count,
        },
        mtu: port.mtu,
        promiscuous: port.promiscuous,
        rss: matches!(port.kind, PortKind::Pci { .. }),
        mac,
        ..PortConfig::default()
    };
    Ok(Plan {
        name: port.name.clone(),
        kind: port.kind.word(),
        domain: port.domain.clone(),
        claim: claim(&port.kind),
        config,
        source,
        device,
        place: port.source.to_string(),
    })
}

impl Plan {
    /// PCI address to be probed at the EAL's start, if it is a NIC.
    pub(crate) fn pci_address(&self) -> Option<&str> {
        match &self.device {
            Device::Pci(address) => Some(address),
            Device::Virtual { .. } | Device::Interface(_) | Device::Captures(_) => None,
        }
    }

    /// The NUMA node of its card; none: it has no card, or the host has no nodes.
    fn node(&self) -> Option<u16> {
        let card = match &self.device {
            Device::Pci(address) => format!("/sys/bus/pci/devices/{address}/numa_node"),
            Device::Interface(config) => format!("/sys/class/net/{}/device/numa_node", config.name),
            Device::Virtual { .. } | Device::Captures(_) => return None,
        };
        // -1 says that there is none.
        std::fs::read_to_string(card).ok()?.trim().parse().ok()
    }

    /// The captures that it is, if it is not a device.
    pub(crate) fn captures(&self) -> Option<&Captures> {
        match &self.device {
            Device::Captures(captures) => Some(captures),
            Device::Virtual { .. } | Device::Pci(_) | Device::Interface(_) => None,
        }
    }

    /// How the kernel's interface is set up that it is on, if DPDK has no part in it.
    pub(crate) fn interface(&self) -> Option<&interface::Config> {
        match &self.device {
            Device::Interface(config) => Some(config),
            Device::Virtual { .. } | Device::Pci(_) | Device::Captures(_) => None,
        }
    }

    /// Makes the device. It is neither configured nor started yet.
    pub(crate) fn create(&self, eal: &Eal) -> Result<dpdk::Port, RunError> {
        let made = match &self.device {
            Device::Virtual { name, args } => dpdk::Port::create_vdev(eal, name, args),
            Device::Pci(address) => dpdk::Port::open_pci(eal, address),
            Device::Interface(_) | Device::Captures(_) => {
                return Err(self.refuse(&"is not a DPDK device"));
            }
        };
        made.map_err(|e| self.refuse(&self.explain(&e)))
    }

    /// What DPDK's own words leave open.
    fn explain(&self, error: &dpdk::DpdkError) -> String {
        let text = error.to_string();
        match &self.device {
            Device::Virtual { name, .. } if text.contains("failed to parse device") => format!(
                "this DPDK has no driver for the device `{name}`. Write the name of a driver that it has and a number, as \
                 `net_ring0`."
            ),
            _ => text,
        }
    }

    /// An error about this port, at its place in the source.
    pub(crate) fn refuse(&self, error: &dyn std::fmt::Display) -> RunError {
        RunError::Port {
            port: self.name.clone(),
            place: self.place.clone(),
            reason: error.to_string(),
        }
    }
}

fn claim(kind: &PortKind) -> Option<Claim> {
    match kind {
        PortKind::AfPacket { interface } | PortKind::AfXdp { interface } => {
            Some(Claim::Interface(interface.clone()))
        }
        PortKind::Pci { address } => Some(Claim::Card(address.clone())),
        PortKind::Tap { .. }
        | PortKind::Pcap { .. }
        | PortKind::Memif { .. }
        | PortKind::Null { .. }
        | PortKind::Vdev { .. } => None,
    }
}

fn captures(
    bundle: &Bundle,
    port: &onvm_bundle::Port,
    read: Option<&PathRef>,
    write: Option<&PathRef>,
    repeat: bool,
) -> Result<Captures, String> {
    if read.is_none() && write.is_none() {
        return Err("a pcap port needs `read`, `write` or both".to_owned());
    }
    if port.queues != 1 {
        return Err(format!(
            "a capture has one receive queue, and {} are asked for. Leave `queues` out.",
            port.queues
        ));
    }
    if port.mac.is_some() {
        return Err("a capture has no address of its own. Leave `mac` out.".to_owned());
    }
    let longest = fits(bundle, port.mtu)?;
    let reading = read.map(|read| Reading::plan(&bundle.manager, bundle, read, repeat));
    let write = write.map(|path| bundle.resolve(path));
    if let Some(path) = &write {
        pcap_write::check(path)?;
    }
    Ok(Captures {
        read: reading.transpose()?,
        write,
        longest,
    })
}

/// Bytes of the longest frame with an MTU, which must fit a buffer.
fn fits(bundle: &Bundle, mtu: Option<u16>) -> Result<u16, String> {
    const DEFAULT_MTU: u16 = 1500;
    let (mtu, room) = (mtu.unwrap_or(DEFAULT_MTU), bundle.manager.buffer_room());
    let longest = mtu.saturating_add(dpdk::FRAMING);
    match u32::from(longest) > room {
        true => Err(format!(
            "MTU {mtu} and {} bytes of headers do not fit the {room} bytes of a packet buffer",
            dpdk::FRAMING
        )),
        false => Ok(longest),
    }
}

/// DPDK separates a device's arguments by commas and knows no escape for them.
fn plain(text: &str) -> Result<&str, String> {
    match text.contains(|c: char| c == ',' || c == '=' || c.is_control()) || text.is_empty() {
        true => Err(format!(
            "DPDK takes no `,`, `=` or control character in a name: {text:?}. Choose another name."
        )),
        false => Ok(text),
    }
}

fn existing(interface: &str) -> Result<(), String> {
    match dpdk::interface_exists(interface) {
        true => Ok(()),
        false => Err(format!(
            "there is no network interface `{interface}` in this network namespace. `ip link` lists those that exist."
        )),
    }
}

fn need(capability: Capability) -> Result<(), String> {
    match dpdk::has_capability(capability) {
        true => Ok(()),
        false => {
            let name = match capability {
                Capability::NetAdmin => "CAP_NET_ADMIN",
                _ => "CAP_NET_RAW",
            };
            Err(format!(
                "no permission: the process needs the capability {name}. Run onvm-run as root, or give it with \
                 `setcap {}+ep $(command -v onvm-run)`.",
                name.to_lowercase()
            ))
        }
    }
}

fn parse_mac(text: &str) -> Result<[u8; 6], String> {
    let parts: Vec<_> = text.split(':').map(|p| u8::from_str_radix(p, 16)).collect();
    let bytes: Result<Vec<u8>, _> = parts.into_iter().collect();
    bytes
        .ok()
        .and_then(|b| b.try_into().ok())
        .ok_or_else(|| format!("`{text}` is not a MAC address, such as 02:00:00:00:00:01"))
}
