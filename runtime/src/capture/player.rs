//! Captures as sources of packets.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
};

use onvm_captures::{Capture, CaptureError, Packet};

use super::{Stamp, Stamps};
use crate::dpdk::{PacketPool, RxBurst, TxDesc};

/// A piece of a capture that is handed over at once: so many packets, or so many bytes, whichever comes first.
const CHUNK_PACKETS: usize = 512;
const CHUNK_BYTES: usize = 1 << 17;
/// Pieces that wait to be taken.
const READ_AHEAD: usize = 8;

/// Packets of a capture, one behind the other.
#[derive(Debug, Default)]
pub struct Chunk {
    bytes: Vec<u8>,
    packets: Vec<Place>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    /// Where the packet ends; it begins where the one before ends.
    end: usize,
    stamp: Stamp,
}

impl Chunk {
    /// Reads a whole capture of no more than `most` packets, each of no more than `room` bytes.
    pub fn whole(path: &Path, most: usize, room: usize) -> Result<Self, String> {
        let mut capture = Capture::open(path).map_err(|e| e.to_string())?;
        let (mut all, mut count) = (Self::default(), 0_u64);
        while let Some(packet) = capture.next_packet().map_err(|e| e.to_string())? {
            count = packet.number;
            if packet.data.len() > room {
                return Err(format!(
                    "{}: packet {count} has {} bytes, and a packet buffer has room for {room}. Write a larger `mtu` in \
                     `manager`.",
                    path.display(),
                    packet.data.len()
                ));
            }
            // Those beyond are only counted.
            if all.packets.len() < most + 1 {
                all.push(&packet);
            }
        }
        let shown = path.display();
        match count {
            0 => Err(format!(
                "{shown}: it has no packet, so there is nothing to repeat"
            )),
            n if n > most as u64 => Err(format!(
                "{shown}: a repeated capture is kept in packet buffers, and its {n} packets would take more than half of \
                 the {}. Write `buffers = {}` in `manager`, or take a shorter capture.",
                2 * most,
                2 * n
            )),
            _ => Ok(all),
        }
    }

    fn push(&mut self, packet: &Packet<'_>) {
        self.bytes.extend_from_slice(packet.data);
        self.packets.push(Place {
            end: self.bytes.len(),
            stamp: Stamp {
                time: packet.time,
                cut: packet.wire_length - packet.data.len() as u32,
            },
        });
    }

    fn is_full(&self) -> bool {
        self.packets.len() >= CHUNK_PACKETS || self.bytes.len() >= CHUNK_BYTES
    }

    fn packet(&self, number: usize) -> Option<(&[u8], Stamp)> {
        let Place { end, stamp } = *self.packets.get(number)?;
        let start = number.checked_sub(1).map_or(0, |before| self.packets[before].end);
        Some((&self.bytes[start..end], stamp))
    }
}

/// The control thread's end of a capture that is read: whether that failed.
#[derive(Debug)]
pub struct Input {
    pub path: PathBuf,
    failure: Arc<OnceLock<String>>,
}

impl Input {
    /// What ended the reading before the capture's end.
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }
}

/// A repeated capture: its packets, in buffers that are its own until it is dropped.
#[derive(Debug)]
pub struct Stock {
    pool: Arc<PacketPool>,
    packets: Vec<TxDesc>,
    cuts: Vec<u32>,
}

impl Stock {
    /// None: the pool has not enough buffers.
    pub fn new(pool: &Arc<PacketPool>, chunk: &Chunk) -> Option<Arc<Self>> {
        let mut buffers = vec![0; chunk.packets.len()];
        let got = pool.alloc_burst(&mut buffers);
        let mut stock = Self {
            pool: pool.clone(),
            packets: Vec::with_capacity(got),
            cuts: Vec::with_capacity(got),
        };
        for (number, &index) in buffers[..got].iter().enumerate() {
            let (bytes, stamp) = chunk.packet(number)?;
            pool.fill(index, bytes);
            stock.packets.push(TxDesc {
                index,
                off: crate::dpdk::HEADROOM,
                len: bytes.len() as u16,
            });
            stock.cuts.push(stamp.cut);
        }
        (got == chunk.packets.len()).then(|| Arc::new(stock))
    }
}

impl Drop for Stock {
    fn drop(&mut self) {
        let buffers: Vec<u32> = self.packets.iter().map(|p| p.index).collect();
        self.pool.free_burst(&buffers);
    }
}

/// The worker's end of a capture that is read.
#[derive(Debug)]
pub struct Player {
    pool: Arc<PacketPool>,
    feed: Feed,
}

#[derive(Debug)]
enum Feed {
    Once {
        chunks: Receiver<Chunk>,
        chunk: Chunk,
        /// The next packet of the chunk.
        next: usize,
        ended: bool,
    },
    Again {
        stock: Arc<Stock>,
        next: usize,
    },
}

impl Player {
    /// Starts to read a capture once. Also opening it is left to the thread: a FIFO may have no writer yet.
    pub fn once(pool: &Arc<PacketPool>, path: PathBuf) -> io::Result<(Self, Input)> {
        let (sender, chunks) = sync_channel(READ_AHEAD);
        let failure = Arc::new(OnceLock::new());
        let (read, outcome) = (path.clone(), failure.clone());
        std::thread::Builder::new()
            .name("capture-reader".to_owned())
            .spawn(move || {
                if let Err(e) = read_ahead(&read, &sender) {
                    let _ = outcome.set(e.to_string());
                }
                // A reader that sees the end of the queue sees the failure.
                drop(sender);
            })?;
        let feed = Feed::Once {
            chunks,
            chunk: Chunk::default(),
            next: 0,
            ended: false,
        };
        let player = Self {
            pool: pool.clone(),
            feed,
        };
        Ok((player, Input { path, failure }))
    }

    /// Plays a capture over and over.
    pub fn again(pool: &Arc<PacketPool>, stock: Arc<Stock>) -> Self {
        Self {
            pool: pool.clone(),
            feed: Feed::Again { stock, next: 0 },
        }
    }

    /// Everything has been read and taken.
    pub fn has_ended(&self) -> bool {
        matches!(self.feed, Feed::Once { ended: true, .. })
    }

    /// Takes what has been read, as a queue's [`rx_burst`](crate::dpdk::RxQueue::rx_burst).
    pub fn rx_burst(&mut self, burst: &mut RxBurst, stamps: &mut Stamps) -> usize {
        burst.clear();
        match &mut self.feed {
            Feed::Again { stock, next } => repeat(&self.pool, stock, next, burst, stamps),
            Feed::Once {
                chunks,
                chunk,
                next,
                ended,
            } => {
                let enough = burst.oversized + burst.left() as u64;
                // In this order: the end is seen with the last packet.
                while *next < chunk.packets.len() || refill(chunks, chunk, next, ended) {
                    let full = burst.left() == 0 || burst.oversized >= enough;
                    if full || !play(&self.pool, chunk, next, burst, stamps) {
                        break;
                    }
                }
            }
        }
        burst.packets().len()
    }
}

/// Takes the next chunk, if there is one by now.
fn refill(chunks: &Receiver<Chunk>, chunk: &mut Chunk, next: &mut usize, ended: &mut bool) -> bool {
    match chunks.try_recv() {
        Ok(read) => {
            (*chunk, *next) = (read, 0);
            true
        }
        Err(e) => {
            *ended = e == TryRecvError::Disconnected;
            false
        }
    }
}

/// Puts packets of the chunk into buffers; false when there is no buffer.
fn play(
    pool: &PacketPool,
    chunk: &Chunk,
    next: &mut usize,
    burst: &mut RxBurst,
    stamps: &mut Stamps,
) -> bool {
    let wanted = burst.left().min(chunk.packets.len() - *next);
    let mut buffers = [0; crate::dpdk::MAX_BURST];
    let got = pool.alloc_burst(&mut buffers[..wanted]);
    let mut free = buffers[..got].iter();
    for _ in 0..got {
        let Some((bytes, stamp)) = chunk.packet(*next) else {
            break;
        };
        *next += 1;
        if bytes.len() > pool.room() {
            burst.oversized += 1;
            continue;
        }
        let Some(&index) = free.next() else { break };
        pool.fill(index, bytes);
        stamps.set(index, stamp);
        burst.push(index, bytes.len() as u16);
    }
    pool.free_burst(free.as_slice());
    got > 0
}

fn repeat(pool: &PacketPool, stock: &Stock, next: &mut usize, burst: &mut RxBurst, stamps: &mut Stamps) {
    while burst.left() > 0 {
        let from = &stock.packets[*next..];
        let before = burst.packets().len();
        let wanted = from.len().min(burst.left());
        let copied = burst.push_copies(pool, &from[..wanted]);
        let cuts = &stock.cuts[*next..*next + copied];
        for (packet, &cut) in burst.packets()[before..].iter().zip(cuts) {
            stamps.set(packet.index, Stamp { time: None, cut });
        }
        *next += copied;
        if *next == stock.packets.len() {
            *next = 0;
        }
        if copied < wanted {
            return;
        }
    }
}

/// Reads to the end, or until the consumer is gone.
fn read_ahead(path: &Path, chunks: &SyncSender<Chunk>) -> Result<(), CaptureError> {
    let mut capture = Capture::open(path)?;
    let mut chunk = Chunk::default();
    let mut wanted = true;
    while wanted {
        // What has been read is handed over before a wait for more: the writer of a FIFO may take its time.
        let mut hand_over = || {
            if !chunk.packets.is_empty() {
                wanted &= chunks.send(std::mem::take(&mut chunk)).is_ok();
            }
        };
        let packet = match capture.next_after(&mut hand_over) {
            Ok(packet) => packet,
            Err(e) => {
                hand_over();
                return Err(e);
            }
        };
        match packet {
            Some(packet) => chunk.push(&packet),
            None => {
                hand_over();
                return Ok(());
            }
        }
        if chunk.is_full() {
            wanted &= chunks.send(std::mem::take(&mut chunk)).is_ok();
        }
    }
    Ok(())
}
