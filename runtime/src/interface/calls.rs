//! System calls on packet sockets and tap devices that no crate offers in a safe form: many packets in one call, straight into and
//! out of packet buffers.

#![allow(unsafe_code)]

use std::{
    ffi::c_int,
    io, mem,
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
};

use super::{offload::HEADER, requests::check};
use crate::dpdk::{HEADROOM, MAX_BURST, PacketPool, TxDesc};

/// Bytes beyond a buffer that a packet from the kernel may have: segments that it left to the network card to cut.
const OVERFLOW: usize = 64 << 10;
const CONTROL: usize = 64;

/// A VLAN tag that the kernel had taken off: its protocol number and its control information.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) protocol: u16,
    pub(super) control: u16,
}

/// A packet as the kernel handed it over, in a buffer and perhaps beyond.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message {
    pub(super) header: [u8; HEADER],
    /// Bytes, also those that found no room.
    pub(super) length: usize,
    pub(super) tag: Option<Tag>,
}

/// Room for the packets of one call.
pub(super) struct Batch {
    headers: Vec<[u8; HEADER]>,
    controls: Vec<Control>,
    parts: Vec<[libc::iovec; 3]>,
    messages: Vec<libc::mmsghdr>,
    /// Of all packets; never touched unless one is that long.
    overflow: Vec<u8>,
}

#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

// SAFETY: the pointers in `parts` and `messages` lead to the other fields and to packet buffers. They are written anew before each
// call, and nothing is read through them but by the kernel during it.
unsafe impl Send for Batch {}

impl Batch {
    pub(super) fn new() -> Self {
        let no_part = libc::iovec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        };
        // SAFETY: a structure of integers and pointers, for which zeroes are values.
        let no_message: libc::mmsghdr = unsafe { mem::zeroed() };
        Self {
            headers: vec![[0; HEADER]; MAX_BURST],
            controls: vec![Control([0; CONTROL]); MAX_BURST],
            parts: vec![[no_part; 3]; MAX_BURST],
            messages: vec![no_message; MAX_BURST],
            overflow: vec![0; MAX_BURST * OVERFLOW],
        }
    }

    /// Receives a packet into each of the buffers, as long as there are packets; returns how many.
    pub(super) fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        pool: &PacketPool,
        buffers: &[u32],
    ) -> io::Result<usize> {
        let count = buffers.len().min(MAX_BURST);
        for (i, &buffer) in buffers.iter().take(count).enumerate() {
            let (start, room) = pool.packet(buffer).ok_or(io::ErrorKind::InvalidInput)?;
            let beyond = &mut self.overflow[i * OVERFLOW..(i + 1) * OVERFLOW];
            self.parts[i] = [
                part(self.headers[i].as_mut_ptr(), HEADER),
                part(start, room),
                part(beyond.as_mut_ptr(), OVERFLOW),
            ];
            self.address(i);
            self.messages[i].msg_hdr.msg_control = self.controls[i].0.as_mut_ptr().cast();
            self.messages[i].msg_hdr.msg_controllen = CONTROL;
        }
        // SAFETY: the first `count` messages are valid, with pointers to memory of the lengths that are given, all of which lives
        // through the call: fields of this value and buffers that the caller holds, to which this process has no references.
        let received = unsafe {
            let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
            let first = self.messages.as_mut_ptr();
            libc::recvmmsg(socket.as_raw_fd(), first, count as u32, flags, ptr::null_mut())
        };
        usize::try_from(received).map_err(|_| io::Error::last_os_error())
    }

    /// Reads one packet from a tap device into a buffer.
    pub(super) fn read(
        &mut self,
        device: BorrowedFd<'_>,
        pool: &PacketPool,
        buffer: u32,
    ) -> io::Result<Message> {
        let (start, room) = pool.packet(buffer).ok_or(io::ErrorKind::InvalidInput)?;
        let parts = [part(start, room), part(self.overflow.as_mut_ptr(), OVERFLOW)];
        // SAFETY: both parts are valid for writes of their lengths, as above.
        let read = unsafe { libc::readv(device.as_raw_fd(), parts.as_ptr(), 2) };
        let length = usize::try_from(read).map_err(|_| io::Error::last_os_error())?;
        Ok(Message {
            header: [0; HEADER],
            length,
            tag: None,
        })
    }

    fn address(&mut self, i: usize) {
        // SAFETY: as in `new`.
        let mut message: libc::mmsghdr = unsafe { mem::zeroed() };
        message.msg_hdr.msg_iov = self.parts[i].as_mut_ptr();
        message.msg_hdr.msg_iovlen = 3;
        self.messages[i] = message;
    }

    /// What the last call received as packet `i`.
    pub(super) fn message(&self, i: usize) -> Message {
        let message = &self.messages[i];
        Message {
            header: self.headers[i],
            length: (message.msg_len as usize).saturating_sub(HEADER),
            tag: tag(&message.msg_hdr),
        }
    }

    /// A copy of a packet that the last call received in this buffer; none if not all of it was kept.
    pub(super) fn copy(&self, i: usize, pool: &PacketPool, buffer: u32, length: usize) -> Option<Vec<u8>> {
        let (start, room) = pool.packet(buffer)?;
        let beyond = length.saturating_sub(room);
        let rest = self.overflow[i * OVERFLOW..(i + 1) * OVERFLOW].get(..beyond)?;
        let mut frame = vec![0; length - beyond];
        // SAFETY: `start` is valid for reads of `room` bytes, of which these are the first; the vector is valid for writes. What an
        // NF writes there meanwhile makes other bytes of them and no undefined value.
        unsafe { ptr::copy_nonoverlapping(start, frame.as_mut_ptr(), frame.len()) };
        frame.extend_from_slice(rest);
        Some(frame)
    }

    /// Sends packets as long as the kernel takes them; returns how many, and the error of the one after them.
    pub(super) fn send(
        &mut self,
        socket: BorrowedFd<'_>,
        pool: &PacketPool,
        packets: &[TxDesc],
    ) -> (usize, Option<io::Error>) {
        let mut count = 0;
        for (i, packet) in packets.iter().take(MAX_BURST).enumerate() {
            let Some(start) = pool.bytes(packet) else {
                break;
            };
            self.headers[i] = [0; HEADER];
            self.parts[i][0] = part(self.headers[i].as_mut_ptr(), HEADER);
            self.parts[i][1] = part(start, packet.len.into());
            self.address(i);
            self.messages[i].msg_hdr.msg_iovlen = 2;
            count += 1;
        }
        if count == 0 {
            return (0, None);
        }
        // SAFETY: as in `receive`; the kernel only reads what the parts lead to.
        let sent = unsafe {
            let first = self.messages.as_mut_ptr();
            libc::sendmmsg(socket.as_raw_fd(), first, count as u32, libc::MSG_DONTWAIT)
        };
        match usize::try_from(sent) {
            Ok(sent) => (sent, None),
            Err(_) => (0, Some(io::Error::last_os_error())),
        }
    }
}

/// Writes a packet to a tap device.
pub(super) fn write(device: BorrowedFd<'_>, pool: &PacketPool, packet: &TxDesc) -> io::Result<()> {
    let start = pool.bytes(packet).ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: the packet's bytes lie in a buffer (`bytes`), which is mapped.
    let written = unsafe { libc::write(device.as_raw_fd(), start.cast(), packet.len.into()) };
    check(written as c_int)
}

/// Puts a tag back into a packet that lies behind the headroom of a buffer. Then it begins `4` bytes earlier.
pub(super) fn insert_tag(pool: &PacketPool, buffer: u32, tag: Tag) -> Option<()> {
    const ADDRESSES: usize = 12;
    let (start, _) = pool.packet(buffer).filter(|(_, room)| *room >= ADDRESSES)?;
    let mut begin = [0; ADDRESSES + TAG];
    let [protocol, control] = [tag.protocol.to_be_bytes(), tag.control.to_be_bytes()];
    begin[ADDRESSES..].copy_from_slice(&[protocol, control].concat());
    // SAFETY: so many bytes are readable at `start`, which lies `HEADROOM` bytes behind the begin of its buffer, so that the tag's
    // bytes before it are the buffer's too.
    unsafe {
        ptr::copy_nonoverlapping(start, begin.as_mut_ptr(), ADDRESSES);
        ptr::copy_nonoverlapping(begin.as_ptr(), start.sub(TAG), begin.len());
    }
    Some(())
}

/// Bytes of a VLAN tag.
pub(super) const TAG: usize = 4;
const _: () = assert!(HEADROOM as usize >= TAG);

fn part(start: *mut u8, length: usize) -> libc::iovec {
    libc::iovec {
        iov_base: start.cast(),
        iov_len: length,
    }
}

fn tag(message: &libc::msghdr) -> Option<Tag> {
    const VALID: u32 = libc::TP_STATUS_VLAN_VALID;
    // SAFETY: the kernel has filled the control buffer and set its length; both live in the batch, which the caller borrows. The
    // macros stay within that length, and the data of this type has the structure's size (checked by its length).
    let data = unsafe {
        let first = libc::CMSG_FIRSTHDR(message);
        let header = first.as_ref()?;
        let wanted = libc::CMSG_LEN(size_of::<libc::tpacket_auxdata>() as u32) as usize;
        let is_data = header.cmsg_level == libc::SOL_PACKET && header.cmsg_type == libc::PACKET_AUXDATA;
        if !is_data || header.cmsg_len < wanted {
            return None;
        }
        ptr::read_unaligned(libc::CMSG_DATA(first).cast::<libc::tpacket_auxdata>())
    };
    let protocol = match data.tp_status & libc::TP_STATUS_VLAN_TPID_VALID {
        0 => 0x8100,
        _ => data.tp_vlan_tpid,
    };
    (data.tp_status & VALID != 0).then_some(Tag {
        protocol,
        control: data.tp_vlan_tci,
    })
}
