//! The host's side of ports.

use std::path::{Path, PathBuf};

use onvm_bundle::{MemifRole, PathRef, Port, PortKind};

use super::{Access, Check, Machine, facts};

pub(super) fn port(machine: &dyn Machine, port: &Port) -> Check {
    let name = format!("port {}", port.name);
    let found = match &port.kind {
        PortKind::Pci { address } => pci(machine, address),
        PortKind::Tap { name } => tap(machine, name),
        PortKind::AfPacket { interface } => interface_with(machine, interface, facts::NET_RAW, "CAP_NET_RAW"),
        PortKind::AfXdp { interface } => {
            interface_with(machine, interface, facts::NET_ADMIN, "CAP_NET_ADMIN")
        }
        PortKind::Pcap { read, write, .. } => pcap(machine, read.as_ref(), write.as_ref()),
        PortKind::Memif { socket, role, .. } => memif(machine, socket, *role),
        kind @ PortKind::Null { .. } => Ok(format!("{}: nothing is needed", kind.word())),
        PortKind::Vdev { device } => Ok(format!("{device}: not checked")),
    };
    match found {
        Ok(found) => Check::ok(name, found),
        Err((found, fix)) => Check::failed(name, found, fix),
    }
}

/// The finding, or the fault and its fix.
type Found = Result<String, (String, String)>;

fn pci(machine: &dyn Machine, address: &str) -> Found {
    let device = Path::new("/sys/bus/pci/devices").join(address);
    if !machine.exists(&device) {
        return Err((
            format!("there is no PCI device {address}"),
            "lspci -D | grep -i ethernet".to_owned(),
        ));
    }
    match machine.link(&device.join("driver")).as_deref() {
        Some(driver @ ("vfio-pci" | "mlx4_core" | "mlx5_core" | "uio_hv_generic")) => {
            Ok(format!("{address}, driver {driver}"))
        }
        other => Err((
            format!(
                "{address} is bound to {}, and must be bound to vfio-pci",
                other.unwrap_or("no driver")
            ),
            format!("sudo modprobe vfio-pci && sudo dpdk-devbind.py --bind=vfio-pci {address}"),
        )),
    }
}

fn tap(machine: &dyn Machine, name: &str) -> Found {
    need(machine, facts::NET_ADMIN, "CAP_NET_ADMIN")?;
    if !machine.exists(Path::new("/dev/net/tun")) {
        return Err((
            "/dev/net/tun is not there".to_owned(),
            "sudo modprobe tun".to_owned(),
        ));
    }
    match machine.exists(&interface(name)) {
        true => Err((
            format!("the interface {name}, which the port creates, exists already"),
            format!("sudo ip link delete {}", quoted(name)),
        )),
        false => Ok(format!("the interface {name} can be made")),
    }
}

fn interface_with(machine: &dyn Machine, name: &str, capability: u32, called: &str) -> Found {
    if !machine.exists(&interface(name)) {
        return Err((
            format!("there is no interface {name} in this network namespace"),
            "ip -brief link".to_owned(),
        ));
    }
    const UP: u32 = 1;
    let flags = machine.read(&interface(name).join("flags")).unwrap_or_default();
    let flags = u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16).unwrap_or(0);
    if flags & UP == 0 {
        return Err((
            format!("the interface {name} is down"),
            format!("sudo ip link set {} up", quoted(name)),
        ));
    }
    need(machine, capability, called)?;
    Ok(format!("the interface {name} is up"))
}

fn interface(name: &str) -> PathBuf {
    Path::new("/sys/class/net").join(name)
}

fn need(machine: &dyn Machine, capability: u32, called: &str) -> Result<(), (String, String)> {
    if facts::has_capability(machine, capability)
        || file_capabilities(machine).contains(&called.to_lowercase())
    {
        return Ok(());
    }
    let fix = format!(
        "sudo setcap {}+ep \"$(command -v onvm-run)\"",
        called.to_lowercase()
    );
    Err((
        format!("onvm-run needs {called}, which this user does not have"),
        fix,
    ))
}

/// The capabilities that `setcap` gave to onvm-run, in the notation of `getcap`.
fn file_capabilities(machine: &dyn Machine) -> String {
    let programs = machine
        .program("onvm-run", &[])
        .zip(machine.program("getcap", &[PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")]));
    let said = programs.and_then(|(run, getcap)| machine.run(&getcap, &[&run.to_string_lossy()]).ok());
    said.unwrap_or_default()
}

fn pcap(machine: &dyn Machine, read: Option<&PathRef>, write: Option<&PathRef>) -> Found {
    let mut found = Vec::new();
    match read {
        Some(PathRef::Host(path)) if !machine.may(Path::new(path), Access::Read) => {
            return Err((
                format!("the capture {path} cannot be read"),
                format!("ls -l {}", quoted(path)),
            ));
        }
        Some(PathRef::Host(path)) => found.push(format!("reads {path}")),
        Some(PathRef::Bundle(_)) => found.push("reads a capture of the bundle".to_owned()),
        None => {}
    }
    if let Some(PathRef::Host(path)) = write {
        let file = Path::new(path);
        let place = if machine.exists(file) {
            file
        } else {
            directory(file)
        };
        writable(machine, place)?;
        found.push(format!("writes {path}"));
    }
    Ok(found.join("; "))
}

/// Where a file is or will be.
fn directory(file: &Path) -> &Path {
    file.parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

fn memif(machine: &dyn Machine, socket: &str, role: MemifRole) -> Found {
    let path = Path::new(socket);
    match role {
        MemifRole::Server => {
            writable(machine, directory(path))?;
            Ok(format!("the socket {socket} can be made"))
        }
        MemifRole::Client if machine.exists(path) => Ok(format!("the socket {socket} exists")),
        MemifRole::Client => Err((
            format!("there is no socket {socket}"),
            "start its server first, or write `role = server`".to_owned(),
        )),
    }
}

/// A file that is there, or a directory.
fn writable(machine: &dyn Machine, place: &Path) -> Result<(), (String, String)> {
    let shown = quoted(&place.to_string_lossy());
    if !machine.exists(place) {
        return Err((
            format!("the directory {} is not there", place.display()),
            format!("mkdir -p {shown}"),
        ));
    }
    match machine.may(place, Access::Write) {
        true => Ok(()),
        false => Err((
            format!("{} cannot be written by this user", place.display()),
            format!("sudo chown \"$USER\" {shown}"),
        )),
    }
}

/// For a shell: as it is where that is safe, else in quotes.
pub(super) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:@+".contains(c);
    match !text.is_empty() && !text.starts_with('-') && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}
