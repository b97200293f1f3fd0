//! The differences between two bundles, declaration by declaration.
//!
//! Where something stands in the source is not a difference. Rules are compared as a list per port: by what they match
//! and where they lead; if the same rules stand in another order, that is one change.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::{
    Bundle, Chain, Flows, Hop, Host, InstanceConfig, MadeFrom, ManagerConfig, Port, Service, SourceRef,
    Target, fixed_while_running,
    notation::{Notation, parameter, size},
    reconfigured,
};

/// The compared part.
#[derive(Debug, Clone, Copy)]
pub struct Contents<'a> {
    pub manager: &'a ManagerConfig,
    pub flows: &'a Flows,
    /// By instance name.
    pub instances: &'a BTreeMap<String, InstanceConfig>,
}

impl<'a> From<&'a Bundle> for Contents<'a> {
    fn from(bundle: &'a Bundle) -> Self {
        Self {
            manager: &bundle.manager,
            flows: &bundle.flows,
            instances: &bundle.instances,
        }
    }
}

impl Contents<'_> {
    fn made_from(&self, host: &Host<'_>) -> MadeFrom {
        MadeFrom::new(host, self.flows.targets_of(&host.service.name), |instance| {
            self.instances.get(instance).cloned()
        })
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diff {
    pub changes: Vec<Change>,
    /// What [`fixed_while_running`] names. Not empty: only a restart of the manager makes these changes, and with it
    /// every instance starts anew.
    pub needs_restart: Vec<String>,
    pub instances: InstanceChanges,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub action: Action,
    /// What is changed: `manager`, `port`, `nf`, `chain`, `rule` or `rules`.
    pub kind: String,
    pub name: String,
    /// For what is changed: which part, from what, to what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<Detail>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Added,
    Changed,
    Removed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    pub what: String,
    pub from: String,
    pub to: String,
}

/// Instances by name. Those of a service are kept if nothing about it changes but how many they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceChanges {
    /// Only the new bundle has them.
    pub started: Vec<String>,
    /// Only the old bundle has them.
    pub stopped: Vec<String>,
    /// A new one is started, then the old one stopped; an `ApplyReply` names them under both.
    pub replaced: Vec<String>,
    /// They go on with new parameters. One that cannot take them live is replaced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reconfigured: Vec<String>,
    /// They go on with their process, state and counters.
    pub kept: Vec<String>,
}

impl Diff {
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// What makes `new` of `old`.
pub fn diff(old: Contents<'_>, new: Contents<'_>) -> Diff {
    diff_running(old, new, |_| None)
}

/// The same of a bundle that runs; `replicas` gives how many instances a service has been scaled to.
pub fn diff_running(old: Contents<'_>, new: Contents<'_>, replicas: impl Fn(&str) -> Option<u16>) -> Diff {
    let mut changes = Vec::new();
    settings(&mut changes, old.manager, new.manager);
    let port = |p: &Port| p.name.clone();
    named(
        &mut changes,
        "port",
        &old.manager.ports,
        &new.manager.ports,
        port,
        port_details,
    );
    let nf = |s: &Service| s.name.clone();
    let lookups = [old, new].map(|side| side.manager.permitted_lookups());
    let bypassed = [old, new].map(|side| side.manager.bypassed());
    named(
        &mut changes,
        "nf",
        &old.manager.services,
        &new.manager.services,
        nf,
        |a, b| {
            let mut details = service_details(a, b);
            let [from, to] = lookups
                .each_ref()
                .map(|nfs| permission(nfs.contains(a.name.as_str())));
            details.extend(detail("lookup", &from, &to));
            let on_loss = |nfs: &BTreeSet<&str>| {
                let bypassed = nfs.contains(a.name.as_str());
                if bypassed { "bypass" } else { "drop" }.to_owned()
            };
            let [from, to] = bypassed.each_ref().map(on_loss);
            details.extend(detail("on_loss", &from, &to));
            details.extend(config_details(config(old, a), config(new, b)));
            details
        },
    );
    let chain = |c: &Chain| c.name.clone();
    let (before, after) = (declared_chains(old), declared_chains(new));
    named(&mut changes, "chain", &before, &after, chain, chain_details);
    rules(&mut changes, old, new);
    permissions(&mut changes, old.flows, new.flows);
    let needs_restart = fixed_while_running(old.manager, new.manager);
    Diff {
        changes,
        instances: instances(old, new, needs_restart.is_empty(), replicas),
        needs_restart,
    }
}

/// Adds what is new, gone or different between two lists of things with names, in the order of the new list.
fn named<T>(
    changes: &mut Vec<Change>,
    kind: &str,
    old: &[T],
    new: &[T],
    name: impl Fn(&T) -> String,
    details: impl Fn(&T, &T) -> Vec<Detail>,
) {
    let before: HashMap<String, &T> = old.iter().map(|t| (name(t), t)).collect();
    let after: BTreeSet<String> = new.iter().map(&name).collect();
    let mut add = |action, name, details| {
        changes.push(Change {
            action,
            kind: kind.to_owned(),
            name,
            details,
        })
    };
    for item in new {
        match before.get(&name(item)) {
            None => add(Action::Added, name(item), Vec::new()),
            Some(was) => {
                let details = details(was, item);
                if !details.is_empty() {
                    add(Action::Changed, name(item), details);
                }
            }
        }
    }
    for item in old.iter().filter(|t| !after.contains(&name(t))) {
        add(Action::Removed, name(item), Vec::new());
    }
}

fn detail<T: Notation>(what: &str, from: &T, to: &T) -> Option<Detail> {
    let (from, to) = (from.notation(), to.notation());
    (from != to).then(|| Detail {
        what: what.to_owned(),
        from,
        to,
    })
}

fn settings(changes: &mut Vec<Change>, a: &ManagerConfig, b: &ManagerConfig) {
    let details: Vec<Detail> = [
        detail("ring", &a.ring, &b.ring),
        detail("max_hops", &a.max_hops, &b.max_hops),
        detail("hugepages", &a.hugepages, &b.hugepages),
        detail("idle", &a.idle, &b.idle),
        detail("backpressure", &switch(a.backpressure), &switch(b.backpressure)),
        detail("workers", &a.workers.count, &b.workers.count),
        detail("receivers", &a.workers.receivers, &b.workers.receivers),
        detail("cores", &a.workers.cores, &b.workers.cores),
        detail("buffers", &a.buffers.count, &b.buffers.count),
        detail("mtu", &a.buffers.mtu, &b.buffers.mtu),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !details.is_empty() {
        let (kind, name) = ("manager".to_owned(), "manager".to_owned());
        changes.push(Change {
            action: Action::Changed,
            kind,
            name,
            details,
        });
    }
}

fn switch(on: bool) -> String {
    if on { "on" } else { "off" }.to_owned()
}

fn permission(permitted: bool) -> String {
    if permitted { "permitted" } else { "not permitted" }.to_owned()
}

fn port_details(a: &Port, b: &Port) -> Vec<Detail> {
    let details = [
        detail("kind", &a.kind, &b.kind),
        detail("queues", &a.queues, &b.queues),
        detail("promiscuous", &a.promiscuous, &b.promiscuous),
        detail("mtu", &a.mtu, &b.mtu),
        detail("mac", &a.mac, &b.mac),
        detail("domain", &a.domain, &b.domain),
        detail("tags", &tags(a), &tags(b)),
        detail("place in the order of ports", &a.id, &b.id),
    ];
    details.into_iter().flatten().collect()
}

fn tags(port: &Port) -> String {
    if port.ignore_tags { "ignored" } else { "visible" }.to_owned()
}

fn service_details(a: &Service, b: &Service) -> Vec<Detail> {
    let (first, other) = (a.instances.first(), b.instances.first());
    let cores = |i: Option<&crate::Instance>| match i.and_then(|i| i.cores) {
        Some(cores) => cores.to_string(),
        None => "shared".to_owned(),
    };
    let memory = |i: Option<&crate::Instance>| i.and_then(|i| i.memory).map(size);
    let numa = |i: Option<&crate::Instance>| i.and_then(|i| i.numa);
    let details = [
        detail("service", &a.id, &b.id),
        detail("type", &a.nf_type, &b.nf_type),
        detail("run", &a.run, &b.run),
        detail("affinity", &a.affinity, &b.affinity),
        detail("restart", &a.restart, &b.restart),
        detail("read only", &a.read_only, &b.read_only),
        detail("domain", &a.domain, &b.domain),
        detail("outputs", &a.outputs, &b.outputs),
        detail("fuse", &a.fuse, &b.fuse),
        detail("replicas", &a.replicas().to_string(), &b.replicas().to_string()),
        detail("cores", &cores(first), &cores(other)),
        detail("memory", &memory(first), &memory(other)),
        detail("numa", &numa(first), &numa(other)),
    ];
    details.into_iter().flatten().collect()
}

fn config<'a>(contents: Contents<'a>, service: &Service) -> Option<&'a InstanceConfig> {
    contents.instances.get(&service.instances.first()?.name)
}

fn config_details(a: Option<&InstanceConfig>, b: Option<&InstanceConfig>) -> Vec<Detail> {
    let (Some(a), Some(b)) = (a, b) else {
        return Vec::new();
    };
    let names: BTreeSet<&String> = a.params.keys().chain(b.params.keys()).collect();
    let changed = names.into_iter().filter(|n| a.params.get(*n) != b.params.get(*n));
    let written = |c: &InstanceConfig, name: &String| {
        let kind = c.manifest.params.iter().find(|p| p.name == *name).map(|p| p.kind);
        let value = c.params.get(name);
        value.map_or_else(|| "unset".to_owned(), |value| parameter(kind, value))
    };
    let params = changed.map(|name| Detail {
        what: name.clone(),
        from: written(a, name),
        to: written(b, name),
    });
    let version = detail("version", &a.manifest.version, &b.manifest.version);
    // The version says more than the whole manifest would.
    let manifest = (a.manifest != b.manifest && version.is_none()).then(|| Detail {
        what: "manifest".to_owned(),
        from: "as it was".to_owned(),
        to: "another".to_owned(),
    });
    params.chain(version).chain(manifest).collect()
}

/// Permissions to have packets looked up, and ways around NFs, are reported with the NFs.
fn chain_details(a: &Chain, b: &Chain) -> Vec<Detail> {
    let unplaced = |c: &Chain| -> Vec<Hop> {
        let hops = c.hops.iter().cloned();
        hops.map(|h| Hop {
            source: SourceRef(String::new()),
            lookup: false,
            bypass: false,
            ..h
        })
        .collect()
    };
    if unplaced(a) == unplaced(b) {
        return Vec::new();
    }
    let (from, to) = (a.path(), b.path());
    // The paths are the same: then it is the permissions that differ.
    let steers = |c: &Chain| c.hops.iter().map(|h| h.steers.len()).sum::<usize>();
    match from == to {
        true => vec![Detail {
            what: "permitted steers".to_owned(),
            from: steers(a).to_string(),
            to: steers(b).to_string(),
        }],
        false => vec![Detail {
            what: "path".to_owned(),
            from,
            to,
        }],
    }
}

/// The chains that have a name in the source. Those of inline targets show as the targets of their rules.
fn declared_chains(contents: Contents<'_>) -> Vec<Chain> {
    let chains = contents.manager.chains.iter();
    chains
        .filter(|c| c.name != "drop" && !c.is_inline())
        .cloned()
        .collect()
}

/// One side of the comparison of a port's rules.
struct Rules<'a> {
    /// Filter, target and text of each rule, in order.
    list: Vec<(String, String, &'a str)>,
    otherwise: String,
}

impl<'a> Rules<'a> {
    fn new(contents: Contents<'a>, port: &str) -> Self {
        let inline = contents.manager.chains.iter().filter(|c| c.is_inline());
        let inline: HashMap<&str, String> = inline.map(|c| (c.name.as_str(), c.path())).collect();
        let target = |chain: &str| inline.get(chain).cloned().unwrap_or_else(|| chain.to_owned());
        let table = contents.flows.tables.iter().find(|t| t.port == port);
        let rules = table.iter().flat_map(|t| &t.rules);
        Self {
            list: rules
                .map(|r| (r.filter.to_string(), target(&r.chain), r.text.as_str()))
                .collect(),
            otherwise: table.map_or_else(String::new, |t| target(&t.otherwise)),
        }
    }

    /// How often each rule occurs.
    fn counted(&self) -> HashMap<(&str, &str), usize> {
        let mut counted = HashMap::new();
        for (filter, target, _) in &self.list {
            *counted.entry((filter.as_str(), target.as_str())).or_insert(0) += 1;
        }
        counted
    }

    /// The rules that the other side does not have, or not as often.
    fn without(&self, other: &Self) -> Vec<String> {
        let mut theirs = other.counted();
        let mut missing = Vec::new();
        for (filter, target, text) in &self.list {
            match theirs.get_mut(&(filter.as_str(), target.as_str())) {
                Some(left) if *left > 0 => *left -= 1,
                _ => missing.push(format!("{text} -> {target}")),
            }
        }
        missing
    }
}

fn rules(changes: &mut Vec<Change>, old: Contents<'_>, new: Contents<'_>) {
    let tables = old.flows.tables.iter().chain(&new.flows.tables);
    let ports: BTreeSet<&str> = tables.map(|t| t.port.as_str()).collect();
    for port in ports {
        table(changes, port, &Rules::new(old, port), &Rules::new(new, port));
    }
}

/// What NFs may program.
fn permissions(changes: &mut Vec<Change>, old: &Flows, new: &Flows) {
    // By the filter as it is lowered: a class in it may have become another one.
    let all = |flows: &Flows| -> BTreeMap<(String, String), String> {
        let arms = flows.programs.iter().flat_map(|program| {
            program.arms.iter().map(|arm| {
                let way = format!("-> {}, by {}", arm.targets.join(", "), program.nf);
                let shown = format!("{}: {} {way}", program.port, arm.text);
                ((format!("{}: {}", program.port, arm.filter), way), shown)
            })
        });
        arms.collect()
    };
    let (old, new) = (all(old), all(new));
    let missing = |from: &BTreeMap<(String, String), String>, of: &BTreeMap<(String, String), String>| {
        let missing = of.iter().filter(|(key, _)| !from.contains_key(key));
        missing.map(|(_, shown)| shown.clone()).collect::<Vec<_>>()
    };
    let (added, removed) = (missing(&old, &new), missing(&new, &old));
    let mut add = |action, name: &String| {
        changes.push(Change {
            action,
            kind: "permission to program".to_owned(),
            name: name.clone(),
            details: Vec::new(),
        });
    };
    added.iter().for_each(|name| add(Action::Added, name));
    removed.iter().for_each(|name| add(Action::Removed, name));
}

fn table(changes: &mut Vec<Change>, port: &str, old: &Rules<'_>, new: &Rules<'_>) {
    let mut add = |action, kind: &str, name: String, details| {
        changes.push(Change {
            action,
            kind: kind.to_owned(),
            name,
            details,
        });
    };
    let (added, removed) = (new.without(old), old.without(new));
    let keys = |r: &Rules<'_>| {
        r.list
            .iter()
            .map(|(f, t, _)| (f.clone(), t.clone()))
            .collect::<Vec<_>>()
    };
    if added.is_empty() && removed.is_empty() && keys(old) != keys(new) {
        let order = Detail {
            what: "order".to_owned(),
            from: "as it was".to_owned(),
            to: "another".to_owned(),
        };
        add(Action::Changed, "rules", port.to_owned(), vec![order]);
    }
    added
        .into_iter()
        .for_each(|rule| add(Action::Added, "rule", format!("{port}: {rule}"), Vec::new()));
    removed
        .into_iter()
        .for_each(|rule| add(Action::Removed, "rule", format!("{port}: {rule}"), Vec::new()));
    match (old.otherwise.as_str(), new.otherwise.as_str()) {
        (from, to) if from == to => {}
        ("", to) => add(Action::Added, "rule", format!("{port}: else -> {to}"), Vec::new()),
        (from, "") => add(
            Action::Removed,
            "rule",
            format!("{port}: else -> {from}"),
            Vec::new(),
        ),
        (from, to) => {
            let target = Detail {
                what: "target".to_owned(),
                from: from.to_owned(),
                to: to.to_owned(),
            };
            add(Action::Changed, "rule", format!("{port}: else"), vec![target]);
        }
    }
}

fn instances(
    old: Contents<'_>,
    new: Contents<'_>,
    running: bool,
    replicas: impl Fn(&str) -> Option<u16>,
) -> InstanceChanges {
    let mut changes = InstanceChanges::default();
    let count = |s: &Service| s.replicas().clamp(replicas(&s.name).unwrap_or(0));
    let (running_hosts, hosts) = (old.manager.hosts(), new.manager.hosts());
    let mut before: BTreeSet<&str> = running_hosts
        .iter()
        .flat_map(|host| host.service.first(count(&host.service)))
        .map(|i| i.name.as_str())
        .collect();
    let live = reconfigured(old, new);
    for host in &hosts {
        let service = &host.service;
        let was = running_hosts.iter().find(|was| was.service.name == service.name);
        let kept = running && was.is_some_and(|was| old.made_from(was).goes_on_as(&new.made_from(host)));
        // As many as there were, as far as the new range goes.
        let count = service.replicas().clamp(was.map_or(0, |was| count(&was.service)));
        for name in service.first(count).map(|i| i.name.as_str()) {
            let list = match (kept, before.remove(name)) {
                (true, true) => &mut changes.kept,
                (false, true) if running && live == Some(&service.name) => &mut changes.reconfigured,
                (false, true) => &mut changes.replaced,
                (_, false) => &mut changes.started,
            };
            list.push(name.to_owned());
        }
    }
    changes.stopped = before.into_iter().map(str::to_owned).collect();
    let InstanceChanges {
        started,
        replaced,
        reconfigured,
        kept,
        ..
    } = &mut changes;
    for list in [started, replaced, reconfigured, kept] {
        list.sort();
    }
    changes
}

impl Chain {
    /// The path as the source would write it, permitted steers left out; cut off where it grows beyond a line.
    pub fn path(&self) -> String {
        let mut text = String::new();
        self.write_path(0, &mut text);
        text
    }

    fn write_path(&self, from: usize, text: &mut String) {
        const LONGEST: usize = 160;
        let mut at = Some(from);
        while let Some(hop) = at.and_then(|n| self.hops.get(n)) {
            if text.len() > LONGEST {
                text.push_str("...");
                return;
            }
            text.push_str(match &hop.at {
                Target::Nf(name) | Target::Port(name) => name,
                Target::Drop => "drop",
            });
            if !hop.outputs.is_empty() {
                text.push_str(" {");
                for (output, to) in &hop.outputs {
                    text.push_str(&format!(" {output} -> "));
                    self.write_path(usize::from(*to), text);
                }
                text.push_str(" }");
            }
            at = hop.next.map(usize::from);
            if at.is_some() {
                text.push_str(" -> ");
            }
        }
    }
}
