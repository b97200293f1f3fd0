//! Names lead somewhere and numbers stay in range, so that the runtime needs no second look.

use std::collections::{HashMap, HashSet};

use crate::{
    Bulk, Bundle, BundleError, Chain, FileEntry, MAX_DOMAINS, MAX_FUSED, MAX_PARAM_FILE, ManagerConfig,
    NAME_RULE, PathRef, Port, PortKind, Service, Target, domain_name, is_file_name, is_file_path, is_name,
    load::refuse_size, manager,
};

type Checked = Result<(), BundleError>;

/// Checks what the parts of a bundle say of each other.
pub(crate) fn references(bundle: &Bundle) -> Checked {
    let listed = bundle.index.files.iter().map(|f| (f.path.as_str(), f));
    let check = Check {
        bundle,
        listed: listed.collect(),
    };
    let m = &bundle.manager;
    check.settings(m)?;
    check.domains(m)?;
    let ports = check.ports(&m.ports)?;
    let services = check.services(&m.services)?;
    let chains = check.chains(&m.chains, &ports, &services)?;
    check.hosts(m)?;
    check.permissions(m)?;
    check.flows(&ports, &chains)?;
    check.secrets(&bundle.index.secrets)?;
    bundle.instances.iter().try_for_each(|(name, config)| {
        let file = format!("nfs/{name}.toml");
        let binary = &config.manifest.run.binary;
        if !is_file_name(binary) {
            let shown = binary.escape_debug();
            let reason =
                format!("`run.binary` is to be the name of a program and no path, and it is `{shown}`");
            return Err(check.refuse(&file, reason));
        }
        if let Some(path) = config.manifest.run.files.iter().find(|name| !is_file_name(name)) {
            let shown = path.escape_debug();
            let reason =
                format!("`run.files` is to have names of files beside the program, and has `{shown}`");
            return Err(check.refuse(&file, reason));
        }
        let mut params = config.params.values();
        params.try_for_each(|value| check.param(&file, value))
    })
}

struct Check<'a> {
    bundle: &'a Bundle,
    listed: HashMap<&'a str, &'a FileEntry>,
}

impl<'a> Check<'a> {
    fn refuse(&self, file: &str, reason: String) -> BundleError {
        BundleError::Inconsistent {
            path: self.bundle.dir.join(file),
            reason,
        }
    }

    fn ensure(&self, ok: bool, reason: impl FnOnce() -> String) -> Checked {
        if ok {
            Ok(())
        } else {
            Err(self.refuse("manager.toml", reason()))
        }
    }

    fn settings(&self, m: &ManagerConfig) -> Checked {
        self.ensure(
            m.ring.is_power_of_two() && (64..=65_536).contains(&m.ring),
            || format!("ring = {} is not a power of two from 64 to 65536", m.ring),
        )?;
        self.ensure(m.max_hops > 0, || {
            "max_hops = 0: no packet could visit an NF".into()
        })?;
        self.ensure(m.workers.receivers <= 64, || {
            format!("workers.receivers = {} is not from 0 to 64", m.workers.receivers)
        })?;
        self.ensure((1..=64).contains(&m.workers.count), || {
            format!("workers.count = {} is not from 1 to 64", m.workers.count)
        })?;
        self.ensure((512..=4_194_304).contains(&m.buffers.count), || {
            format!("buffers.count = {} is not from 512 to 4194304", m.buffers.count)
        })?;
        self.ensure((68..=9216).contains(&m.buffers.mtu), || {
            format!("buffers.mtu = {} is not from 68 to 9216", m.buffers.mtu)
        })
    }

    fn domains(&self, m: &ManagerConfig) -> Checked {
        let domains = m.domains();
        self.ensure(domains.len() <= MAX_DOMAINS, || {
            format!("{} domains, at most {MAX_DOMAINS}", domains.len())
        })?;
        domains.into_iter().flatten().try_for_each(|name| {
            self.ensure(is_name(name) && name != domain_name(None), || {
                let shown = name.escape_debug();
                format!("`{shown}` is not a name for a domain: it takes {NAME_RULE}, and is not `default`")
            })
        })
    }

    fn ports(&self, list: &'a [Port]) -> Result<HashSet<&'a str>, BundleError> {
        self.ensure(list.len() <= manager::MAX_PORTS, || {
            format!("{} ports, at most {}", list.len(), manager::MAX_PORTS)
        })?;
        let served = list.iter().filter(|p| p.kind.is_dpdk()).count();
        self.ensure(served <= manager::MAX_DPDK_PORTS, || {
            format!(
                "{served} ports that DPDK serves, at most {}",
                manager::MAX_DPDK_PORTS
            )
        })?;
        let mut names = HashSet::new();
        for (i, p) in list.iter().enumerate() {
            self.ensure(usize::from(p.id) == i, || {
                format!("port `{}` has id {} and stands at {i}", p.name, p.id)
            })?;
            self.ensure(names.insert(p.name.as_str()), || {
                format!("two ports are named `{}`", p.name)
            })?;
            self.ensure((1..=64).contains(&p.queues), || {
                format!("port `{}`: queues = {}", p.name, p.queues)
            })?;
            if let PortKind::Pcap { read, write, .. } = &p.kind {
                for path in read.iter().chain(write) {
                    if let PathRef::Bundle(path) = path {
                        self.listed(path)?;
                    }
                }
            }
        }
        Ok(names)
    }

    fn services(&self, list: &'a [Service]) -> Result<HashSet<&'a str>, BundleError> {
        let mut names = HashSet::new();
        let mut ids = HashSet::new();
        let mut instances = HashSet::new();
        for s in list {
            self.ensure(names.insert(s.name.as_str()), || {
                format!("two services are named `{}`", s.name)
            })?;
            self.ensure(s.id > 0 && ids.insert(s.id), || {
                format!("service id {} is zero or used twice", s.id)
            })?;
            self.ensure(!s.instances.is_empty(), || {
                format!("service `{}` has no instance", s.name)
            })?;
            let replicas = s.replicas();
            self.ensure((1..=replicas.max).contains(&replicas.min), || {
                format!(
                    "service `{}` has {} instances and at least {} of them",
                    s.name, replicas.max, replicas.min
                )
            })?;
            for i in &s.instances {
                self.ensure(is_name(&i.name), || {
                    let shown = i.name.escape_debug();
                    format!("`{shown}` is not a name for an instance: it takes {NAME_RULE}")
                })?;
                self.ensure(instances.insert(i.name.as_str()), || {
                    format!("two instances are named `{}`", i.name)
                })?;
            }
        }
        self.ensure(
            list.len() <= manager::MAX_SERVICES && instances.len() <= manager::MAX_INSTANCES,
            || {
                let (services, most) = (list.len(), manager::MAX_INSTANCES);
                format!(
                    "{services} services with {} instances, at most {most} of each",
                    instances.len()
                )
            },
        )?;
        Ok(names)
    }

    /// One process can hold what shares one.
    fn hosts(&self, m: &'a ManagerConfig) -> Checked {
        let programmed = |service: &Service| self.bundle.flows.programs.iter().any(|p| p.nf == service.name);
        for host in m.hosts().iter().filter(|host| host.is_fused()) {
            let name = &host.service.name;
            let fits = is_name(name) && host.members.len() <= MAX_FUSED;
            self.ensure(fits && m.services.iter().all(|s| s.name != *name), || {
                let shown = name.escape_debug();
                format!("`fuse = \"{shown}\"`: expected a name that no NF has, of {MAX_FUSED} NFs at most")
            })?;
            for process in &host.service.instances {
                let taken = m
                    .services
                    .iter()
                    .flat_map(|s| &s.instances)
                    .any(|i| i.name == process.name);
                self.ensure(is_name(&process.name) && !taken, || {
                    format!(
                        "`{}` is the name of an instance, and of a process of fused NFs",
                        process.name.escape_debug()
                    )
                })?;
            }
            let [first, others @ ..] = host.members.as_slice() else {
                continue;
            };
            for other in others {
                let unlike = first.unlike(other);
                self.ensure(unlike.is_none(), || {
                    let what = unlike.map(|(what, ..)| what).unwrap_or_default();
                    format!(
                        "services `{}` and `{}` are fused and have another `{what}` each",
                        first.name, other.name
                    )
                })?;
            }
            for process in &host.service.instances {
                let members = host.instances(&process.name).into_iter();
                let configs = members.filter_map(|member| self.bundle.instances.get(&member.name));
                let excess = configs.map(Bulk::of).sum::<Bulk>().excess();
                self.ensure(excess.is_none(), || {
                    let (number, what, most) = excess.unwrap_or_default();
                    format!("the NFs of `{name}` have {number} {what}, at most {most} in one process")
                })?;
            }
            let configs = |member: &Service| {
                let configs = member
                    .instances
                    .iter()
                    .map(|i| self.bundle.instances.get(&i.name));
                configs.collect::<Option<Vec<_>>>().unwrap_or_default()
            };
            let binary = configs(first)
                .first()
                .map(|config| config.manifest.run.binary.clone());
            for member in &host.members {
                let can = configs(member).iter().all(|config| {
                    let manifest = &config.manifest;
                    member.unfit_to_fuse(manifest).is_none() && Some(&manifest.run.binary) == binary.as_ref()
                });
                let can = can && !programmed(member);
                self.ensure(can, || {
                    format!("service `{}` cannot be fused with others", member.name)
                })?;
            }
        }
        Ok(())
    }

    /// Proofs have not considered effects that an NF does not declare.
    fn permissions(&self, m: &ManagerConfig) -> Checked {
        let permitted = m.permitted_lookups();
        let declares = |service: &Service| {
            let config = service.instances.first();
            let config = config.and_then(|i| self.bundle.instances.get(&i.name));
            config.is_some_and(|config| config.manifest.effects.lookups)
        };
        let mut holders = m.services.iter().filter(|s| permitted.contains(s.name.as_str()));
        holders.try_for_each(|s| {
            self.ensure(declares(s), || {
                format!(
                    "service `{}` is permitted `lookup`, which its manifest does not declare",
                    s.name
                )
            })
        })
    }

    fn chains(
        &self,
        list: &'a [Chain],
        ports: &HashSet<&str>,
        services: &HashSet<&str>,
    ) -> Result<HashSet<&'a str>, BundleError> {
        let hops: usize = list.iter().map(|c| c.hops.len()).sum();
        self.ensure(
            list.len() <= manager::MAX_CHAINS && hops <= manager::MAX_HOPS,
            || {
                format!(
                    "{} chains with {hops} hops; at most {} of each",
                    list.len(),
                    manager::MAX_HOPS
                )
            },
        )?;
        let mut names = HashSet::new();
        for c in list {
            self.ensure(names.insert(c.name.as_str()), || {
                format!("two chains are named `{}`", c.name)
            })?;
            self.ensure(!c.hops.is_empty(), || format!("chain `{}` has no hop", c.name))?;
            self.hops(c, ports, services)?;
        }
        Ok(names)
    }

    fn hops(&self, chain: &Chain, ports: &HashSet<&str>, services: &HashSet<&str>) -> Checked {
        for (n, h) in chain.hops.iter().enumerate() {
            let known = match &h.at {
                Target::Nf(nf) => services.contains(nf.as_str()) && h.next.is_some(),
                Target::Port(p) => ports.contains(p.as_str()),
                Target::Drop => true,
            };
            self.ensure(known, || {
                format!("chain `{}`, hop {n}: {:?} leads nowhere", chain.name, h.at)
            })?;
            self.ensure(!h.bypass || matches!(h.at, Target::Nf(_)), || {
                format!("chain `{}`, hop {n}: a bypass where no NF stands", chain.name)
            })?;
            self.ensure(!h.lookup || matches!(h.at, Target::Nf(_)), || {
                format!(
                    "chain `{}`, hop {n}: `lookup` is permitted where no NF stands",
                    chain.name
                )
            })?;
            for &to in h.next.iter().chain(h.outputs.values()).chain(h.steers.values()) {
                self.ensure(usize::from(to) < chain.hops.len(), || {
                    format!(
                        "chain `{}`, hop {n} leads to hop {to} of {}",
                        chain.name,
                        chain.hops.len()
                    )
                })?;
            }
        }
        Ok(())
    }

    fn flows(&self, ports: &HashSet<&str>, chains: &HashSet<&str>) -> Checked {
        let mut seen = HashSet::new();
        for t in &self.bundle.flows.tables {
            if !ports.contains(t.port.as_str()) || !seen.insert(t.port.as_str()) {
                return Err(self.refuse(
                    "flows.toml",
                    format!("port `{}` is unknown or has two tables", t.port),
                ));
            }
            for chain in t.rules.iter().map(|r| &r.chain).chain([&t.otherwise]) {
                if !chains.contains(chain.as_str()) {
                    let reason = format!("port `{}`: chain `{chain}` does not exist", t.port);
                    return Err(self.refuse("flows.toml", reason));
                }
            }
        }
        self.programs(&seen, chains)
    }

    fn programs(&self, tables: &HashSet<&str>, chains: &HashSet<&str>) -> Checked {
        let services = &self.bundle.manager.services;
        let mut seen = HashSet::new();
        for program in &self.bundle.flows.programs {
            let (port, nf) = (program.port.as_str(), program.nf.as_str());
            let refuse =
                |reason: &str| Err(self.refuse("flows.toml", format!("`{nf}` programs `{port}`: {reason}")));
            if !tables.contains(port) {
                return refuse("the port has no table");
            }
            if !services.iter().any(|service| service.name == nf) {
                return refuse("there is no such NF");
            }
            if !seen.insert((port, nf)) {
                return refuse("this stands there twice");
            }
            if program.arms.is_empty() || program.arms.iter().any(|arm| arm.targets.is_empty()) {
                return refuse("a permission says which packets may be sent where");
            }
            let mut targets = program.arms.iter().flat_map(|arm| &arm.targets);
            if let Some(chain) = targets.find(|chain| !chains.contains(chain.as_str())) {
                return refuse(&format!("chain `{chain}` does not exist"));
            }
        }
        Ok(())
    }

    fn secrets(&self, names: &[String]) -> Checked {
        let wrong = names.iter().find(|name| !is_name(name));
        wrong.map_or(Ok(()), |name| Err(self.no_secret("bundle.toml", name)))
    }

    fn no_secret(&self, file: &str, name: &str) -> BundleError {
        let shown = name.escape_debug();
        let reason = format!("`{shown}` is not a name for a secret: it takes {NAME_RULE}");
        self.refuse(file, reason)
    }

    /// The files and secrets that a parameter names.
    fn param(&self, file: &str, value: &toml::Value) -> Checked {
        match value {
            toml::Value::Table(table) => {
                let text = |key| table.get(key).and_then(toml::Value::as_str);
                if let Some(path) = text("file") {
                    let entry = self.listed(path)?;
                    refuse_size(&self.bundle.dir.join(path), entry.size, MAX_PARAM_FILE)?;
                }
                if let Some(name) = text("secret").filter(|name| !is_name(name)) {
                    return Err(self.no_secret(file, name));
                }
                table.values().try_for_each(|v| self.param(file, v))
            }
            toml::Value::Array(items) => items.iter().try_for_each(|v| self.param(file, v)),
            _ => Ok(()),
        }
    }

    fn listed(&self, path: &str) -> Result<&'a FileEntry, BundleError> {
        if !is_file_path(path) {
            return Err(BundleError::Escapes {
                bundle: self.bundle.dir.clone(),
                entry: path.to_owned(),
            });
        }
        let entry = self.listed.get(path).copied();
        entry.ok_or_else(|| BundleError::Missing(self.bundle.dir.join(path)))
    }
}
