//! Flow entries that the interpreter is given: as if NFs had made them before the packet came. Which of them takes a packet is
//! decided as the manager does ([`onvm_bundle::entries`]), without its indexes.

use onvm_bundle::{
    Arm,
    diff::Contents,
    entries::{Grant, Precedence, permitted},
    filter::{FlowMatch, flow::flow_of},
    tables::{HopIndex, NO_HOP, Tables},
};

use super::{Interpreter, StoryRule};

/// A flow entry in the names of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowEntry {
    /// Rises with each new entry.
    pub id: u64,
    /// The NF that made it.
    pub nf: String,
    pub port: String,
    /// Where it leads.
    pub chain: String,
    pub matches: FlowMatch,
    pub priority: u16,
}

/// An entry that is permitted.
#[derive(Debug)]
pub(super) struct Programmed {
    entry: FlowEntry,
    port: u16,
    grant: Grant,
}

impl Interpreter<'_> {
    /// Puts these flow entries in front of the rules, in place of former ones. Gives those that the program does not permit, which an
    /// apply of it would end; they take nothing.
    pub fn program(&mut self, entries: Vec<FlowEntry>) -> Vec<FlowEntry> {
        self.entries.clear();
        let mut refused = Vec::new();
        for entry in entries {
            let grant = grant(self.contents, &self.tables, &entry);
            match self.port(&entry.port).filter(|_| grant.is_permitted()) {
                Some(port) => self.entries.push(Programmed { entry, port, grant }),
                None => refused.push(entry),
            }
        }
        refused
    }

    /// The entry that takes a frame, by its place among those that are permitted, and the first hop of its chain.
    pub(super) fn entry(&self, port: u16, frame: &[u8], wire_length: u32) -> Option<(usize, HopIndex)> {
        if self.entries.is_empty() {
            return None;
        }
        let key = flow_of(frame).key;
        let table = self.tables.ports.get(usize::from(port))?;
        table.seen(frame, wire_length, |frame, length| {
            let of_port = self.entries.iter().enumerate().filter(|(_, e)| e.port == port);
            let taking = of_port.filter(|(_, Programmed { entry, grant, .. })| {
                entry.matches.takes(key.as_ref(), frame, length) && grant.admits(frame, length)
            });
            let first = taking.min_by_key(|(_, Programmed { entry, .. })| {
                Precedence::new(entry.priority, &entry.matches, entry.id)
            });
            first.map(|(n, e)| (n, e.grant.hop))
        })
    }

    /// What it says of a packet that an entry took.
    pub(super) fn entry_rule(&self, number: usize) -> Option<StoryRule> {
        let FlowEntry {
            id,
            nf,
            port,
            chain,
            matches,
            ..
        } = &self.entries.get(number)?.entry;
        let what = match matches {
            FlowMatch::Flow(key) => key.to_string(),
            FlowMatch::BothWays(key) => format!("{key}, both ways,"),
            FlowMatch::Filter(filter) => filter.to_string(),
        };
        let (arm, target) = (permission(self.contents, nf, port, chain)?, self.chain(chain));
        Some(StoryRule::programmed(
            format!("flow entry {id} of {nf}: {what}"),
            arm,
            chain,
            target,
        ))
    }
}

fn grant(contents: Contents<'_>, tables: &Tables, entry: &FlowEntry) -> Grant {
    let chain = tables.chains.iter().find(|c| c.name == entry.chain);
    let arms = permitted(&contents.flows.programs, &entry.port)
        .filter(|(nf, chain, _)| *nf == entry.nf && *chain == entry.chain)
        .map(|(.., filter)| filter.clone());
    let arms: Vec<_> = arms.collect();
    match arms.is_empty() {
        true => Grant::NONE,
        false => Grant {
            hop: chain.map_or(NO_HOP, |chain| chain.first),
            arms,
        },
    }
}

/// What permits it first.
fn permission<'a>(contents: Contents<'a>, nf: &str, port: &str, chain: &str) -> Option<&'a Arm> {
    let of_it = contents
        .flows
        .programs
        .iter()
        .filter(|p| p.nf == nf && p.port == port);
    let mut arms = of_it.flat_map(|program| &program.arms);
    arms.find(|arm| arm.targets.iter().any(|target| target == chain))
}
