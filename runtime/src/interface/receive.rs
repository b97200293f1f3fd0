//! The receiving end of an interface, for a worker.

use std::{collections::VecDeque, fmt, sync::Arc};

use super::{
    Kind, Shared,
    calls::{self, Batch, Message, TAG, Tag},
    offload::Left,
};
use crate::dpdk::{HEADROOM, MAX_BURST, PacketPool, RxBurst};

/// Receives what an interface has received.
pub struct Receiver {
    shared: Arc<Shared>,
    pool: Arc<PacketPool>,
    batch: Box<Batch>,
    /// Packets that had to be copied, in order, until there are buffers for them.
    waiting: VecDeque<Vec<u8>>,
}

impl Receiver {
    pub(super) fn new(shared: Arc<Shared>, pool: Arc<PacketPool>) -> Self {
        Self {
            shared,
            pool,
            batch: Box::new(Batch::new()),
            waiting: VecDeque::new(),
        }
    }

    /// Receives what has arrived, without waiting, and returns how many packets. The caller holds the buffers.
    pub fn rx_burst(&mut self, burst: &mut RxBurst) -> usize {
        burst.clear();
        if self.deliver(burst) {
            let mut buffers = [0; MAX_BURST];
            let wanted = burst.left();
            let got = self.pool.alloc_burst(&mut buffers[..wanted]);
            match self.shared.kind {
                Kind::AfPacket => self.receive(burst, &buffers[..got]),
                Kind::Tap => self.read(burst, &buffers[..got]),
            }
            self.deliver(burst);
        }
        burst.packets().len()
    }

    /// Hands over packets that wait, as many as fit and find a buffer; whether none are left.
    fn deliver(&mut self, burst: &mut RxBurst) -> bool {
        while let Some(frame) = self.waiting.front() {
            let mut buffer = [0];
            if burst.left() == 0 || self.pool.alloc_burst(&mut buffer) == 0 {
                return false;
            }
            if self.pool.fill(buffer[0], frame) {
                burst.push(buffer[0], frame.len() as u16);
            } else {
                burst.oversized += 1;
                self.pool.free_burst(&buffer);
            }
            self.waiting.pop_front();
        }
        true
    }

    fn receive(&mut self, burst: &mut RxBurst, buffers: &[u32]) {
        if buffers.is_empty() {
            return;
        }
        let received = match self.batch.receive(self.shared.device(), &self.pool, buffers) {
            Ok(received) => received,
            Err(e) => {
                // One that the kernel had no header for: segments of a protocol that is not known here. All other errors say that
                // there is nothing, or that the interface has gone.
                burst.malformed += u64::from(e.raw_os_error() == Some(libc::EINVAL));
                0
            }
        };
        for (i, &buffer) in buffers.iter().enumerate() {
            if i >= received || !self.take(burst, i, buffer) {
                self.pool.free_burst(&[buffer]);
            }
        }
    }

    /// Takes packet `i` of the batch; whether its buffer is used.
    fn take(&mut self, burst: &mut RxBurst, i: usize, buffer: u32) -> bool {
        let Message { header, length, tag } = self.batch.message(i);
        let Ok(left) = Left::new(&header) else {
            burst.malformed += 1;
            return false;
        };
        // Behind one that waits another must wait, too.
        if left.nothing() && self.waiting.is_empty() {
            return self.take_whole(burst, buffer, length, tag);
        }
        let Some(frame) = self.batch.copy(i, &self.pool, buffer, length) else {
            burst.oversized += 1;
            return false;
        };
        match left.finish(frame) {
            Ok(frames) => self
                .waiting
                .extend(frames.into_iter().map(|frame| tagged(frame, tag))),
            Err(_) => burst.malformed += 1,
        }
        false
    }

    fn take_whole(&self, burst: &mut RxBurst, buffer: u32, length: usize, tag: Option<Tag>) -> bool {
        let more = if tag.is_some() { TAG } else { 0 };
        if length + more > self.pool.room() {
            burst.oversized += 1;
            return false;
        }
        match tag.map(|tag| calls::insert_tag(&self.pool, buffer, tag)) {
            None => burst.push(buffer, length as u16),
            Some(Some(())) => burst.push_at(buffer, HEADROOM - TAG as u16, (length + TAG) as u16),
            Some(None) => {
                burst.malformed += 1;
                return false;
            }
        }
        true
    }

    fn read(&mut self, burst: &mut RxBurst, buffers: &[u32]) {
        let mut left = buffers;
        while let [buffer, rest @ ..] = left {
            // An error says that there is nothing, or that the interface has gone.
            let Ok(message) = self.batch.read(self.shared.device(), &self.pool, *buffer) else {
                break;
            };
            if message.length > self.pool.room() {
                burst.oversized += 1;
                continue;
            }
            burst.push(*buffer, message.length as u16);
            left = rest;
        }
        self.pool.free_burst(left);
    }
}

/// A frame with the tag put back behind its addresses.
fn tagged(mut frame: Vec<u8>, tag: Option<Tag>) -> Vec<u8> {
    const ADDRESSES: usize = 12;
    if let Some(Tag { protocol, control }) = tag
        && frame.len() >= ADDRESSES
    {
        let bytes = [protocol.to_be_bytes(), control.to_be_bytes()].concat();
        frame.splice(ADDRESSES..ADDRESSES, bytes);
    }
    frame
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("interface", &self.shared.name)
            .finish_non_exhaustive()
    }
}
