//! Ports on the kernel's network interfaces: one that exists, by a packet socket, and new ones, by tap devices.
//!
//! Packets go straight from the kernel into packet buffers and back, many in one call. What the kernel has taken off or left undone
//! for a network card's sake is put right: tags of any protocol are where they were on the wire, checksums are complete, and long
//! segments are cut ([`offload`]).
//!
//! ```text
//! Interface ──► Receiver ──► worker ──► Sender
//!     └── look(): link changes, an interface that went and one that came back; by the control thread
//! ```

mod calls;
mod offload;
mod receive;
mod requests;
mod send;
mod settings;

use std::{
    fmt, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use rustix::{
    fs::{Mode, OFlags},
    net::{
        AddressFamily, SocketType,
        netdevice::{index_to_name, name_to_index},
        socket, sockopt,
    },
};

use self::settings::Settings;
pub use self::{receive::Receiver, send::Sender};
use crate::dpdk::{FRAMING, PacketPool};

/// Bytes that may wait in a socket, for each direction.
const WAITING: usize = 4 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One that exists.
    AfPacket,
    /// One that is created, and goes with the port.
    Tap,
}

/// How an interface is set up.
#[derive(Debug, Clone)]
pub struct Config {
    pub kind: Kind,
    pub name: String,
    /// None: as it is.
    pub mtu: Option<u16>,
    pub mac: Option<[u8; 6]>,
    pub promiscuous: bool,
}

/// An interface could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("interface `{interface}`: {what}: {source}")]
pub struct InterfaceError {
    interface: String,
    what: &'static str,
    source: io::Error,
}

/// The present state of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    Up,
    /// Switched off, or without a carrier: nothing is sent.
    Down,
    /// There is no interface of this name.
    Gone,
}

impl Link {
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Gone => "gone",
        }
    }
}

/// A port on an interface. Dropped, it leaves the interface as it found it, or removes the one that it created.
pub struct Interface {
    shared: Arc<Shared>,
    config: Config,
    settings: Settings,
    link: Link,
}

/// What the control thread and the worker's ends have in common.
#[derive(Debug)]
struct Shared {
    kind: Kind,
    name: String,
    /// The packet socket or tap device.
    device: OwnedFd,
    /// For questions about the interface.
    any: OwnedFd,
    /// Its number when the socket was bound; 0: it is gone.
    index: AtomicU32,
    /// Bytes of the longest frame to send.
    longest: AtomicU32,
    /// Packets that found no room in the socket.
    lost: AtomicU64,
}

impl Interface {
    pub fn open(config: Config) -> Result<Self, InterfaceError> {
        let failed = |what| {
            let interface = config.name.clone();
            move |source: io::Error| InterfaceError {
                interface,
                what,
                source,
            }
        };
        let any = socket(AddressFamily::UNIX, SocketType::DGRAM, None);
        let any = any.map_err(|e| failed("a socket")(e.into()))?;
        let device = match config.kind {
            Kind::AfPacket => packet_socket().map_err(failed("its packet socket"))?,
            Kind::Tap => tap(&config.name).map_err(failed("creating it"))?,
        };
        let settings = Settings::make(any.as_fd(), &config).map_err(|(what, e)| failed(what)(e))?;
        let shared = Arc::new(Shared {
            kind: config.kind,
            name: config.name.clone(),
            device,
            any,
            index: AtomicU32::new(0),
            longest: AtomicU32::new(0),
            lost: AtomicU64::new(0),
        });
        let mut interface = Self {
            shared,
            config: config.clone(),
            settings,
            link: Link::Gone,
        };
        interface.bind().map_err(failed("binding to it"))?;
        interface.link = interface.shared.link();
        Ok(interface)
    }

    /// Begins to receive from the interface that has the name now.
    fn bind(&self) -> io::Result<()> {
        let shared = &self.shared;
        let index = name_to_index(&shared.any, &shared.name)?;
        if shared.kind == Kind::AfPacket {
            requests::bind(shared.device.as_fd(), index)?;
            if self.config.promiscuous {
                requests::be_promiscuous(shared.device.as_fd(), index)?;
            }
        }
        let mtu = requests::mtu(shared.any.as_fd(), &shared.name)?;
        shared.longest.store(mtu + u32::from(FRAMING), Ordering::Relaxed);
        shared.index.store(index, Ordering::Relaxed);
        Ok(())
    }

    /// Looks how the interface is, and takes it again when it has come back. Returns the news, if there are any.
    pub fn look(&mut self) -> Option<Link> {
        if self.shared.kind == Kind::AfPacket {
            self.follow();
        }
        let now = self.shared.link();
        (std::mem::replace(&mut self.link, now) != now).then_some(now)
    }

    /// Goes over to the interface that has the name now.
    fn follow(&mut self) {
        let shared = &self.shared;
        let there = name_to_index(&shared.any, &shared.name).unwrap_or(0);
        if there == 0 {
            shared.index.store(0, Ordering::Relaxed);
        } else if there != shared.index.load(Ordering::Relaxed) {
            // Another interface: it has none of the settings.
            match Settings::make(shared.any.as_fd(), &self.config) {
                Ok(settings) => self.settings = settings,
                Err((what, e)) => tracing::warn!(interface = %shared.name, "{what}: {e}"),
            }
            if let Err(e) = self.bind() {
                tracing::warn!(interface = %self.shared.name, "cannot be used again: {e}");
            }
        }
    }

    pub fn link(&self) -> Link {
        self.link
    }

    /// Packets that found no room in the socket, since it was opened.
    pub fn lost(&self) -> u64 {
        if self.shared.kind == Kind::AfPacket {
            let more = requests::lost(self.shared.device.as_fd());
            self.shared.lost.fetch_add(more.into(), Ordering::Relaxed);
        }
        self.shared.lost.load(Ordering::Relaxed)
    }

    pub fn receiver(&self, pool: &Arc<PacketPool>) -> Receiver {
        Receiver::new(Arc::clone(&self.shared), Arc::clone(pool))
    }

    pub fn sender(&self) -> Sender {
        Sender::new(Arc::clone(&self.shared))
    }
}

impl fmt::Debug for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interface")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Drop for Interface {
    fn drop(&mut self) {
        self.settings.put_back(self.shared.any.as_fd(), &self.shared.name);
    }
}

impl Shared {
    fn device(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }

    fn link(&self) -> Link {
        const NEEDED: i32 = libc::IFF_UP | libc::IFF_RUNNING;
        if self.kind == Kind::Tap {
            // It lives as long as its device. One that is not here has been moved to another namespace, where it serves.
            let flags = requests::flags(self.any.as_fd(), &self.name);
            let off = flags.is_ok_and(|flags| flags & libc::IFF_UP == 0);
            return if off { Link::Down } else { Link::Up };
        }
        let index = self.index.load(Ordering::Relaxed);
        if index == 0 || index_to_name(&self.any, index).is_err() {
            return Link::Gone;
        }
        match requests::flags(self.any.as_fd(), &self.name) {
            Ok(flags) if flags & NEEDED == NEEDED => Link::Up,
            Ok(_) => Link::Down,
            Err(_) => Link::Gone,
        }
    }
}

/// A packet socket that receives nothing yet.
fn packet_socket() -> io::Result<OwnedFd> {
    let socket = requests::packet_socket()?;
    let set = |option| requests::set(socket.as_fd(), libc::SOL_PACKET, option, 1_i32);
    // What the host itself sends out of the interface has not arrived there.
    set(libc::PACKET_IGNORE_OUTGOING)?;
    set(libc::PACKET_AUXDATA)?;
    set(libc::PACKET_VNET_HDR)?;
    // Beyond the limit of the host where that is allowed.
    if sockopt::set_socket_recv_buffer_size_force(&socket, WAITING).is_err() {
        sockopt::set_socket_recv_buffer_size(&socket, WAITING)?;
    }
    sockopt::set_socket_send_buffer_size(&socket, WAITING)?;
    Ok(socket)
}

fn tap(name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let device = rustix::fs::open("/dev/net/tun", flags, Mode::empty())?;
    requests::create_tap(device.as_fd(), name)?;
    Ok(device)
}
