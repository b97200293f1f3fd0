//! Requests to the kernel about sockets and interfaces that no crate offers in a safe form.

#![allow(unsafe_code)]

use std::{
    ffi::{c_int, c_short, c_void},
    io, mem,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

/// Makes a tap device of `/dev/net/tun`: `_IOW('T', 202, int)`.
const TUNSETIFF: u64 = 0x4004_54ca;

pub(super) fn check(result: c_int) -> io::Result<()> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// A packet socket that is bound to no interface yet and receives nothing.
pub(super) fn packet_socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: the call takes three numbers.
    let socket = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
    check(socket)?;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(socket) })
}

/// Binds a packet socket to an interface, for packets of all protocols.
pub(super) fn bind(socket: BorrowedFd<'_>, interface: u32) -> io::Result<()> {
    // SAFETY: a structure of integers, for which zeroes are values.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = interface as c_int;
    let length = size_of_val(&address) as u32;
    // SAFETY: the address lives through the call and has the length that is given.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) })
}

/// Sets an option of a socket to a value that is plain data.
pub(super) fn set<T: Copy>(socket: BorrowedFd<'_>, level: c_int, option: c_int, value: T) -> io::Result<()> {
    let length = size_of::<T>() as u32;
    let value: *const c_void = (&raw const value).cast();
    // SAFETY: the value lives through the call and has the length that is given.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value, length) })
}

/// Has the interface take packets for all stations, as long as the socket is bound to it.
pub(super) fn be_promiscuous(socket: BorrowedFd<'_>, interface: u32) -> io::Result<()> {
    let request = libc::packet_mreq {
        mr_ifindex: interface as c_int,
        mr_type: libc::PACKET_MR_PROMISC as u16,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    set(socket, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, request)
}

/// Packets that found no room at the socket since the last call.
pub(super) fn lost(socket: BorrowedFd<'_>) -> u32 {
    let mut counts = libc::tpacket_stats {
        tp_packets: 0,
        tp_drops: 0,
    };
    let mut length = size_of_val(&counts) as u32;
    let to: *mut c_void = (&raw mut counts).cast();
    // SAFETY: both pointers lead to values that live through the call, and the length is that of the first.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            to,
            &mut length,
        )
    };
    if done == 0 { counts.tp_drops } else { 0 }
}

/// Creates a tap interface, which lives as long as the descriptor.
pub(super) fn create_tap(device: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    let mut request = request(name)?;
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as c_short;
    call(device, TUNSETIFF, &mut request)
}

/// Flags, such as `IFF_RUNNING`, of an interface.
pub(super) fn flags(any: BorrowedFd<'_>, name: &str) -> io::Result<c_int> {
    let mut request = request(name)?;
    call(any, libc::SIOCGIFFLAGS, &mut request)?;
    // SAFETY: the kernel has stored the flags.
    Ok(c_int::from(unsafe { request.ifr_ifru.ifru_flags }) & 0xffff)
}

pub(super) fn set_flags(any: BorrowedFd<'_>, name: &str, flags: c_int) -> io::Result<()> {
    let mut request = request(name)?;
    request.ifr_ifru.ifru_flags = flags as c_short;
    call(any, libc::SIOCSIFFLAGS, &mut request)
}

pub(super) fn mtu(any: BorrowedFd<'_>, name: &str) -> io::Result<u32> {
    let mut request = request(name)?;
    call(any, libc::SIOCGIFMTU, &mut request)?;
    // SAFETY: the kernel has stored the MTU.
    Ok(unsafe { request.ifr_ifru.ifru_mtu } as u32)
}

pub(super) fn set_mtu(any: BorrowedFd<'_>, name: &str, mtu: u32) -> io::Result<()> {
    let mut request = request(name)?;
    request.ifr_ifru.ifru_mtu = mtu as c_int;
    call(any, libc::SIOCSIFMTU, &mut request)
}

pub(super) fn mac(any: BorrowedFd<'_>, name: &str) -> io::Result<[u8; 6]> {
    let mut request = request(name)?;
    call(any, libc::SIOCGIFHWADDR, &mut request)?;
    // SAFETY: the kernel has stored the address.
    let address = unsafe { request.ifr_ifru.ifru_hwaddr };
    let mut mac = [0; 6];
    mac.iter_mut()
        .zip(address.sa_data)
        .for_each(|(to, from)| *to = from as u8);
    Ok(mac)
}

pub(super) fn set_mac(any: BorrowedFd<'_>, name: &str, mac: [u8; 6]) -> io::Result<()> {
    let mut request = request(name)?;
    // SAFETY: a structure of integers, for which zeroes are values.
    let mut address: libc::sockaddr = unsafe { mem::zeroed() };
    address.sa_family = libc::ARPHRD_ETHER;
    address
        .sa_data
        .iter_mut()
        .zip(mac)
        .for_each(|(to, from)| *to = from as libc::c_char);
    request.ifr_ifru.ifru_hwaddr = address;
    call(any, libc::SIOCSIFHWADDR, &mut request)
}

fn request(name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: a structure of integers and a union of such, for which zeroes are values.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    request
        .ifr_name
        .iter_mut()
        .zip(name.bytes())
        .for_each(|(to, from)| *to = from as libc::c_char);
    Ok(request)
}

fn call(any: BorrowedFd<'_>, what: u64, request: &mut libc::ifreq) -> io::Result<()> {
    // SAFETY: all calls that are made here read and write one `ifreq`, which lives through the call.
    check(unsafe { libc::ioctl(any.as_raw_fd(), what as _, &raw mut *request) })
}
