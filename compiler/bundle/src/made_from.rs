//! What the instances of a service are made from: where that stays the same over an edit, they stay.

use std::collections::BTreeMap;

use crate::{Affinity, Host, Instance, InstanceConfig, Service, SourceRef};

/// A service, or several that are fused, without what may change while the instances go on: ids, places in the source, and how
/// many they are.
#[derive(Debug, Clone, PartialEq)]
pub struct MadeFrom {
    service: Service,
    /// By name; the configurations of all NFs in one.
    instances: BTreeMap<String, (Instance, Vec<InstanceConfig>)>,
    /// Its instances know by number what their flow entries may lead to.
    targets: Vec<(String, String)>,
}

impl MadeFrom {
    /// `config` gives an instance's configuration by its name; `targets` as [`Flows::targets_of`](crate::Flows::targets_of) gives them.
    pub fn new(
        host: &Host<'_>,
        targets: Vec<(String, String)>,
        config: impl Fn(&str) -> Option<InstanceConfig>,
    ) -> Self {
        let service = host.service.as_ref();
        let configs = |instance: &Instance| {
            let members = host.instances(&instance.name).into_iter();
            members.filter_map(|member| config(&member.name)).collect()
        };
        let instances = service.instances.iter();
        let instances = instances.map(|i| (i.name.clone(), (i.clone(), configs(i))));
        Self {
            instances: instances.collect(),
            targets,
            service: Service {
                id: 0,
                source: SourceRef(String::new()),
                min_replicas: None,
                instances: Vec::new(),
                ..service.clone()
            },
        }
    }

    /// Whether a service of `self` goes on as one of `next`: both are the same except for instances that only one of them has.
    pub fn goes_on_as(&self, next: &Self) -> bool {
        let same = |(name, made_from)| self.instances.get(name).is_none_or(|m| m == made_from);
        self.service == next.service && self.targets == next.targets && next.instances.iter().all(same)
    }

    /// Goes on as `next`, and remembers what instances are made from that `next` has not: they may still be there.
    pub fn go_on_as(&mut self, next: &Self) {
        self.instances.extend(next.instances.clone());
    }

    /// The instance is gone.
    pub fn forget(&mut self, instance: &str) {
        self.instances.remove(instance);
    }

    /// Each flow keeps its instance.
    pub fn by_flow(&self) -> bool {
        self.service.affinity == Affinity::Flow
    }
}
