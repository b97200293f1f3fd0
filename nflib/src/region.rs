//! An instance's region: the file that holds its rings, counters and doorbells.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use crate::{
    bell::Bell,
    counters::CounterSet,
    layout::{
        ABI_VERSION, AT_ABI, AT_MAGIC, AT_SECTIONS, AT_TABLE, ENTRY_BYTES, LINE, Layout, MAGIC, MAX_SECTIONS,
        Section, SectionKind,
    },
    memory::{self, Mapping, create_file},
    ring::{Consumer, Producer, RingWords},
};

/// A mapped region, from either side.
#[derive(Debug, Clone)]
pub struct Region {
    mapping: Arc<Mapping>,
    layout: Layout,
}

#[derive(Debug, thiserror::Error)]
pub enum RegionError {
    #[error("the region cannot be mapped: {0}")]
    Map(#[from] io::Error),
    #[error("the region does not begin with the magic number of an onvm region")]
    Magic,
    #[error(
        "the manager speaks ABI {found} and this NF was built for ABI {ABI_VERSION}; rebuild the NF with the manager's nflib"
    )]
    Abi { found: u32 },
    #[error("the region's section table is damaged: {0}")]
    Table(&'static str),
}

impl Region {
    /// The manager's side: makes the file, writes its header and maps it.
    pub fn create(name: &str, layout: Layout) -> io::Result<(OwnedFd, Self)> {
        let fd = create_file(name, layout.size, false)?;
        let mapping = Mapping::new(&fd, true)?;
        let region = Self {
            mapping: Arc::new(mapping),
            layout,
        };
        region
            .write_header()
            .ok_or_else(|| io::Error::other("the region is smaller than its layout"))?;
        Ok((fd, region))
    }

    /// See [`Mapping::prefer_node`]. To be called before the file is shared.
    pub fn prefer_node(&self, node: u16) -> io::Result<()> {
        self.mapping.prefer_node(node)
    }

    /// The NF's side: maps the file and checks the header.
    pub fn open(fd: impl AsFd) -> Result<Self, RegionError> {
        let mapping = Arc::new(Mapping::new(fd, true)?);
        let layout = read_header(&mapping)?;
        Ok(Self { mapping, layout })
    }

    /// Workers that this region has rings for.
    pub fn workers(&self) -> u32 {
        self.layout
            .sections
            .iter()
            .filter(|s| s.kind == SectionKind::ToNf)
            .count() as u32
    }

    /// What the manager last commanded, see [`crate::session::Command`].
    pub fn command(&self) -> &AtomicU32 {
        self.word(SectionKind::Control, 0, 0)
    }

    /// The bell that wakes the NF.
    pub fn nf_bell(&self) -> Bell {
        Bell::new(
            self.mapping.clone(),
            self.section(SectionKind::Control, 0).offset + LINE,
        )
    }

    /// The bell that wakes the worker.
    pub fn worker_bell(&self, worker: u32) -> Bell {
        Bell::new(
            self.mapping.clone(),
            self.section(SectionKind::WorkerBell, worker).offset,
        )
    }

    /// The ends of the rings; each may be taken once by each side, which the session sees to.
    pub fn to_nf_producer(&self, worker: u32) -> Producer<ShmRing> {
        Producer::new(self.ring(SectionKind::ToNf, worker))
    }
    pub fn to_nf_consumer(&self, worker: u32) -> Consumer<ShmRing> {
        Consumer::new(self.ring(SectionKind::ToNf, worker))
    }
    pub fn from_nf_producer(&self, worker: u32) -> Producer<ShmRing> {
        Producer::new(self.ring(SectionKind::FromNf, worker))
    }
    pub fn from_nf_consumer(&self, worker: u32) -> Consumer<ShmRing> {
        Consumer::new(self.ring(SectionKind::FromNf, worker))
    }

    /// The ends of the rings of blank buffers; none for an NF that makes no packets.
    pub fn blanks_producer(&self, worker: u32) -> Option<Producer<ShmRing>> {
        self.layout.find(SectionKind::Blanks, worker)?;
        Some(Producer::new(self.ring(SectionKind::Blanks, worker)))
    }
    pub fn blanks_consumer(&self, worker: u32) -> Option<Consumer<ShmRing>> {
        self.layout.find(SectionKind::Blanks, worker)?;
        Some(Consumer::new(self.ring(SectionKind::Blanks, worker)))
    }

    pub fn counters(&self) -> CounterSet {
        let s = self.section(SectionKind::Counters, 0);
        CounterSet::new(self.mapping.clone(), s.offset, s.length / 8)
    }

    fn ring(&self, kind: SectionKind, index: u32) -> ShmRing {
        let s = self.section(kind, index);
        let capacity = (s.length - 2 * LINE) / 16;
        let words = memory::RingWords::new(
            self.mapping.clone(),
            s.offset,
            s.offset + LINE,
            s.offset + 2 * LINE,
            capacity,
        );
        ShmRing {
            words: words.unwrap_or_else(|| unreachable!("sections lie inside the mapping")),
        }
    }

    /// Present by construction: `create` and `read_header` both require every section that is asked for here.
    fn section(&self, kind: SectionKind, index: u32) -> Section {
        self.layout
            .find(kind, index)
            .unwrap_or_else(|| unreachable!("no section {kind:?} {index} in the region"))
    }

    fn word(&self, kind: SectionKind, index: u32, at: usize) -> &AtomicU32 {
        let offset = self.section(kind, index).offset + at;
        self.mapping
            .u32_at(offset)
            .unwrap_or_else(|| unreachable!("sections lie inside the mapping"))
    }

    fn write_header(&self) -> Option<()> {
        let map = &self.mapping;
        map.u64s_at(AT_MAGIC, 1)?[0].store(MAGIC, Ordering::Relaxed);
        map.u32_at(AT_ABI)?.store(ABI_VERSION, Ordering::Relaxed);
        for (i, s) in self.layout.sections.iter().enumerate() {
            let at = AT_TABLE + i * ENTRY_BYTES;
            map.u32_at(at)?.store(s.kind as u32, Ordering::Relaxed);
            map.u32_at(at + 4)?.store(s.index, Ordering::Relaxed);
            map.u64s_at(at + 8, 1)?[0].store(s.offset as u64, Ordering::Relaxed);
            map.u64s_at(at + 16, 1)?[0].store(s.length as u64, Ordering::Relaxed);
        }
        // The file reaches the NF through a socket, which orders these stores before the NF's reads.
        map.u32_at(AT_SECTIONS)?
            .store(self.layout.sections.len() as u32, Ordering::Release);
        Some(())
    }
}

fn read_header(map: &Mapping) -> Result<Layout, RegionError> {
    let short = || RegionError::Table("the file is shorter than a header");
    if map.u64s_at(AT_MAGIC, 1).ok_or_else(short)?[0].load(Ordering::Relaxed) != MAGIC {
        return Err(RegionError::Magic);
    }
    let found = map.u32_at(AT_ABI).ok_or_else(short)?.load(Ordering::Relaxed);
    if found != ABI_VERSION {
        return Err(RegionError::Abi { found });
    }
    let count = map.u32_at(AT_SECTIONS).ok_or_else(short)?.load(Ordering::Acquire) as usize;
    if count > MAX_SECTIONS {
        return Err(RegionError::Table("it has too many sections"));
    }
    let mut layout = Layout {
        sections: Vec::new(),
        size: map.len(),
    };
    for i in 0..count {
        let at = AT_TABLE + i * ENTRY_BYTES;
        let number = map.u32_at(at).ok_or_else(short)?.load(Ordering::Relaxed);
        let index = map.u32_at(at + 4).ok_or_else(short)?.load(Ordering::Relaxed);
        let words = map.u64s_at(at + 8, 2).ok_or_else(short)?;
        let (offset, length) = (
            words[0].load(Ordering::Relaxed) as usize,
            words[1].load(Ordering::Relaxed) as usize,
        );
        let inside = offset.checked_add(length).is_some_and(|end| end <= map.len());
        if !inside || !offset.is_multiple_of(LINE) {
            return Err(RegionError::Table("a section lies outside the file"));
        }
        if let Some(kind) = SectionKind::from_number(number) {
            layout.sections.push(Section {
                kind,
                index,
                offset,
                length,
            });
        }
    }
    check_sections(&layout)?;
    Ok(layout)
}

/// What the accessors of [`Region`] rely on.
fn check_sections(layout: &Layout) -> Result<(), RegionError> {
    let has = |kind, index, bytes: usize| layout.find(kind, index).is_some_and(|s| s.length >= bytes);
    if !has(SectionKind::Control, 0, 2 * LINE) || !has(SectionKind::Counters, 0, 0) {
        return Err(RegionError::Table("it lacks the control words or the counters"));
    }
    let workers = layout
        .sections
        .iter()
        .filter(|s| s.kind == SectionKind::ToNf)
        .count() as u32;
    let is_ring = |s: Section| {
        let slots = s.length.checked_sub(2 * LINE).map(|bytes| bytes / 16);
        slots.is_some_and(|n| n.is_power_of_two() && n <= 65_536)
    };
    for w in 0..workers {
        if !layout.find(SectionKind::Blanks, w).is_none_or(is_ring) {
            return Err(RegionError::Table(
                "the size of a ring of blank buffers is not a power of two",
            ));
        }
        for kind in [SectionKind::ToNf, SectionKind::FromNf] {
            if !layout.find(kind, w).is_some_and(is_ring) {
                return Err(RegionError::Table(
                    "a worker lacks a ring or its size is not a power of two",
                ));
            }
        }
        if !has(SectionKind::WorkerBell, w, 4) {
            return Err(RegionError::Table("a worker lacks its doorbell"));
        }
    }
    match workers {
        0 => Err(RegionError::Table("it has no ring")),
        _ => Ok(()),
    }
}

/// A ring's words in a region.
#[derive(Debug, Clone)]
pub struct ShmRing {
    words: memory::RingWords,
}

impl RingWords for ShmRing {
    type Index = AtomicU32;
    type Half = AtomicU64;

    #[inline(always)]
    fn head(&self) -> &AtomicU32 {
        self.words.head()
    }

    #[inline(always)]
    fn tail(&self) -> &AtomicU32 {
        self.words.tail()
    }

    #[inline(always)]
    fn slots(&self) -> &[[AtomicU64; 2]] {
        self.words.slots()
    }
}
