//! Processes: what runs as one is a service, or several services that are fused.

use std::borrow::Cow;

use crate::{Instance, InstanceConfig, ManagerConfig, Manifest, Service, domain_name, notation::Notation};

/// Services that one process may hold, as descriptors can name them.
pub const MAX_FUSED: usize = 15;

/// Files that the NFs of one process may be given together: the descriptors of one message but three.
pub const MAX_GIVEN: usize = 250;

/// Counters, gauges among them, that one process may have.
pub const MAX_COUNTERS: usize = 4096;

/// What a process has of that of which there is a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bulk {
    /// Given to it by parameters.
    pub files: usize,
    pub counters: usize,
}

impl Bulk {
    /// Of one NF, with the counters that its manifest lists. It may have more.
    pub fn of(config: &InstanceConfig) -> Self {
        Self {
            files: config.files(),
            counters: config.manifest.counters.len(),
        }
    }

    /// The first thing of which there is too much: its number, its name, and how many there may be.
    pub fn excess(self) -> Option<(usize, &'static str, usize)> {
        let all = [
            (self.files, "files", MAX_GIVEN),
            (self.counters, "counters", MAX_COUNTERS),
        ];
        all.into_iter().find(|(number, _, most)| number > most)
    }
}

impl std::iter::Sum for Bulk {
    fn sum<I: Iterator<Item = Self>>(loads: I) -> Self {
        loads.fold(Self::default(), |sum, load| Self {
            files: sum.files + load.files,
            counters: sum.counters + load.counters,
        })
    }
}

/// Why an NF needs a process of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// Its program runs one NF in a process.
    Program,
    /// It makes packets.
    Generates,
    /// It programs flows.
    Programs,
    /// Its number changes while it runs.
    Scales,
}

/// What runs as one process for each instance.
#[derive(Debug, Clone)]
pub struct Host<'a> {
    /// The service, or what the fused ones are together, under the name that they share.
    pub service: Cow<'a, Service>,
    /// By place: the services in it, one where none are fused.
    pub members: Vec<&'a Service>,
}

impl ManagerConfig {
    /// All processes, in the order of their first services.
    pub fn hosts(&self) -> Vec<Host<'_>> {
        let mut hosts: Vec<Host<'_>> = Vec::new();
        for service in &self.services {
            let fused = service.fuse.as_deref();
            let host = hosts
                .iter_mut()
                .find(|host| fused.is_some() && host.service.fuse.as_deref() == fused);
            match host {
                Some(host) => host.members.push(service),
                None => hosts.push(Host::alone(service)),
            }
        }
        for host in &mut hosts {
            host.merge();
        }
        hosts
    }
}

impl<'a> Host<'a> {
    /// A service by itself.
    pub fn alone(service: &'a Service) -> Self {
        Self {
            service: Cow::Borrowed(service),
            members: vec![service],
        }
    }

    pub fn is_fused(&self) -> bool {
        self.service.fuse.is_some()
    }

    /// The instances of the members that are one of the process's, by place.
    pub fn instances(&self, name: &str) -> Vec<&'a Instance> {
        let at = self.service.instances.iter().position(|i| i.name == name);
        let of = |service: &&'a Service| at.and_then(|at| service.instances.get(at));
        self.members.iter().filter_map(of).collect()
    }

    fn merge(&mut self) {
        let Some(name) = self.service.fuse.clone() else {
            return;
        };
        let members = &self.members;
        let instances = self.service.instances.iter().enumerate().map(|(n, first)| {
            let memory = members.iter().filter_map(|m| m.instances.get(n)?.memory);
            Instance {
                name: format!("{name}-{n}"),
                memory: memory.reduce(u64::saturating_add),
                ..first.clone()
            }
        });
        let names: Vec<&str> = members.iter().map(|m| m.name.as_str()).collect();
        let service = Service {
            // What there is to say of it in the place of a type.
            nf_type: names.join(" + "),
            read_only: members.iter().all(|m| m.read_only),
            outputs: Vec::new(),
            instances: instances.collect(),
            name,
            ..self.service.clone().into_owned()
        };
        self.service = Cow::Owned(service);
    }
}

impl Service {
    /// Why an NF needs a process of its own, whatever others are like.
    pub fn unfit_to_fuse(&self, manifest: &Manifest) -> Option<Unfit> {
        let (run, effects) = (&manifest.run, &manifest.effects);
        let unfit = [
            (!run.fuses || run.args.len() != 1, Unfit::Program),
            (effects.generates, Unfit::Generates),
            (effects.programs, Unfit::Programs),
            (self.replicas().scales(), Unfit::Scales),
        ];
        unfit.into_iter().find_map(|(is, unfit)| is.then_some(unfit))
    }

    /// The first thing in which services that share a process are to agree and do not: what it is, and its values.
    pub fn unlike(&self, other: &Self) -> Option<(&'static str, String, String)> {
        let (a, b) = (self.instances.first(), other.instances.first());
        let or = |value: Option<String>, none: &str| value.unwrap_or_else(|| none.to_owned());
        let number = |n: u16| n.to_string();
        let cores = |i: Option<&Instance>| or(i.and_then(|i| i.cores).map(number), "shared");
        let numa = |i: Option<&Instance>| or(i.and_then(|i| i.numa).map(number), "any");
        let domain = |s: &Self| domain_name(s.domain.as_deref()).to_owned();
        let all = [
            (
                "replicas",
                self.replicas().to_string(),
                other.replicas().to_string(),
            ),
            ("run", self.run.notation(), other.run.notation()),
            ("affinity", self.affinity.notation(), other.affinity.notation()),
            ("restart", self.restart.notation(), other.restart.notation()),
            ("domain", domain(self), domain(other)),
            ("cores", cores(a), cores(b)),
            ("numa", numa(a), numa(b)),
        ];
        all.into_iter().find(|(_, a, b)| a != b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Affinity, Restart, Run, SourceRef};

    fn service(id: u16, name: &str, fuse: Option<&str>) -> Service {
        let instance = |n: u64| Instance {
            name: format!("{name}-{n}"),
            cores: None,
            memory: Some(u64::from(id) << 20),
            numa: None,
        };
        Service {
            id,
            name: name.to_owned(),
            nf_type: format!("type_{name}"),
            source: SourceRef(String::new()),
            run: Run::Process,
            affinity: Affinity::Flow,
            restart: Restart::Always,
            read_only: id != 3,
            domain: None,
            outputs: vec!["denied".to_owned()],
            min_replicas: None,
            fuse: fuse.map(str::to_owned),
            instances: (0..2).map(instance).collect(),
        }
    }

    #[test]
    fn a_process_is_given_so_much_and_no_more() {
        let of = |files, counters| Bulk { files, counters };
        let together = |loads: &[Bulk]| loads.iter().copied().sum::<Bulk>().excess();
        assert_eq!(together(&[]), None);
        assert_eq!(together(&[of(200, 4000), of(50, 96)]), None);
        assert_eq!(together(&[of(200, 0), of(51, 0)]), Some((251, "files", 250)));
        assert_eq!(
            together(&[of(0, 4000), of(0, 97)]),
            Some((4097, "counters", 4096))
        );
    }

    #[test]
    fn services_that_share_a_name_share_a_process() {
        let mut manager = crate::fixed::tests::config();
        manager.services = vec![
            service(1, "fw", Some("edge")),
            service(2, "ids", None),
            service(3, "mark", Some("edge")),
        ];
        let hosts = manager.hosts();
        let names: Vec<_> = hosts
            .iter()
            .map(|h| (h.service.name.as_str(), h.members.len()))
            .collect();
        assert_eq!(names, [("edge", 2), ("ids", 1)]);
        let edge = &hosts[0];
        assert!(edge.is_fused() && !edge.service.read_only && edge.service.outputs.is_empty());
        assert_eq!(edge.service.nf_type, "fw + mark");
        let of: Vec<_> = edge.instances("edge-1").iter().map(|i| i.name.as_str()).collect();
        assert_eq!(of, ["fw-1", "mark-1"]);
        assert_eq!(edge.service.instances[1].memory, Some(4 << 20));
        assert!(edge.instances("fw-0").is_empty());
        assert_eq!(hosts[1].service.as_ref(), &manager.services[1]);
        assert!(!hosts[1].is_fused());
    }
}
