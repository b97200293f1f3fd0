//! DPDK, made safe: the EAL, a packet pool over shared memory, ports and their queues.
//!
//! A packet is known to the rest of the manager by the index of its buffer alone. Buffer `i` is the `stride` bytes at
//! `i * stride` of a [`PacketSpace`], which has the packet files of all security domains beside each other; the mbuf that belongs to
//! it stays in here, in memory that no NF can see.
//!
//! ```text
//! Eal ──► PacketSpace ──► PacketPool (over a PacketMemory) ──► Port ──start──► RxQueue, TxQueue ──► workers
//! ```
//!
//! What the types enforce:
//! - EAL, pools and memory outlive whatever uses them (reference counts), whichever is dropped first.
//! - A queue has one user: [`RxQueue`] and [`TxQueue`] are handed out once at a time and used through `&mut`.
//! - A port cannot be stopped or closed under a worker: [`Port::stop`] refuses while queues are handed out.
//! - Any index, offset or length may be passed to send or free: values that do not fit are refused.
//!
//! Left to the worker: to send or free only buffers that it holds. A buffer freed twice would have two
//! owners, which mixes up packets (never the manager's memory).
//!
//! Unsafe code is in this module, in the crate `dpdk-sys`, in `interface` where it calls the kernel, and in `jail`; nowhere else.

#![allow(unsafe_code)]

mod descriptors;
mod eal;
mod error;
mod ethdev;
mod lcore;
mod log;
mod memory;
mod pool;
mod port;
mod private_pool;
mod queue;
mod requirements;
mod rss;
mod setup;
mod space;
mod taken;
mod version;

pub use eal::{Eal, EalOptions, HugePages, PageSize};
pub use error::DpdkError;
pub use lcore::Lcore;
pub use memory::{FileMapping, PacketMemory};
pub use pool::{HEADROOM, PacketPool, PoolConfig};
pub use port::{Effective, Port, PortConfig, PortStats};
pub use queue::{MAX_BURST, RxBurst, RxDesc, RxQueue, Sent, TxDesc, TxQueue};
pub use requirements::{Capability, has_capability, interface_exists};
pub use rss::Rss;
pub(crate) use setup::FRAMING;
pub use space::PacketSpace;
pub use taken::{WatchedPackets, pages_taken};
pub use version::version;
