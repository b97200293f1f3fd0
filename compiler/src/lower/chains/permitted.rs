//! The additions of permissions to a hop table.
//!
//! At a hop of an NF `a` with `allow a to steer s`, a packet may visit `s` and then go on where `a`'s `next` leads; if
//! `s` is a port it leaves there. Each such visit is a hop of its own. It depends only on the NF, on where it goes on
//! and on how often the bounded permits may still be used, so equal ones are shared:
//!
//! ```text
//! chain fast = a -> lan            0: a     next 1   steers { s = 2 }
//! allow a to steer s               1: lan
//!                                  2: s     next 1
//! ```

use std::collections::{BTreeMap, HashMap};

use onvm_bundle::{MAX_HOPS, Target};

use super::{Permits, Walk, permits::Destination, walk::Draft};

impl<'a> Walk<'_, 'a> {
    pub(crate) fn add_steers(&mut self, permits: &Permits<'a>) {
        if permits.endless || self.failed {
            return;
        }
        let mut visits: HashMap<(usize, usize, Vec<u32>), usize> = HashMap::new();
        let mut exits: HashMap<&str, usize> = HashMap::new();
        let mut open: Vec<(usize, usize, usize, Vec<u32>)> = Vec::new();
        for (hop, draft) in self.hops.iter().enumerate() {
            if let (Some(nf), Some(next)) = (draft.nf, draft.next) {
                open.push((hop, nf, next, permits.counters.clone()));
            }
        }
        while let Some((hop, nf, next, budget)) = open.pop() {
            for permit in &permits.of[nf] {
                let to = match permit.to {
                    Destination::Port(port) => match exits.get(port) {
                        Some(to) => *to,
                        None => {
                            let Some(to) = self.extra(Target::Port(port.to_owned()), None, permit.place)
                            else {
                                return;
                            };
                            exits.insert(port, to);
                            to
                        }
                    },
                    Destination::Nf(to) => {
                        let mut left = budget.clone();
                        if let Some(counter) = permit.counter {
                            match left[counter].checked_sub(1) {
                                Some(less) => left[counter] = less,
                                None => continue,
                            }
                        }
                        let key = (to, next, left);
                        match visits.get(&key) {
                            Some(to) => *to,
                            None => {
                                let name = self.graph.nfs[to].name.to_owned();
                                let Some(at) = self.extra(Target::Nf(name), Some(next), permit.place) else {
                                    return;
                                };
                                open.push((at, to, next, key.2.clone()));
                                visits.insert(key, at);
                                at
                            }
                        }
                    }
                };
                self.hops[hop].steers.insert(permit.name.to_owned(), to);
            }
        }
    }

    fn extra(
        &mut self,
        at: Target,
        next: Option<usize>,
        place: crate::source::sources::Place,
    ) -> Option<usize> {
        if self.hops.len() >= MAX_HOPS {
            self.overflow();
            return None;
        }
        let (outputs, steers) = (BTreeMap::new(), BTreeMap::new());
        self.hops.push(Draft {
            at,
            nf: None,
            place,
            next,
            outputs,
            steers,
        });
        Some(self.hops.len() - 1)
    }
}
