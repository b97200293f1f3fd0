//! The conversation between an NF and the manager over the instance's Unix socket (`SOCK_SEQPACKET`, one JSON message a
//! packet, at most [`MAX_MESSAGE`] bytes).
//!
//! ```text
//! NF                                   manager
//! ── hello { abi, pid } ─────────────►          the socket says which instance this is
//! ◄─ welcome + descriptors ───────────          region, packet file, configuration, files
//! ── counters { first, names, gauges } ►        as many as needed
//! ── ready ──────────────────────────►          or failed { reason }
//! ── flows { first, requests } ──────►          as many as it likes; the manager takes one after the other
//! ◄─ flows { done, refused, ended … } ─
//! ── message { number, kind, fields } ►         to the other instances of its service
//! ◄─ sent { number, reached, missed } ─
//! ◄─ message { number, kind, fields } ─         of one of them, or of an operator
//! ── answer { number, answer, error } ►         to an operator, in the order of the messages
//! ◄─ reconfigure + descriptors ───────          configuration, files
//! ── reconfigured { supported, error }►
//! ◄─ stop ────────────────────────────          or the connection's end
//! ```

#![allow(unsafe_code)]

use std::{
    collections::BTreeMap,
    io::{self, IoSlice, IoSliceMut, Read, Seek, Write},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use serde::{Deserialize, Serialize};

use crate::{
    FlowTarget, Params,
    flows::{FlowNews, FlowRequest},
    memory::Geometry,
    messages::{Delivery, Sent},
    params::MemberParams,
};

/// Where an NF finds its socket: a path, or `fd:` and the number of a descriptor that it was started with.
pub const SOCKET_VARIABLE: &str = "ONVM_NF_SOCKET";
/// Seconds that an NF waits for a lost manager to come back before it ends; unset: for ever.
pub const REATTACH_VARIABLE: &str = "ONVM_NF_REATTACH";

/// Bytes of the longest message.
pub const MAX_MESSAGE: usize = 64 << 10;
/// Descriptors that one message can carry (the kernel's SCM_MAX_FD).
pub const MAX_DESCRIPTORS: usize = 253;

/// Values of the region's command word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Command {
    Run = 0,
    /// The socket has a message for the NF.
    Message = 1,
    /// Finish what is in the rings, then stop.
    Stop = 2,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromNf {
    Hello {
        abi: u32,
        pid: u32,
    },
    /// More counters, from the `first` on. `gauges` are places among these names.
    Counters {
        first: usize,
        names: Vec<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        gauges: Vec<usize>,
    },
    Ready,
    Failed {
        reason: String,
    },
    /// The number of the first request; the others follow it.
    Flows {
        first: u64,
        requests: Vec<FlowRequest>,
    },
    Reconfigured {
        supported: bool,
        error: Option<String>,
    },
    /// To the other instances of its service. Numbers begin at 0.
    Message {
        number: u64,
        /// Which of the NFs that are fused in the process sends it.
        #[serde(default)]
        member: u16,
        kind: String,
        fields: serde_json::Map<String, serde_json::Value>,
    },
    /// To an operator's message: one of the two.
    Answer {
        number: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        answer: Option<serde_json::Value>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToNf {
    /// Descriptors: region, packet file, configuration (a [`Configuration`] as JSON), then the files it names, in order.
    Welcome {
        instance: String,
        geometry: Geometry,
        idle: IdlePolicy,
        /// The least severe messages of the NF that the manager shows: `error`, `warn`, `info`, `debug` or `trace`; none: `info`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        log: Option<String>,
    },
    /// Descriptors: configuration, then the files it names.
    Reconfigure,
    Flows(FlowNews),
    Message(Delivery),
    Sent(Sent),
    Stop,
    /// The NF is not wanted; the reason is for its log.
    Refused {
        reason: String,
    },
}

/// How long a thread without work spins and yields before it sleeps, in rounds of looking at all its sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdlePolicy {
    pub spins: u32,
    pub yields: u32,
    /// False: never sleeps.
    pub sleeps: bool,
}

/// The content of the configuration descriptor.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Configuration {
    pub values: BTreeMap<String, serde_json::Value>,
    /// Names of the files whose descriptors follow.
    pub files: Vec<String>,
    /// Names of the manifest's outputs, in order.
    #[serde(default)]
    pub outputs: Vec<String>,
    /// What the instance's flow entries may lead to, in the order of the [`Target`](crate::flows::Target)s.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<FlowTarget>,
    /// The NFs that are fused in the process, by place. Their files follow those of the NFs before them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<MemberConfiguration>,
}

/// That of one of several fused NFs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberConfiguration {
    /// The name that it would have as an instance.
    pub name: String,
    /// The NF, as its program names it.
    pub program: String,
    pub configuration: Configuration,
}

impl Configuration {
    /// Reads the configuration and the files from their descriptors.
    pub fn receive(fds: impl IntoIterator<Item = OwnedFd>) -> io::Result<Params> {
        let mut fds = fds.into_iter();
        let configuration: Self = serde_json::from_slice(&read_all(fds.next().ok_or_else(too_few)?)?)?;
        configuration.with_files(&mut fds)
    }

    fn with_files(self, fds: &mut impl Iterator<Item = OwnedFd>) -> io::Result<Params> {
        let mut files = BTreeMap::new();
        for name in self.files {
            files.insert(name, read_all(fds.next().ok_or_else(too_few)?)?);
        }
        let members = self.members.into_iter().map(|member| {
            // Members have none of their own: no depth that the sender chooses.
            let configuration = Self {
                members: Vec::new(),
                ..member.configuration
            };
            Ok(MemberParams {
                name: member.name,
                program: member.program,
                params: configuration.with_files(fds)?,
            })
        });
        let members = members.collect::<io::Result<_>>()?;
        let params = Params::new(self.values, files);
        Ok(params
            .with_outputs(self.outputs)
            .with_targets(self.targets)
            .with_members(members))
    }
}

fn too_few() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the manager sent too few descriptors")
}

/// The descriptor's whole content, from its first byte wherever the sender left the position.
fn read_all(fd: OwnedFd) -> io::Result<Vec<u8>> {
    let mut file = std::fs::File::from(fd);
    let mut content = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut content)?;
    Ok(content)
}

/// A memory file that holds `content`, to be sent over a socket.
pub fn content_descriptor(name: &str, content: &[u8]) -> io::Result<OwnedFd> {
    let mut file = std::fs::File::from(rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC)?);
    file.write_all(content)?;
    file.rewind()?;
    Ok(file.into())
}

/// The socket that the value of [`SOCKET_VARIABLE`] names: connected to where it is a path, taken over where it is a descriptor,
/// which can be done once.
pub fn attach(named: &Path) -> io::Result<OwnedFd> {
    match named.to_str().and_then(|name| name.strip_prefix("fd:")) {
        None => connect(named),
        Some(number) => inherited(number),
    }
}

/// The socket that this process was started with.
fn inherited(number: &str) -> io::Result<OwnedFd> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what.to_owned());
    let number: RawFd = number
        .parse()
        .ok()
        .filter(|fd| *fd > libc::STDERR_FILENO)
        .ok_or_else(|| invalid("expected the number of a descriptor from 3 on after `fd:`"))?;
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Err(invalid(
            "the socket that this process was started with has been taken before",
        ));
    }
    // SAFETY: the descriptor is open through the call, or the call fails; it is only looked at.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    if rustix::net::sockopt::socket_type(fd)? != SocketType::SEQPACKET {
        return Err(invalid("the descriptor is not a socket of a manager"));
    }
    rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC)?;
    // SAFETY: the descriptor is open, as was just seen, and its number came from the starter of this process, for
    // this use alone. No other owner takes it: `TAKEN` lets one call come here.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Both ends of an instance's socket: the manager's, which does not block, and the NF's.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (manager, nf) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    rustix::io::ioctl_fionbio(&manager, true)?;
    // Older kernels do not know that; then the receiver has to take them and close them.
    let _ = crate::rights::refuse(&manager);
    Ok((manager, nf))
}

/// Connects to a manager's instance socket.
pub fn connect(path: &Path) -> io::Result<OwnedFd> {
    let socket = seqpacket(SocketFlags::CLOEXEC)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// Listens at an instance socket; accepting does not block. No message of an NF carries descriptors, and where the kernel can
/// refuse those that do, it does.
pub fn listen(path: &Path) -> io::Result<OwnedFd> {
    let socket = seqpacket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    // An error is that of an older kernel. Before the socket has a name, so that nobody is faster.
    let _ = crate::rights::refuse(&socket);
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, 4)?;
    Ok(socket)
}

/// The next connection, itself without blocking; `WouldBlock` when there is none.
pub fn accept(listener: impl AsFd) -> io::Result<OwnedFd> {
    Ok(rustix::net::accept_with(
        listener,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
    )?)
}

fn seqpacket(flags: SocketFlags) -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        flags,
        None,
    )?)
}

/// A message as it is sent.
pub fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let bytes = serde_json::to_vec(message)?;
    match bytes.len() <= MAX_MESSAGE {
        true => Ok(bytes),
        false => Err(too_big(bytes.len(), 0)),
    }
}

/// Sends one message, unless so much waits for the peer that there is no room for it; says whether it did.
pub fn try_send(socket: impl AsFd, message: &[u8]) -> io::Result<bool> {
    match rustix::net::send(socket, message, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
        Ok(_) => Ok(true),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::NOBUFS) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

fn too_big(bytes: usize, descriptors: usize) -> io::Error {
    let text = format!("a message of {bytes} bytes with {descriptors} descriptors is too big");
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// Sends one message with descriptors.
pub fn send<T: Serialize>(socket: impl AsFd, message: &T, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > MAX_MESSAGE || fds.len() > MAX_DESCRIPTORS {
        return Err(too_big(bytes.len(), fds.len()));
    }
    if fds.is_empty() {
        // An NF that onvm-run started may not call `sendmsg`, which could carry descriptors.
        rustix::net::send(socket, &bytes, SendFlags::NOSIGNAL)?;
        return Ok(());
    }
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("the descriptors do not fit the control buffer"));
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives one message; none at the connection's end. What is not a message is an `InvalidData` error.
pub fn receive<T: for<'de> Deserialize<'de>>(socket: impl AsFd) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let received = receive_any(socket)?;
    Ok(received.message()?.map(|message| (message, received.fds)))
}

/// What came in one packet of the socket, whether it is a message or not.
#[derive(Debug)]
pub struct Received {
    bytes: Vec<u8>,
    whole: bool,
    /// Closing them may take as long as the sender likes, where it is not to be trusted.
    pub fds: Vec<OwnedFd>,
}

impl Received {
    /// The message; none at the connection's end. What is not a message is an `InvalidData` error.
    pub fn message<T: for<'de> Deserialize<'de>>(&self) -> io::Result<Option<T>> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        if !self.whole {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the message is longer than the protocol allows",
            ));
        }
        Ok(Some(serde_json::from_slice(&self.bytes)?))
    }
}

/// Receives the peer's next packet, without looking into it.
pub fn receive_any(socket: impl AsFd) -> io::Result<Received> {
    let mut bytes = vec![0; MAX_MESSAGE];
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = loop {
        match rustix::net::recvmsg(
            &socket,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        ) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?,
        }
    };
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    bytes.truncate(got.bytes);
    Ok(Received {
        bytes,
        whole: !got.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC),
        fds,
    })
}
