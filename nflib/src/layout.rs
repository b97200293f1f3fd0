//! Where things lie in an instance's region, and the ABI number that both sides must share.
//!
//! ```text
//! 0      header: magic, ABI, section count, section table
//! 8192   control: command word, the NF's doorbell, one doorbell per worker, each on its own cache line
//! ...    per worker: ring to the NF, ring from the NF (indices on a line each, then the slots)
//! ...    counters: 64-bit each, written by the NF, read by the manager
//! ...    for an NF that makes packets, per worker: ring of blank buffers to the NF
//! ```
//!
//! The manager keeps its own [`Layout`] and never reads the header back; the NF checks the header before it uses it. New
//! kinds of section can be added without a new ABI number: a reader skips kinds that it does not know.

/// Changes whenever an old NF could not run against a new manager, or the reverse.
pub const ABI_VERSION: u32 = 2;

/// First eight bytes of a region.
pub const MAGIC: u64 = u64::from_le_bytes(*b"ONVMNF\0\x01");

/// Bytes of a cache line; values that must not share one are placed at multiples of it.
pub const LINE: usize = 64;

pub const HEADER_BYTES: usize = 8192;
/// Counters that one instance can have.
pub const MAX_COUNTERS: usize = 4096;
pub const MAX_WORKERS: usize = 64;

/// Byte offsets in the header.
pub const AT_MAGIC: usize = 0;
pub const AT_ABI: usize = 8;
pub const AT_SECTIONS: usize = 12;
pub const AT_TABLE: usize = 64;
/// A table entry: kind `u32`, index `u32`, offset `u64`, length `u64`.
pub const ENTRY_BYTES: usize = 24;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum SectionKind {
    /// The command word, then the NF's doorbell, a line each.
    Control = 1,
    /// A worker's doorbell; the index is the worker.
    WorkerBell = 2,
    /// Ring from a worker to the NF.
    ToNf = 3,
    /// Ring from the NF to a worker.
    FromNf = 4,
    Counters = 5,
    /// Ring of blank buffers from a worker to the NF.
    Blanks = 6,
}

impl SectionKind {
    pub fn from_number(n: u32) -> Option<Self> {
        Some(match n {
            1 => Self::Control,
            2 => Self::WorkerBell,
            3 => Self::ToNf,
            4 => Self::FromNf,
            5 => Self::Counters,
            6 => Self::Blanks,
            _ => return None,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section {
    pub kind: SectionKind,
    pub index: u32,
    /// Bytes from the start of the region, a multiple of [`LINE`].
    pub offset: usize,
    /// Bytes.
    pub length: usize,
}

/// The sections of one region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    pub sections: Vec<Section>,
    /// Bytes of the whole region, a multiple of 4096.
    pub size: usize,
}

/// Bytes of a ring of `capacity` slots: a line for each index, then the slots.
pub const fn ring_bytes(capacity: u32) -> usize {
    2 * LINE + capacity as usize * 16
}

impl Layout {
    /// A region for `workers` workers (1 to [`MAX_WORKERS`]) with rings of `capacity` slots (a power of two).
    pub fn new(workers: u32, capacity: u32, counters: u32) -> Self {
        let mut layout = Self {
            sections: Vec::new(),
            size: HEADER_BYTES,
        };
        layout.add(SectionKind::Control, 0, 2 * LINE);
        for w in 0..workers {
            layout.add(SectionKind::WorkerBell, w, LINE);
        }
        for w in 0..workers {
            layout.add(SectionKind::ToNf, w, ring_bytes(capacity));
            layout.add(SectionKind::FromNf, w, ring_bytes(capacity));
        }
        layout.add(SectionKind::Counters, 0, counters as usize * 8);
        layout.size = layout.size.next_multiple_of(4096);
        layout
    }

    /// The region that a manager gives to an instance.
    pub fn of_instance(workers: u32, capacity: u32) -> Self {
        Self::new(workers, capacity, MAX_COUNTERS as u32)
    }

    /// The same with a ring of so many blank buffers (a power of two) for each worker, for an instance that makes packets.
    #[must_use]
    pub fn with_blanks(mut self, capacity: u32) -> Self {
        let of = |s: &&Section| s.kind == SectionKind::ToNf;
        let workers = self.sections.iter().filter(of).count() as u32;
        for w in 0..workers {
            self.add(SectionKind::Blanks, w, ring_bytes(capacity));
        }
        self.size = self.size.next_multiple_of(4096);
        self
    }

    pub fn find(&self, kind: SectionKind, index: u32) -> Option<Section> {
        self.sections
            .iter()
            .copied()
            .find(|s| s.kind == kind && s.index == index)
    }

    fn add(&mut self, kind: SectionKind, index: u32, length: usize) {
        let offset = self.size.next_multiple_of(LINE);
        self.sections.push(Section {
            kind,
            index,
            offset,
            length,
        });
        self.size = offset + length;
    }
}

const _: () = {
    // Control, counters, and per worker a doorbell and three rings must fit into the header's table.
    assert!(AT_TABLE + (2 + 4 * MAX_WORKERS) * ENTRY_BYTES <= HEADER_BYTES);
};

/// Entries that the header has room for.
pub const MAX_SECTIONS: usize = (HEADER_BYTES - AT_TABLE) / ENTRY_BYTES;
