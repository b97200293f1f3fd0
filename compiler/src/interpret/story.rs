//! A path in the names and places of the source.

use std::fmt;

use onvm_bundle::{Arm, Chain, Hop, Rule, Service, SourceRef, Table, Target, domain_name};
use serde::Serialize;

use super::{Exit, Interpreter, Moved, Path, Said, Steered, Step};
use nflib::Verdict;

/// The fate of a packet, for people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Story {
    /// Where it arrived.
    pub port: String,
    /// None: the port has no `steer` block, or the packet never got that far.
    pub rule: Option<StoryRule>,
    pub hops: Vec<StoryHop>,
    pub exit: StoryExit,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoryRule {
    /// The filter as it was written, or `else`; of a flow entry, which it is.
    pub text: String,
    /// By its name in the bundle and in `onvmc status`.
    pub chain: String,
    /// As it was written: a chain's name, or an inline chain.
    pub target: String,
    /// Of `else`: the steered port's name; of a flow entry: the filter that permits it.
    pub source: SourceRef,
}

impl StoryRule {
    pub(crate) fn new(rule: &Rule, chain: Option<&Chain>) -> Self {
        Self {
            text: rule.text.clone(),
            chain: rule.chain.clone(),
            target: chain.map_or_else(|| rule.chain.clone(), Chain::as_target),
            source: rule.source.clone(),
        }
    }

    /// `else`
    pub(crate) fn otherwise(table: &Table, chain: Option<&Chain>) -> Self {
        Self {
            text: "else".to_owned(),
            chain: table.otherwise.clone(),
            target: chain.map_or_else(|| table.otherwise.clone(), Chain::as_target),
            source: table.otherwise_source.as_ref().unwrap_or(&table.source).clone(),
        }
    }

    /// A flow entry that an arm permits, or all of them.
    pub(crate) fn programmed(text: String, arm: &Arm, name: &str, chain: Option<&Chain>) -> Self {
        Self {
            text,
            chain: name.to_owned(),
            target: chain.map_or_else(|| name.to_owned(), Chain::as_target),
            source: arm.source.clone(),
        }
    }
}

/// `web -> inspect`
impl fmt::Display for StoryRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.text, self.target)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoryHop {
    /// The NF's or port's name, or `drop`.
    pub at: String,
    /// The NF's type; none where no NF stands.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub nf_type: Option<String>,
    pub source: SourceRef,
    /// As in `next`, `output match`, `drop`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// The security domain of the NF, where the packet comes from another one and is copied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copied_into: Option<String>,
    /// The bundle does not permit the verdict; the packet followed the chain.
    pub overruled: bool,
    /// The NF was not run: it is assumed to pass the packet on.
    pub assumed: bool,
    /// Counters that this packet moved.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub counted: Moved,
}

/// One of the two is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoryExit {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// The reason for the drop, as in `onvmc status`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped: Option<&'static str>,
    /// The last place that it reached; the port where it arrived, if nothing.
    pub at: String,
}

impl Story {
    /// What was visited in order, as `expect` writes it: the last name is a port's, or `drop`.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.hops.iter().map(|h| h.at.as_str()).collect();
        if self.exit.dropped.is_some() && names.last() != Some(&"drop") {
            names.push("drop");
        }
        names
    }

    /// The NFs that were not run.
    pub fn assumed(&self) -> impl Iterator<Item = &str> {
        let assumed = self.hops.iter().filter(|hop| hop.assumed);
        assumed.map(|hop| hop.at.as_str())
    }

    /// The NF where a dropped packet was last; the port where it arrived, if it met none.
    pub fn last_node(&self) -> &str {
        let nodes = self.hops.iter().rev().map(|h| h.at.as_str());
        nodes.into_iter().find(|at| *at != "drop").unwrap_or(&self.port)
    }
}

impl Interpreter<'_> {
    /// Describes a path; `moved` as [`Interpreter::send_and_watch`] gave it, or nothing.
    pub fn tell(&self, path: &Path, moved: &[Moved]) -> Story {
        let port = self.port_name(path.port);
        let mut hops: Vec<StoryHop> = path
            .steps
            .iter()
            .enumerate()
            .map(|(i, step)| self.hop(step, moved.get(i).cloned().unwrap_or_default()))
            .collect();
        self.note_crossings(&port, &mut hops);
        let at = hops.last().map_or_else(|| port.clone(), |h| h.at.clone());
        let exit = match path.exit {
            Exit::Port(id) => (Some(self.port_name(id)), None),
            Exit::Dropped(reason) => (None, Some(reason.name())),
        };
        Story {
            rule: self.rule(&port, path),
            port,
            hops,
            exit: StoryExit {
                port: exit.0,
                dropped: exit.1,
                at,
            },
        }
    }

    /// Notes where a packet that came in at a port goes from one security domain to another.
    fn note_crossings(&self, port: &str, hops: &mut [StoryHop]) {
        let manager = self.contents.manager;
        let mut domain = manager.domain_of(port).flatten();
        for hop in hops.iter_mut().filter(|hop| hop.nf_type.is_some()) {
            let of_nf = manager.domain_of(&hop.at).flatten();
            if of_nf != domain {
                hop.copied_into = Some(domain_name(of_nf).to_owned());
            }
            domain = of_nf;
        }
    }

    fn rule(&self, port: &str, path: &Path) -> Option<StoryRule> {
        let table = self.contents.flows.tables.iter().find(|t| t.port == port)?;
        let chain = |name: &str| self.chain(name);
        match path.steered {
            Steered::Entry(number) => self.entry_rule(number),
            Steered::Rule(index) => {
                let rule = table.rules.get(index)?;
                Some(StoryRule::new(rule, chain(&rule.chain)))
            }
            Steered::Else => Some(StoryRule::otherwise(table, chain(&table.otherwise))),
            Steered::Nowhere => None,
        }
    }

    pub(super) fn chain(&self, name: &str) -> Option<&Chain> {
        self.contents.manager.chains.iter().find(|c| c.name == name)
    }

    fn hop(&self, step: &Step, moved: Moved) -> StoryHop {
        let written = self.written(step);
        let at = written.map_or("", |h| h.at.name()).to_owned();
        let service = written.and_then(|h| match &h.at {
            Target::Nf(name) => self.contents.manager.services.iter().find(|s| s.name == *name),
            _ => None,
        });
        StoryHop {
            nf_type: service.map(|s| s.nf_type.clone()),
            source: written.map_or_else(|| SourceRef(String::new()), |h| h.source.clone()),
            copied_into: None,
            verdict: step.said.zip(service).map(|(said, s)| self.verdict(said, s)),
            overruled: step.said.is_some_and(|s| s.overruled),
            assumed: step.said.is_some_and(|s| s.assumed),
            counted: if self.decides(service) { moved } else { Vec::new() },
            at,
        }
    }

    /// The counters of an NF that only ever passes packets on say nothing about this packet's way.
    fn decides(&self, service: Option<&Service>) -> bool {
        let instance = service.and_then(|s| s.instances.first());
        let config = instance.and_then(|i| self.contents.instances.get(&i.name));
        config.is_some_and(|c| c.manifest.effects.drops || !c.manifest.outputs.is_empty())
    }

    fn written(&self, step: &Step) -> Option<&Hop> {
        let (chain, within) = self.place(step)?;
        chain.hops.get(within)
    }

    /// The chain that a step is in, and its number there.
    pub fn place(&self, step: &Step) -> Option<(&Chain, usize)> {
        let chain = usize::from(self.tables.hops.get(usize::from(step.hop))?.chain);
        let within = step.hop - self.tables.chains.get(chain)?.first;
        Some((self.contents.manager.chains.get(chain)?, usize::from(within)))
    }

    fn verdict(&self, said: Said, service: &Service) -> String {
        match said.verdict {
            Verdict::Next => "next".to_owned(),
            Verdict::Drop => "drop".to_owned(),
            Verdict::Lookup => "lookup".to_owned(),
            Verdict::Output(index) => match service.outputs.get(usize::from(index)) {
                Some(name) => format!("output {name}"),
                None => format!("output {index}"),
            },
            Verdict::Steer(id) => {
                let named = self.contents.manager.services.iter().find(|s| s.id == id);
                format!(
                    "steer {}",
                    named.map_or_else(|| id.to_string(), |s| s.name.clone())
                )
            }
            Verdict::Out(id) => format!("out {}", self.port_name(id)),
        }
    }

    fn port_name(&self, id: u16) -> String {
        let port = self.contents.manager.ports.get(usize::from(id));
        port.map_or_else(|| id.to_string(), |p| p.name.clone())
    }
}
