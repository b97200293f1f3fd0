//! The concrete interpreter: what happens to one packet, hop by hop, from the port where it arrives to its exit.
//!
//! Classification, flow entries, hop tables and what an NF may do are the manager's own ([`onvm_bundle::tables`], [`onvm_bundle::entries`]). A standard NF is run
//! here, in this process, with its instance's parameters, so that a drop or an output is what would really happen; a
//! third-party NF is assumed to pass every packet on. Replicas have the same parameters, so one stands for all.

mod entries;
mod nfs;
mod story;

use std::collections::{BTreeMap, HashMap};

use nflib::Verdict;
use onvm_api::Reason;
use onvm_bundle::{
    Service, SourceRef,
    diff::Contents,
    tables::{At, HopIndex, NO_HOP, Request, Resolved, Tables},
};

pub use self::entries::FlowEntry;
use self::entries::Programmed;
use self::nfs::Behaviour;
pub(crate) use self::nfs::of_instance;
pub use self::story::{Story, StoryExit, StoryHop, StoryRule};

/// Everything that a packet can meet, with the state of the NFs that it has met.
#[derive(Debug)]
pub struct Interpreter<'p> {
    contents: Contents<'p>,
    tables: Tables,
    /// In front of the rules.
    entries: Vec<Programmed>,
    /// By slot, which is the service's place in the bundle.
    services: Vec<Behaviour>,
    max_hops: u8,
    /// Bytes of the longest frame that a buffer holds.
    room: usize,
}

/// Why a chain cannot be interpreted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("NF `{service}` does not start: {reason}")]
pub struct InterpretError {
    pub service: String,
    pub source_ref: SourceRef,
    pub reason: String,
}

impl InterpretError {
    pub(crate) fn new(service: &Service, reason: &nflib::SetupError) -> Self {
        Self {
            service: service.name.clone(),
            source_ref: service.source.clone(),
            reason: reason.to_string(),
        }
    }
}

/// The way of one packet. Two packets with equal paths were treated alike.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Path {
    /// Where the packet arrived, by port id.
    pub port: u16,
    pub steered: Steered,
    /// Every place in order, the last one included.
    pub steps: Vec<Step>,
    pub exit: Exit,
}

/// What put the packet onto its first chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Steered {
    /// A flow entry, by its place among those that the interpreter was given and that are permitted.
    Entry(usize),
    /// A rule of the port's `steer` block, counted from 0.
    Rule(usize),
    Else,
    /// The port has no `steer` block, or the packet never got that far.
    Nowhere,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Step {
    pub hop: HopIndex,
    /// What the NF there said; none where no NF stands, or where it was not visited any more.
    pub said: Option<Said>,
}

/// An NF's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Said {
    pub verdict: Verdict,
    /// The bundle does not permit it; the packet followed the chain.
    pub overruled: bool,
    /// The NF was not run: it is assumed to pass the packet on.
    pub assumed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// It left by the port of this id.
    Port(u16),
    Dropped(Reason),
}

/// Counters that one packet moved at one hop, with by how much.
pub type Moved = Vec<(String, u64)>;

impl<'p> Interpreter<'p> {
    /// Starts every NF. `files` are the bundle's files by path.
    ///
    /// # Errors
    /// A standard NF that refuses its parameters, as it would refuse them in `onvm-run`.
    pub fn new(contents: Contents<'p>, files: &BTreeMap<String, Vec<u8>>) -> Result<Self, InterpretError> {
        let services = &contents.manager.services;
        let slots: HashMap<String, u16> = (0..).zip(services).map(|(i, s)| (s.name.clone(), i)).collect();
        let started = services
            .iter()
            .map(|s| Behaviour::start(s, contents.instances, files));
        Ok(Self {
            tables: Tables::new(contents.manager, contents.flows, &slots),
            entries: Vec::new(),
            services: started.collect::<Result<_, _>>()?,
            max_hops: contents.manager.max_hops,
            room: contents.manager.buffer_room() as usize,
            contents,
        })
    }

    /// The id of the port of that name.
    pub fn port(&self, name: &str) -> Option<u16> {
        let port = self.contents.manager.ports.iter().find(|p| p.name == name);
        port.map(|p| p.id)
    }

    /// Follows a frame. `wire_length` is what it had on the wire, where a capture holds less of it.
    pub fn send(&mut self, port: u16, frame: &[u8], wire_length: u32) -> Path {
        self.follow(port, &mut frame.to_vec(), wire_length, None)
    }

    /// As [`Self::send`]; `frame` becomes what its exit sees of it.
    pub fn send_through(&mut self, port: u16, frame: &mut Vec<u8>) -> Path {
        let wire_length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        self.follow(port, frame, wire_length, None)
    }

    /// As [`Self::send`], and says which counters moved at each step.
    pub fn send_and_watch(&mut self, port: u16, frame: &[u8], wire_length: u32) -> (Path, Vec<Moved>) {
        let mut moved = Vec::new();
        let path = self.follow(port, &mut frame.to_vec(), wire_length, Some(&mut moved));
        (path, moved)
    }

    /// The value of an NF's counter, over all its instances; none where the NF is not run here or has no such counter.
    pub fn counter(&mut self, nf: &str, counter: &str) -> Option<u64> {
        let slot = self.contents.manager.services.iter().position(|s| s.name == nf)?;
        self.services[slot].counter(counter)
    }

    fn follow(
        &mut self,
        port: u16,
        frame: &mut Vec<u8>,
        wire_length: u32,
        mut moved: Option<&mut Vec<Moved>>,
    ) -> Path {
        let mut path = Path {
            port,
            steered: Steered::Nowhere,
            steps: Vec::new(),
            exit: Exit::Dropped(Reason::Chain),
        };
        if frame.len() > self.room {
            path.exit = Exit::Dropped(Reason::TooLong);
            return path;
        }
        let ignore_tags = self.tables.ports[usize::from(port)].ignore_tags;
        let (steered, mut hop) = self.classify(port, frame, wire_length);
        if hop == NO_HOP {
            return path;
        }
        path.steered = steered;
        let mut visits_left = self.max_hops;
        path.exit = loop {
            let Some(at) = self.tables.hops.get(usize::from(hop)) else {
                break Exit::Dropped(Reason::Chain);
            };
            let slot = match at.at {
                At::Service(slot) => slot,
                end => {
                    path.steps.push(Step { hop, said: None });
                    break match end {
                        At::Port(id) => Exit::Port(id),
                        _ => Exit::Dropped(Reason::Chain),
                    };
                }
            };
            if visits_left == 0 {
                path.steps.push(Step { hop, said: None });
                break Exit::Dropped(Reason::HopLimit);
            }
            visits_left -= 1;
            let nf = &mut self.services[usize::from(slot)];
            let (verdict, assumed) = nf.visit(frame, ignore_tags, moved.as_deref_mut());
            let resolved = request(verdict).map_or(Resolved::To(NO_HOP), |request| at.resolve(request));
            path.steps.push(Step {
                hop,
                said: Some(Said {
                    verdict,
                    overruled: matches!(resolved, Resolved::Overruled(_)),
                    assumed,
                }),
            });
            if verdict == Verdict::Drop {
                break Exit::Dropped(Reason::NfVerdict);
            }
            hop = match resolved {
                Resolved::To(to) | Resolved::Overruled(to) => to,
                Resolved::Lookup(otherwise) => match self.classify(port, frame, wire_length).1 {
                    NO_HOP => otherwise,
                    to => to,
                },
            };
        };
        path
    }

    /// What takes a frame, and the first hop that it leads to.
    fn classify(&self, port: u16, frame: &[u8], wire_length: u32) -> (Steered, HopIndex) {
        if let Some((number, hop)) = self.entry(port, frame, wire_length) {
            return (Steered::Entry(number), hop);
        }
        let table = &self.tables.ports[usize::from(port)];
        match table.rule(frame, wire_length) {
            Some(rule) => (Steered::Rule(rule), table.rules[rule].1),
            None => (Steered::Else, table.otherwise),
        }
    }
}

/// The verdicts that do not end the packet.
fn request(verdict: Verdict) -> Option<Request> {
    Some(match verdict {
        Verdict::Next => Request::Next,
        Verdict::Output(index) => Request::Output(index),
        Verdict::Steer(service) => Request::Steer(service),
        Verdict::Out(port) => Request::Out(port),
        Verdict::Lookup => Request::Lookup,
        Verdict::Drop => return None,
    })
}

#[cfg(test)]
mod tests;
