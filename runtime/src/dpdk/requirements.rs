//! The needs of a device, checked before a driver is asked: drivers report "failed" where a user needs to
//! read "no such interface" or "no permission".

use std::path::Path;

use rustix::{
    net::{AddressFamily, SocketType, netdevice::name_to_index, socket},
    thread::{CapabilitySet, capabilities},
};

use super::DpdkError;

/// A right of the calling thread that some driver needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// Open packet sockets: `af_packet`, pcap on an interface.
    NetRaw,
    /// Create interfaces and attach XDP programs: tap, `af_xdp`.
    NetAdmin,
}

impl Capability {
    fn name(self) -> &'static str {
        match self {
            Self::NetRaw => "CAP_NET_RAW",
            Self::NetAdmin => "CAP_NET_ADMIN",
        }
    }
}

/// Whether the network namespace of the calling thread has an interface of this name.
pub fn interface_exists(name: &str) -> bool {
    socket(AddressFamily::UNIX, SocketType::DGRAM, None).is_ok_and(|any| name_to_index(any, name).is_ok())
}

/// Whether the calling thread has the capability in its effective set.
pub fn has_capability(capability: Capability) -> bool {
    let wanted = match capability {
        Capability::NetRaw => CapabilitySet::NET_RAW,
        Capability::NetAdmin => CapabilitySet::NET_ADMIN,
    };
    capabilities(None).is_ok_and(|sets| sets.effective.contains(wanted))
}

/// Checks a virtual device's driver arguments against the system.
pub(super) fn check_vdev(name: &str, args: &str) -> Result<(), DpdkError> {
    let driver = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let capability = match driver {
        "net_af_packet" => Some(Capability::NetRaw),
        "net_af_xdp" | "net_tap" => Some(Capability::NetAdmin),
        // Only on an interface; see below.
        _ => None,
    };
    let mut opens_interface = false;
    for (key, value) in args.split(',').filter_map(|pair| pair.split_once('=')) {
        match (driver, key) {
            ("net_af_packet" | "net_af_xdp" | "net_pcap", "iface")
            | ("net_pcap", "rx_iface" | "rx_iface_in" | "tx_iface")
            | ("net_tap", "remote") => {
                opens_interface = true;
                check_interface(name, value)?;
            }
            ("net_pcap", "rx_pcap") => check_readable(name, value)?,
            _ => {}
        }
    }
    let pcap_capability = (driver == "net_pcap" && opens_interface).then_some(Capability::NetRaw);
    match capability.or(pcap_capability) {
        Some(needed) if !has_capability(needed) => Err(DpdkError::NoPermission {
            port: name.to_owned(),
            capability: needed.name(),
        }),
        _ => Ok(()),
    }
}

fn check_interface(port: &str, interface: &str) -> Result<(), DpdkError> {
    if interface_exists(interface) {
        return Ok(());
    }
    Err(DpdkError::NoInterface {
        port: port.to_owned(),
        interface: interface.to_owned(),
    })
}

fn check_readable(port: &str, file: &str) -> Result<(), DpdkError> {
    match std::fs::File::open(file) {
        Ok(_) => Ok(()),
        Err(error) => Err(DpdkError::config(port, format!("capture `{file}`: {error}"))),
    }
}

/// `dddd:bb:dd.f`, hexadecimal.
pub(super) fn check_pci_address(address: &str) -> Result<(), DpdkError> {
    let shape = |text: &str| {
        text.bytes()
            .map(|b| if b.is_ascii_hexdigit() { b'h' } else { b })
            .collect::<Vec<_>>()
    };
    if shape(address) == b"hhhh:hh:hh.h" {
        Ok(())
    } else {
        Err(DpdkError::InvalidOption(format!(
            "PCI address `{address}`: write it as 0000:3b:00.0"
        )))
    }
}

/// Checks that a PCI device is there and bound to a driver that leaves it to user space.
pub(super) fn check_pci_device(address: &str) -> Result<(), DpdkError> {
    check_pci_address(address)?;
    let device = Path::new("/sys/bus/pci/devices").join(address);
    if !device.exists() {
        return Err(DpdkError::config(
            address,
            "there is no such PCI device (see `lspci -D`)",
        ));
    }
    match kernel_driver(address).as_deref() {
        // Mellanox drivers share the device with the kernel.
        Some("vfio-pci" | "mlx4_core" | "mlx5_core" | "uio_hv_generic") => Ok(()),
        Some("igb_uio" | "uio_pci_generic") => Err(DpdkError::config(
            address,
            "is bound to a UIO driver, which needs physical addresses; bind it to vfio-pci with the IOMMU on",
        )),
        other => Err(DpdkError::config(
            address,
            format!(
                "is bound to `{}`; bind it to vfio-pci (dpdk-devbind.py -b vfio-pci {address})",
                other.unwrap_or("no driver")
            ),
        )),
    }
}

/// Whether DMA of the device goes through VFIO's address space, in which external memory must be entered.
pub(super) fn behind_vfio(address: &str) -> bool {
    kernel_driver(address).as_deref() == Some("vfio-pci")
}

fn kernel_driver(address: &str) -> Option<String> {
    let link = std::fs::read_link(Path::new("/sys/bus/pci/devices").join(address).join("driver")).ok()?;
    Some(link.file_name()?.to_str()?.to_owned())
}
