//! NFs that could share a process, for `--explain-fusion`.
//!
//! Proposed are only NFs that nothing is lost with: neighbours on a main line that may be fused (see
//! [`Service::unfit_to_fuse`]), that share cores with others anyway, and of which all or none may write to packets, so that
//! no NF gains a right.

use std::collections::{BTreeMap, HashMap};

use onvm_bundle::{Chain, Hop, Instance, InstanceConfig, MAX_FUSED, ManagerConfig, Service, Target};
use serde::Serialize;

/// NFs of one process for each hop that a packet is handed over, at most: see [`nflib::Run`].
const LONGEST: usize = nflib::Run::LONGEST;

/// NFs that could share a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fusion {
    /// A name that no NF has.
    pub name: String,
    pub nfs: Vec<String>,
    /// The manifests' cycles for a packet, of all together.
    pub cycles: u64,
    /// The chains on whose main lines they stand.
    pub chains: Vec<Visits>,
}

/// How often a packet on a chain's main line goes to a process and back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Visits {
    pub chain: String,
    pub now: usize,
    pub fused: usize,
}

impl Fusion {
    /// All that can be proposed, in the order of the NFs.
    pub fn all(manager: &ManagerConfig, configs: &BTreeMap<String, InstanceConfig>) -> Vec<Self> {
        let services = &manager.services;
        let index: HashMap<&str, usize> = services
            .iter()
            .enumerate()
            .map(|(n, s)| (s.name.as_str(), n))
            .collect();
        let config = |n: usize| configs.get(&services[n].instances.first()?.name);
        let mut groups: Vec<usize> = (0..services.len()).collect();
        for chain in &manager.chains {
            let line = main_line(chain);
            for pair in line.windows(2) {
                let (Some(&a), Some(&b)) = (index.get(pair[0]), index.get(pair[1])) else {
                    continue;
                };
                if fit_together((&services[a], config(a)), (&services[b], config(b))) {
                    join(&mut groups, a, b);
                }
            }
        }
        let members =
            |group: usize| -> Vec<usize> { (0..services.len()).filter(|&n| groups[n] == group).collect() };
        let all = (0..services.len()).map(members).filter(|nfs| nfs.len() > 1);
        let propose = |nfs: Vec<usize>| {
            let names: Vec<&str> = nfs.iter().map(|&n| services[n].name.as_str()).collect();
            let cycles = nfs.iter().filter_map(|&n| config(n));
            Self {
                name: free_name(&names, &index),
                cycles: cycles
                    .map(|c| u64::from(c.manifest.resources.cycles_per_packet))
                    .sum(),
                chains: manager
                    .chains
                    .iter()
                    .filter_map(|chain| visits(chain, &names))
                    .collect(),
                nfs: names.into_iter().map(str::to_owned).collect(),
            }
        };
        all.map(propose).collect()
    }
}

/// The NFs of the packets that every NF passes on.
fn main_line(chain: &Chain) -> Vec<&str> {
    let next = |hop: &&Hop| chain.hops.get(usize::from(hop.next?));
    let hops = std::iter::successors(chain.hops.first(), next).take(chain.hops.len());
    let nfs = hops.filter(|hop| matches!(hop.at, Target::Nf(_)));
    nfs.map(|hop| hop.at.name()).collect()
}

type Configured<'a> = (&'a Service, Option<&'a InstanceConfig>);

fn fit_together((a, of_a): Configured<'_>, (b, of_b): Configured<'_>) -> bool {
    let (Some(of_a), Some(of_b)) = (of_a, of_b) else {
        return false;
    };
    let shares = |s: &Service| s.fuse.is_none() && s.instances.iter().all(|i: &Instance| i.cores.is_none());
    let unfit = |s: &Service, config: &InstanceConfig| s.unfit_to_fuse(&config.manifest).is_some();
    a.name != b.name
        && shares(a)
        && shares(b)
        && !unfit(a, of_a)
        && !unfit(b, of_b)
        && a.read_only == b.read_only
        && a.unlike(b).is_none()
        && of_a.manifest.run.binary == of_b.manifest.run.binary
}

/// Puts two groups together, if they are not too many then.
fn join(groups: &mut [usize], a: usize, b: usize) {
    let (into, from) = (groups[a].min(groups[b]), groups[a].max(groups[b]));
    let of = |group: usize| groups.iter().filter(|&&g| g == group).count();
    if into != from && of(into) + of(from) <= MAX_FUSED {
        groups.iter_mut().filter(|g| **g == from).for_each(|g| *g = into);
    }
}

fn free_name(nfs: &[&str], taken: &HashMap<&str, usize>) -> String {
    let name = nfs[..2].join("_");
    match taken.contains_key(name.as_str()) {
        true => name + "_fused",
        false => name,
    }
}

/// None: the chain has no two of them in a row.
fn visits(chain: &Chain, nfs: &[&str]) -> Option<Visits> {
    let line = main_line(chain);
    let (mut fused, mut run) = (0, 0);
    for name in &line {
        let inside = nfs.contains(name);
        if !inside || run == 0 || run == LONGEST {
            fused += 1;
            run = 0;
        }
        run += usize::from(inside);
    }
    (fused < line.len()).then(|| Visits {
        chain: chain.name.clone(),
        now: line.len(),
        fused,
    })
}
