//! Edits of an NF's parameters alone, which its running instances take over live.
//!
//! While they do, packets of the old generation can meet the new parameters. So that each packet is still handled wholly as one of the two
//! bundles says, which their proofs are about, nothing else may change with them, and no packet may meet the NF twice.

use std::collections::{HashMap, HashSet};

use crate::{
    Contents, Flows, InstanceConfig, ManagerConfig, SourceRef,
    tables::{At, Hop, HopIndex, Tables},
};

/// The service whose instances can take `new` over by new parameters; none: nothing changes, or more than that.
pub fn reconfigured<'a>(old: Contents<'_>, new: Contents<'a>) -> Option<&'a str> {
    let without_places = |side: Contents<'_>| (unplaced_manager(side.manager), unplaced_flows(side.flows));
    if without_places(old) != without_places(new) {
        return None;
    }
    let changed = |service: &&crate::Service| {
        let mut instances = service.instances.iter();
        instances.any(|i| old.instances.get(&i.name) != new.instances.get(&i.name))
    };
    let mut services = new.manager.services.iter().filter(changed);
    let (service, None) = (services.next()?, services.next()) else {
        return None;
    };
    let takes_it = |name: &String| {
        let (Some(old), Some(new)) = (old.instances.get(name), new.instances.get(name)) else {
            return false;
        };
        // Entries that it has made by the former parameters would stay, and its requests may keep its answer waiting.
        let programs = new.manifest.effects.programs;
        new.manifest.reconfigure && !programs && *old == with_params_of(new, old)
    };
    // Of fused NFs, one process has the parameters of all.
    let is_alone = service.fuse.is_none();
    let all_take_it = is_alone && service.instances.iter().all(|i| takes_it(&i.name));
    (all_take_it && !is_met_twice(new, &service.name)).then_some(service.name.as_str())
}

fn with_params_of(config: &InstanceConfig, other: &InstanceConfig) -> InstanceConfig {
    InstanceConfig {
        params: other.params.clone(),
        ..config.clone()
    }
}

/// Whether some way leads a packet from the NF to the NF again.
fn is_met_twice(contents: Contents<'_>, service: &str) -> bool {
    const SLOT: u16 = 0;
    let slots = HashMap::from([(service.to_owned(), SLOT)]);
    let Tables { hops, chains, .. } = Tables::new(contents.manager, contents.flows, &slots);
    let ways = |hop: &Hop| {
        let mut ways: Vec<HopIndex> = vec![hop.next];
        ways.extend(&hop.outputs);
        ways.extend(hop.steers.iter().chain(&hop.outs).map(|(_, to)| to));
        if hop.lookup {
            ways.extend(chains.iter().map(|chain| chain.first));
        }
        ways
    };
    let is_it = |hop: &&Hop| hop.at == At::Service(SLOT);
    let mut open: Vec<HopIndex> = hops.iter().filter(is_it).flat_map(ways).collect();
    let mut seen = HashSet::new();
    while let Some(at) = open.pop() {
        let Some(hop) = hops.get(usize::from(at)).filter(|_| seen.insert(at)) else {
            continue;
        };
        if is_it(&hop) {
            return true;
        }
        open.extend(ways(hop));
    }
    false
}

fn unplaced_manager(manager: &ManagerConfig) -> ManagerConfig {
    let mut manager = manager.clone();
    let ports = manager.ports.iter_mut().map(|port| &mut port.source);
    let services = manager.services.iter_mut().map(|service| &mut service.source);
    ports.chain(services).for_each(forget);
    for chain in &mut manager.chains {
        forget(&mut chain.source);
        chain.hops.iter_mut().for_each(|hop| forget(&mut hop.source));
    }
    manager
}

fn unplaced_flows(flows: &Flows) -> Flows {
    let mut flows = flows.clone();
    for table in &mut flows.tables {
        forget(&mut table.source);
        table.otherwise_source = None;
        table.rules.iter_mut().for_each(|rule| forget(&mut rule.source));
    }
    for program in &mut flows.programs {
        forget(&mut program.source);
        program.arms.iter_mut().for_each(|arm| forget(&mut arm.source));
    }
    flows
}

fn forget(place: &mut SourceRef) {
    *place = SourceRef(String::new());
}
