//! A worker of `onvm-run` in the calling thread, driven round by round, between two ports of DPDK's, with NFs that hand back at
//! once what they are given. What surrounds the worker can so be left out of a count of instructions or of time.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use crossbeam_queue::SegQueue;
use nflib::{
    Region, Run, ShmRing,
    layout::Layout,
    memory::{Geometry, Mapping, PacketFile, create_file, reopen_read_only},
    ring::{Consumer, Producer},
    session::IdlePolicy,
};
pub use onvm_run::worker::BURST;
use onvm_run::{
    director::{Changes, Program},
    dpdk::{
        Eal, EalOptions, FileMapping, HEADROOM, HugePages, Lcore, PacketPool, PageSize, PoolConfig, Port,
        PortConfig, TxDesc, TxQueue,
    },
    generation::{At, Generation, Hop, HopCounters, HopIndex, NO_HOP, PortTable, ahead},
    worker::{
        Command, End, Event, Feed, Instances, Link, Parts, Sink, Source, SourceKind, Worker, WorkerCounters,
    },
};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::{
    BenchError,
    nf_process::{NfProcess, Terms},
};

/// Descriptors that each ring holds, and packets that may be inside.
const RING: u32 = 2048;
const GEOMETRY: Geometry = Geometry {
    first: 0,
    buffers: 4 * RING,
    stride: 2240,
    headroom: HEADROOM as u32,
};
/// Packets that it can be given at once: DPDK's ring ports hold some more.
pub const MOST_FED: usize = 992;
/// What a packet begins with; the worker reads no more for rules on addresses and ports.
pub type Head = [u8; 64];
const SPINNING: IdlePolicy = IdlePolicy {
    spins: u32::MAX,
    yields: 0,
    sleeps: false,
};
/// Ids of the ports.
const SOURCE: u16 = 0;
const SINK: u16 = 1;

/// The worker with its ports and NFs.
#[derive(Debug)]
pub struct Rig {
    // Before the ports, whose queues it has.
    worker: Worker,
    nfs: Vec<Echo>,
    process: Option<NfProcess>,
    counters: Arc<WorkerCounters>,
    _events: UnboundedReceiver<Event>,
    ports: [Port; 2],
    pool: Arc<PacketPool>,
    commands: Arc<SegQueue<Command>>,
    /// What is sent into it comes in at the source; none with a null port.
    inject: Option<TxQueue>,
    staged: Vec<TxDesc>,
    turns: u32,
}

/// The other end of an instance's rings.
#[derive(Debug)]
struct Echo {
    to: Consumer<ShmRing>,
    from: Producer<ShmRing>,
}

impl Echo {
    /// Hands back all that it was given, with the verdict `next`.
    fn answer(&mut self) -> Result<(), BenchError> {
        let damaged = |e: nflib::ring::Corrupt| BenchError::Nf(format!("has a damaged ring: {e}"));
        let mut words = [[0; 2]; BURST];
        loop {
            let taken = self.to.pop_words(&mut words).map_err(damaged)?;
            if taken == 0 {
                return Ok(());
            }
            let given = self.from.push_words(&words[..taken]).map_err(damaged)?;
            if given < taken {
                return Err(BenchError::Nf("found no room to hand packets back".to_owned()));
            }
        }
    }
}

impl Rig {
    /// Packets of a null port go through so many NFs, each a service of its own, to another null port.
    pub fn new(nfs: u16) -> Result<Self, BenchError> {
        Self::echoing(("net_null", "size=64"), nfs, PortTable::new(Vec::new(), 0))
    }

    /// The same for packets that are given to it, as a port with this table takes them; the first NF is hop 0.
    pub fn fed(nfs: u16, table: PortTable) -> Result<Self, BenchError> {
        let mut rig = Self::echoing(("net_ring", ""), nfs, table)?;
        rig.inject = Some(rig.ports[0].tx_queue(0)?);
        Ok(rig)
    }

    /// The same with one NF, which is a process that never sleeps, on the core that this thread is bound to now.
    pub fn beside_process(table: PortTable) -> Result<Self, BenchError> {
        let mut process = None;
        let mut rig = Self::between(("net_ring", ""), table, |packets| {
            let terms = Terms {
                geometry: GEOMETRY,
                ring: RING,
                idle: SPINNING,
            };
            let nf = process.insert(NfProcess::start(packets, terms)?);
            Ok(vec![Link::new(&nf.region, 0, false, 0)])
        })?;
        rig.process = process;
        rig.inject = Some(rig.ports[0].tx_queue(0)?);
        Ok(rig)
    }

    fn echoing(source: (&str, &str), nfs: u16, table: PortTable) -> Result<Self, BenchError> {
        let mut echoes = Vec::new();
        let mut rig = Self::between(source, table, |_| {
            let links = (0..nfs).map(|_| {
                let memory = Region::create("bench-nf", Layout::new(1, RING, 0));
                let (_fd, region) = memory.map_err(BenchError::system("an NF's memory"))?;
                echoes.push(Echo {
                    to: region.to_nf_consumer(0),
                    from: region.from_nf_producer(0),
                });
                Ok(Link::new(&region, 0, false, 0))
            });
            links.collect()
        })?;
        rig.nfs = echoes;
        Ok(rig)
    }

    /// `links` gives the worker's ends of the NFs' rings, in the order of the chain.
    fn between(
        (device, arguments): (&str, &str),
        table: PortTable,
        links: impl FnOnce(&OwnedFd) -> Result<Vec<Link>, BenchError>,
    ) -> Result<Self, BenchError> {
        let eal = eal()?;
        // Names of devices and pools are taken once in a process.
        static RIGS: AtomicU32 = AtomicU32::new(0);
        let number = RIGS.fetch_add(1, Ordering::Relaxed);
        let (pool, packets, file) = buffers(eal, number)?;
        let links = links(&file)?;
        let nfs = links.len() as u16;
        let port = |device: &str, arguments: &str| -> Result<Port, BenchError> {
            let mut port = Port::create_vdev(eal, device, arguments)?;
            port.configure(&PortConfig::default(), std::slice::from_ref(&pool))?;
            port.start()?;
            Ok(port)
        };
        let mut ports = [
            port(&format!("{device}{}", 2 * number), arguments)?,
            port(&format!("net_null{}", 2 * number + 1), "size=64,no-rx=1")?,
        ];
        let (commands, counters) = (
            Arc::new(SegQueue::new()),
            Arc::new(WorkerCounters::new(2, nfs.into())),
        );
        let (sender, events) = unbounded_channel();
        let mut worker = Worker::new(Parts {
            id: 0,
            pools: vec![pool.clone()],
            packets,
            counters: counters.clone(),
            commands: commands.clone(),
            events: sender,
            idle: SPINNING,
            credit: RING,
            room: GEOMETRY.buffers / 2,
            flow_idle: 60,
        });
        for (slot, link) in (0..).zip(links) {
            attach(&commands, slot, link);
        }
        commands.push(Command::Publish(Arc::new(generation(nfs, table))));
        let source = Source {
            feed: Feed::Queues(vec![ports[0].rx_queue(0)?]),
            kind: SourceKind::Endless,
        };
        let source = End {
            source: Some(source),
            sink: None,
        };
        let sink = End {
            source: None,
            sink: Some(Sink::Queue(ports[1].tx_queue(0)?)),
        };
        commands.push(Command::Open(vec![(SOURCE, source), (SINK, sink)]));
        worker.upkeep();
        Ok(Self {
            worker,
            nfs: Vec::new(),
            process: None,
            counters,
            _events: events,
            ports,
            pool,
            commands,
            inject: None,
            staged: Vec::new(),
            turns: 0,
        })
    }

    /// Gives it packets of so many bytes that begin with these heads, [`MOST_FED`] at most.
    pub fn feed<'a>(
        &mut self,
        heads: impl Iterator<Item = &'a Head>,
        length: u16,
    ) -> Result<u64, BenchError> {
        let mut packets = std::mem::take(&mut self.staged);
        packets.clear();
        for head in heads {
            let mut index = [0];
            if self.pool.alloc_burst(&mut index) == 1 && self.pool.fill(index[0], head) {
                packets.push(TxDesc {
                    index: index[0],
                    off: HEADROOM,
                    len: length,
                });
            }
        }
        let inject = self.inject.as_mut();
        let sent = inject.map_or(0, |queue| {
            let bursts = packets.chunks(BURST);
            bursts
                .map(|burst| queue.tx_burst(&self.pool, burst).accepted)
                .sum()
        });
        if sent < packets.len() || packets.is_empty() {
            return Err(BenchError::Needs(
                "room for the packets that it gives to the worker",
            ));
        }
        Ok(sent as u64)
    }

    /// The processor time that the worker takes until all that it was given has left. What the NFs take in between is not counted.
    pub fn serve(&mut self, given: u64) -> Result<Duration, BenchError> {
        let (before, mut time) = (self.delivered(), Duration::ZERO);
        let mut phases = 0;
        while self.delivered() - before < given {
            phases += 1;
            if phases > self.nfs.len() + 1 {
                return Err(BenchError::Needs("a worker that delivers what it was given"));
            }
            let began = processor_time();
            while self.worker.round() > 0 {}
            time += processor_time().saturating_sub(began);
            self.nfs.iter_mut().try_for_each(Echo::answer)?;
        }
        Ok(time)
    }

    /// As the worker's own loop does it, without its sleep.
    pub fn turn(&mut self) {
        self.worker.round();
        self.turns = self.turns.wrapping_add(1);
        if self.turns.is_multiple_of(64) {
            self.worker.upkeep();
        }
    }

    /// Lets the worker forget what it knows of flows.
    pub fn forget(&mut self) {
        self.commands.push(Command::Program(Arc::new(Changes {
            wilds: vec![(SOURCE, Arc::default())],
            number: 0,
            steps: Vec::new(),
        })));
        self.worker.upkeep();
    }

    /// One round of the worker, by `serve`, then all NFs hand back what they have; returns how many packets moved.
    pub fn round(&mut self, serve: impl FnOnce(&mut Worker) -> usize) -> Result<usize, BenchError> {
        let moved = serve(&mut self.worker);
        self.nfs.iter_mut().try_for_each(Echo::answer)?;
        Ok(moved)
    }

    /// Packets that have left.
    pub fn delivered(&self) -> u64 {
        self.counters.ports[usize::from(SINK)]
            .tx_packets
            .load(Ordering::Relaxed)
    }
}

/// Of the calling thread: what others take of the core meanwhile is not in it.
fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// Gives the calling thread its own cache of packet buffers, as a worker's thread has it.
pub fn register() -> Result<Lcore, BenchError> {
    Ok(Lcore::register(eal()?)?)
}

/// DPDK starts once in a process.
fn eal() -> Result<&'static Eal, BenchError> {
    static EAL: OnceLock<Result<Eal, String>> = OnceLock::new();
    let options = EalOptions {
        huge_pages: HugePages::Off,
        file_prefix: format!("onvm-bench-{}", std::process::id()),
        ..EalOptions::default()
    };
    let eal = EAL.get_or_init(|| Eal::init(&options).map_err(|e| e.to_string()));
    eal.as_ref().map_err(|e| BenchError::Dpdk(e.clone()))
}

/// The pool, and its file as the worker reads it and as an NF does.
fn buffers(eal: &Eal, number: u32) -> Result<(Arc<PacketPool>, Arc<PacketFile>, OwnedFd), BenchError> {
    let failed = || BenchError::system("the packet file cannot be made");
    let file = create_file("bench-packets", GEOMETRY.bytes(), false).map_err(failed())?;
    let memory = Arc::new(FileMapping::map(file.as_fd(), GEOMETRY.bytes())?);
    let config = PoolConfig {
        name: format!("bench{number}"),
        stride: GEOMETRY.stride,
        count: GEOMETRY.buffers,
        headroom: HEADROOM,
        page_size: PageSize::Kib4,
        // As `onvm-run` has it.
        cache: 256,
    };
    let pool = PacketPool::new(eal, memory, &config)?;
    let mapping = Mapping::new(&file, false).map_err(failed())?;
    let packets = PacketFile::new(mapping, GEOMETRY).map_err(failed())?;
    let file = reopen_read_only(file.as_fd()).map_err(failed())?;
    Ok((pool, Arc::new(packets), file))
}

/// The one instance of the service with the same number.
fn attach(commands: &SegQueue<Command>, slot: u16, link: Link) {
    commands.push(Command::Attach {
        slot,
        link: Box::new(link),
        fresh: true,
    });
    commands.push(Command::Select {
        service: slot,
        instances: Instances {
            chosen: vec![slot],
            ..Instances::default()
        },
    });
}

/// One chain through all NFs.
fn generation(nfs: u16, table: PortTable) -> Generation {
    let places = (0..nfs).map(At::Service).chain([At::Port(SINK)]);
    let hops: Vec<Hop> = places
        .enumerate()
        .map(|(i, at)| Hop {
            at,
            next: if i == usize::from(nfs) {
                NO_HOP
            } else {
                i as HopIndex + 1
            },
            outputs: Vec::new(),
            steers: Vec::new(),
            outs: Vec::new(),
            lookup: false,
            chain: 0,
            bypass: false,
            run: Vec::new(),
        })
        .collect();
    let tables = vec![table, PortTable::new(Vec::new(), NO_HOP)];
    Generation {
        number: 1,
        id: String::new(),
        max_hops: 32,
        ahead: ahead(&hops),
        runs: hops.iter().map(|hop| Run::new(&hop.run)).collect(),
        counters: vec![HopCounters::new(hops.len(), &tables)],
        hops,
        chains: Vec::new(),
        tables,
        reach: vec![(0..nfs).collect(), Vec::new()],
        rules: Vec::new(),
        programs: vec![Program::default(), Program::default()],
    }
}
