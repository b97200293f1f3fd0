//! Whether a Unix socket takes descriptors: an option that the standard library and rustix do not know yet.

#![allow(unsafe_code)]

use std::{
    ffi::c_int,
    io,
    os::fd::{AsFd, AsRawFd},
};

/// `SO_PASSRIGHTS` of Linux 6.16 (`asm-generic/socket.h`).
const SO_PASSRIGHTS: c_int = 83;

/// Has the kernel refuse messages with descriptors to this socket: their senders get `EPERM`. What a listening socket accepts
/// does the same. An error on a kernel before 6.16.
pub fn refuse(socket: impl AsFd) -> io::Result<()> {
    let off: c_int = 0;
    // SAFETY: the pointer is to an integer of the length given, which the kernel reads during the call; the descriptor is open
    // for as long as it is borrowed.
    let done = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PASSRIGHTS,
            (&raw const off).cast(),
            size_of::<c_int>() as libc::socklen_t,
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether the kernel refuses messages with descriptors to this socket.
pub fn are_refused(socket: impl AsFd) -> bool {
    let mut value: c_int = 1;
    let mut length = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: both pointers are to values of this frame; the kernel writes at most `length` bytes, the integer's size.
    let done = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PASSRIGHTS,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    done == 0 && value == 0
}
