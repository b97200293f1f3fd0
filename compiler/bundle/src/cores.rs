//! Which cores do what: one assignment, which the compiler prints and the manager carries out.
//!
//! Each worker and each receiver has a core to itself, the first ones; NFs have the others. Of these an instance that asks for
//! cores of its own gets as many, in the order of the instances, as long as those that share keep one, and one on each NUMA node
//! that one of them asks for. Whoever does not get its own shares, too. What an instance holds it keeps, unless others go without
//! for that alone, as where it stands on the node that they ask for.

use crate::{Instance, Workers};

/// A core, and the NUMA node that it is on where that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Core {
    pub id: u16,
    pub node: Option<u16>,
}

impl Core {
    /// Whether it may be on this node; none: any.
    pub fn is_on(self, node: Option<u16>) -> bool {
        node.is_none() || self.node.is_none() || self.node == node
    }
}

/// The cores that a manager may use.
#[derive(Debug, Clone, Default)]
pub struct Cores {
    all: Vec<Core>,
    /// Workers and receivers.
    threads: usize,
}

/// What an instance asks for, and the cores that it has for itself by now.
#[derive(Debug, Clone, Default)]
pub struct CoreRequest {
    /// None: it shares.
    pub own: Option<u16>,
    pub node: Option<u16>,
    pub held: Vec<u16>,
}

impl CoreRequest {
    pub fn new(instance: &Instance) -> Self {
        Self {
            own: instance.cores,
            node: instance.numa,
            held: Vec::new(),
        }
    }
}

/// The cores that an instance may run on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CoreShare {
    pub cores: Vec<u16>,
    /// Nothing else runs there.
    pub own: bool,
}

impl Cores {
    /// In order of preference. None: it is not known which there are.
    pub fn new(all: Vec<Core>, workers: &Workers) -> Self {
        Self {
            all,
            threads: usize::from(workers.count) + usize::from(workers.receivers),
        }
    }

    /// There is no core for each worker and receiver and one for NFs, so all share all.
    pub fn crowded(&self) -> bool {
        self.all.len() <= self.threads
    }

    /// The cores of a worker, or, counted on from these, of a receiver.
    pub fn of_thread(&self, number: usize) -> Vec<u16> {
        let own = self.all.get(number..=number).filter(|_| !self.crowded());
        ids(own.unwrap_or(&self.all))
    }

    /// Those on a node; none where that is none.
    pub fn on(&self, node: Option<u16>) -> Vec<u16> {
        let on = self.all.iter().filter(|core| node.is_some() && core.node == node);
        on.map(|core| core.id).collect()
    }

    fn of_nfs(&self) -> &[Core] {
        self.all
            .get(self.threads..)
            .filter(|nfs| !nfs.is_empty())
            .unwrap_or(&self.all)
    }

    /// The cores of all instances, in their order.
    pub fn assign(&self, requests: &[CoreRequest]) -> Vec<CoreShare> {
        let without = |shares: &[CoreShare]| {
            let pairs = requests.iter().zip(shares);
            pairs.filter(|(r, s)| r.own.is_some() && !s.own).count()
        };
        let kept = self.attempt(requests, true);
        if without(&kept) == 0 {
            return kept;
        }
        let anew = self.attempt(requests, false);
        if without(&anew) < without(&kept) {
            anew
        } else {
            kept
        }
    }

    fn attempt(&self, requests: &[CoreRequest], keep: bool) -> Vec<CoreShare> {
        let mut sharing: Vec<bool> = requests
            .iter()
            .map(|r| r.own.is_none() || self.crowded())
            .collect();
        let mut order: Vec<usize> = (0..requests.len()).collect();
        // Those that can stand anywhere come after those that cannot.
        order.sort_by_key(|&i| (keep && requests[i].held.is_empty(), requests[i].node.is_none()));
        // Each pass adds to those that share, or is the last.
        loop {
            let nodes = nodes(requests, &sharing);
            let mut free = self.of_nfs().to_vec();
            let mut shares = vec![CoreShare::default(); requests.len()];
            let mut failed = Vec::new();
            for &i in order.iter().filter(|&&i| !sharing[i]) {
                match take(&mut free, &requests[i], &nodes, keep) {
                    Some(cores) => shares[i] = CoreShare { cores, own: true },
                    None => failed.push(i),
                }
            }
            if failed.is_empty() {
                for (i, _) in sharing.iter().enumerate().filter(|(_, shares)| **shares) {
                    shares[i].cores = ids(&self.shared(&free, requests[i].node));
                }
                return shares;
            }
            failed.into_iter().for_each(|i| sharing[i] = true);
        }
    }

    /// What those that share have. Where no core of NFs is on a node that one asks for, it shares with a worker.
    fn shared(&self, free: &[Core], node: Option<u16>) -> Vec<Core> {
        let on = |cores: &[Core]| -> Vec<Core> { cores.iter().copied().filter(|c| c.is_on(node)).collect() };
        [on(free), on(&self.all)]
            .into_iter()
            .find(|cores| !cores.is_empty())
            .unwrap_or_default()
    }
}

/// The nodes on which those that share need a core.
fn nodes(requests: &[CoreRequest], sharing: &[bool]) -> Vec<Option<u16>> {
    let sharers = requests.iter().zip(sharing).filter(|(_, shares)| **shares);
    let mut nodes: Vec<_> = sharers.map(|(r, _)| r.node).collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}

/// Takes the cores that a request asks for, if they are there and enough are left for these nodes.
fn take(free: &mut Vec<Core>, request: &CoreRequest, nodes: &[Option<u16>], keep: bool) -> Option<Vec<u16>> {
    let count = usize::from(request.own?);
    let mut candidates: Vec<Core> = free.iter().copied().filter(|c| c.is_on(request.node)).collect();
    if keep {
        candidates.sort_by_key(|c| !request.held.contains(&c.id));
    }
    let (mut left, mut taken) = (free.clone(), Vec::new());
    for core in candidates {
        if taken.len() == count {
            break;
        }
        let needed = |node: &Option<u16>| !left.iter().any(|c| c.id != core.id && c.is_on(*node));
        if !nodes.iter().any(needed) {
            left.retain(|c| c.id != core.id);
            taken.push(core.id);
        }
    }
    (taken.len() == count).then(|| {
        *free = left;
        taken
    })
}

fn ids(cores: &[Core]) -> Vec<u16> {
    cores.iter().map(|core| core.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cores by node: `0-3` of the first, and so on.
    fn cores(nodes: &[&[u16]], threads: usize) -> Cores {
        let on = |(node, ids): (usize, &&[u16])| -> Vec<Core> {
            let node = Some(node as u16);
            ids.iter().map(|&id| Core { id, node }).collect()
        };
        let all = nodes.iter().enumerate().flat_map(on).collect();
        Cores { all, threads }
    }

    fn own(count: u16, held: &[u16]) -> CoreRequest {
        CoreRequest {
            own: Some(count),
            node: None,
            held: held.to_vec(),
        }
    }

    fn shared() -> CoreRequest {
        CoreRequest::default()
    }

    fn on(request: CoreRequest, node: u16) -> CoreRequest {
        CoreRequest {
            node: Some(node),
            ..request
        }
    }

    /// `!` after cores of an instance's own.
    fn assigned(cores: &Cores, requests: &[CoreRequest]) -> Vec<String> {
        let shown = |share: CoreShare| {
            let cores: Vec<String> = share.cores.iter().map(u16::to_string).collect();
            format!("{}{}", cores.join(","), if share.own { "!" } else { "" })
        };
        cores.assign(requests).into_iter().map(shown).collect()
    }

    #[test]
    fn threads_have_the_first_cores_or_all_share_all() {
        let some = cores(&[&[4, 2, 3]], 2);
        assert_eq!([some.of_thread(0), some.of_thread(1)], [[4], [2]]);
        assert_eq!(assigned(&some, &[shared(), shared()]), ["3", "3"]);
        for threads in [3, 4] {
            let few = cores(&[&[4, 2, 3]], threads);
            assert!(few.crowded());
            assert_eq!(few.of_thread(threads - 1), [4, 2, 3]);
            assert_eq!(assigned(&few, &[shared(), own(1, &[])]), ["4,2,3", "4,2,3"]);
        }
        assert_eq!(assigned(&Cores::default(), &[shared(), own(1, &[])]), ["", ""]);
    }

    #[test]
    fn who_asks_for_cores_has_them_alone_and_the_others_share_the_rest() {
        let eight = cores(&[&[0, 1, 2, 3, 4, 5, 6, 7]], 1);
        let requests = [own(2, &[]), shared(), own(3, &[]), shared()];
        assert_eq!(assigned(&eight, &requests), ["1,2!", "6,7", "3,4,5!", "6,7"]);
        // Without any that share, all can be given away.
        assert_eq!(assigned(&eight, &[own(7, &[])]), ["1,2,3,4,5,6,7!"]);
    }

    #[test]
    fn where_cores_do_not_suffice_the_last_ones_share() {
        let four = cores(&[&[0, 1, 2, 3]], 1);
        assert_eq!(
            assigned(&four, &[own(1, &[]), own(3, &[]), shared()]),
            ["1!", "2,3", "2,3"]
        );
        // One must be left for the second, which makes the first too large.
        assert_eq!(assigned(&four, &[own(3, &[]), own(1, &[])]), ["1,2,3", "1,2,3"]);
        assert_eq!(
            assigned(&cores(&[&[0, 1]], 1), &[own(1, &[]), shared()]),
            ["1", "1"]
        );
    }

    #[test]
    fn who_holds_cores_keeps_them_whoever_comes_and_goes() {
        let six = cores(&[&[0, 1, 2, 3, 4, 5]], 1);
        // The first has gone, the last has come.
        assert_eq!(
            assigned(&six, &[own(2, &[3, 4]), shared(), own(1, &[])]),
            ["3,4!", "2,5", "1!"]
        );
        // A newcomer that stands before it in the list does not push it out.
        assert_eq!(
            assigned(&six, &[own(3, &[]), own(2, &[1, 2]), shared()]),
            ["3,4,5", "1,2!", "3,4,5"]
        );
        // Those that share need one, so the last of the holders shares, too.
        assert_eq!(
            assigned(&six, &[own(3, &[1, 2, 3]), own(2, &[4, 5]), shared()]),
            ["1,2,3!", "4,5", "4,5"]
        );
    }

    #[test]
    fn a_node_is_kept_to() {
        let two = cores(&[&[0, 1, 2, 3], &[4, 5, 6, 7]], 1);
        let requests = [
            on(own(2, &[]), 1),
            own(2, &[]),
            on(shared(), 0),
            on(shared(), 1),
            shared(),
        ];
        assert_eq!(assigned(&two, &requests), ["4,5!", "1,2!", "3", "6,7", "3,6,7"]);
        // Five of a node with four.
        assert_eq!(assigned(&two, &[on(own(5, &[]), 1)]), ["4,5,6,7"]);
    }

    #[test]
    fn the_last_core_of_a_node_is_left_to_those_that_share_there() {
        let two = cores(&[&[0], &[1], &[2, 3]], 1);
        assert_eq!(assigned(&two, &[own(2, &[]), on(shared(), 1)]), ["2,3!", "1"]);
        // Held by one that can have others instead.
        assert_eq!(
            assigned(&two, &[own(1, &[1]), on(own(1, &[]), 1), shared()]),
            ["2!", "1!", "3"]
        );
        // A node of workers alone.
        assert_eq!(assigned(&two, &[on(shared(), 0), own(1, &[])]), ["0", "1,2,3"]);
    }
}
