//! The requirements of a program, and the places of its parts: cores, NUMA nodes, memory, huge pages, buffers.
//!
//! The sizes are those that the manager takes: [`ManagerConfig`]'s own of a buffer and of DPDK's memory, and `nflib`'s
//! layout of an instance's region.

mod cores;
mod fusion;
mod memory;
mod sum;

use onvm_bundle::{Core, CoreRequest, CoreShare, Cores, ManagerConfig, domain_name};
use serde::Serialize;

pub use cores::CoreDemand;
pub(crate) use cores::check_cores;
pub use fusion::{Fusion, Visits};
pub use memory::{BufferDemand, MemoryDemand, PageDemand};
pub use sum::{Line, bytes, rows};

/// Version 1 of `--explain-placement --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Placement {
    pub version: u32,
    pub seats: Vec<Seat>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fused: Vec<FusedProcess>,
    /// None where no NF and no port names one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<Domain>,
    pub cores: CoreDemand,
    pub memory: MemoryDemand,
    pub huge_pages: Vec<PageDemand>,
    pub buffers: BufferDemand,
}

/// A worker or an instance, and where it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seat {
    pub name: String,
    /// `worker`, `receiver`, or the NF's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Cores asked for itself alone; none: it shares.
    pub cores_asked: Option<u16>,
    /// The cores that the scheduler may put it on; none: chosen on the host, of those that the manager may use.
    pub runs_on: Option<Vec<u16>>,
    /// NUMA node asked for; none: any.
    pub numa: Option<u16>,
    /// Bytes that an NF may allocate; none: no limit, or a worker.
    pub memory_limit: Option<u64>,
    /// Bytes of an NF's rings and counters.
    pub region: u64,
}

/// NFs that share a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FusedProcess {
    pub name: String,
    pub nfs: Vec<String>,
    /// Those that may write to packets. Where there is one, all can.
    pub writers: Vec<String>,
}

impl FusedProcess {
    fn all(manager: &ManagerConfig) -> Vec<Self> {
        let hosts = manager.hosts();
        let fused = hosts.iter().filter(|host| host.is_fused()).map(|host| Self {
            name: host.service.name.clone(),
            nfs: host.members.iter().map(|nf| nf.name.clone()).collect(),
            writers: host
                .members
                .iter()
                .filter(|nf| !nf.read_only)
                .map(|nf| nf.name.clone())
                .collect(),
        });
        fused.collect()
    }
}

/// A security domain: what shares packet memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Domain {
    pub name: String,
    /// Their packets come into its memory.
    pub ports: Vec<String>,
    /// They see all that is in it.
    pub nfs: Vec<String>,
    /// Those of them that may write to it.
    pub writers: Vec<String>,
}

impl Domain {
    fn all(manager: &ManagerConfig) -> Vec<Self> {
        let domains = manager.domains();
        if domains == [None] {
            return Vec::new();
        }
        let one = |domain: Option<&str>| {
            let nfs = || {
                manager
                    .services
                    .iter()
                    .filter(move |nf| nf.domain.as_deref() == domain)
            };
            let ports = manager
                .ports
                .iter()
                .filter(|port| port.domain.as_deref() == domain);
            Self {
                name: domain_name(domain).to_owned(),
                ports: ports.map(|port| port.name.clone()).collect(),
                nfs: nfs().map(|nf| nf.name.clone()).collect(),
                writers: nfs()
                    .filter(|nf| !nf.read_only)
                    .map(|nf| nf.name.clone())
                    .collect(),
            }
        };
        domains.into_iter().map(one).collect()
    }
}

impl Placement {
    pub fn new(manager: &ManagerConfig) -> Self {
        Self {
            version: 1,
            seats: seats(manager),
            fused: FusedProcess::all(manager),
            domains: Domain::all(manager),
            cores: CoreDemand::new(manager),
            memory: MemoryDemand::new(manager),
            huge_pages: PageDemand::all(manager),
            buffers: BufferDemand::new(manager),
        }
    }
}

fn seats(manager: &ManagerConfig) -> Vec<Seat> {
    let named = manager.named_cores();
    let core = |&id: &u16| Core { id, node: None };
    let cores = Cores::new(named.iter().map(core).collect(), &manager.workers);
    let onvm_bundle::Workers { count, receivers, .. } = manager.workers;
    let thread = |n: u16| Seat {
        name: match n.checked_sub(count) {
            Some(receiver) => format!("receiver-{receiver}"),
            None => format!("worker-{n}"),
        },
        kind: if n < count { "worker" } else { "receiver" }.to_owned(),
        cores_asked: Some(1),
        runs_on: (!named.is_empty()).then(|| cores.of_thread(usize::from(n))),
        numa: None,
        memory_limit: None,
        region: 0,
    };
    let hosts = manager.hosts();
    let instances = hosts.iter().flat_map(|host| {
        let service = host.service.as_ref();
        service.instances.iter().map(move |i| (service, i))
    });
    let instances: Vec<_> = instances.collect();
    let requests: Vec<CoreRequest> = instances.iter().map(|(_, i)| CoreRequest::new(i)).collect();
    // The host knows which cores are on which node.
    let known = !named.is_empty() && requests.iter().all(|request| request.node.is_none());
    let instances = instances.into_iter().zip(cores.assign(&requests));
    let instance =
        |((service, instance), share): ((&onvm_bundle::Service, &onvm_bundle::Instance), CoreShare)| Seat {
            name: instance.name.clone(),
            kind: service.nf_type.clone(),
            cores_asked: instance.cores,
            runs_on: known.then_some(share.cores),
            numa: instance.numa,
            memory_limit: instance.memory,
            region: memory::region_bytes(manager),
        };
    (0..count + receivers)
        .map(thread)
        .chain(instances.map(instance))
        .collect()
}

#[cfg(test)]
mod tests;
