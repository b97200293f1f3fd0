//! Loading and verifying: nothing is handed out before every hash, every path and every reference has been checked.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
    path::{Component, Path, PathBuf},
};

use serde::de::DeserializeOwned;

use crate::{
    BundleError, FORMAT_VERSION, Flows, Index, InstanceConfig, ManagerConfig, PathRef, PortKind, Target, generation_id,
    hash_bytes, manager,
};

/// A verified bundle.
#[derive(Debug, Clone)]
pub struct Bundle {
    pub dir: PathBuf,
    pub index: Index,
    pub manager: ManagerConfig,
    pub flows: Flows,
    /// By instance name.
    pub instances: BTreeMap<String, InstanceConfig>,
}

impl Bundle {
    /// Reads and verifies the bundle at `dir`.
    pub fn load(dir: &Path) -> Result<Self, BundleError> {
        let index = read_index(dir)?;
        let contents = read_files(dir, &index)?;
        refuse_unlisted(dir, &index)?;
        let manager: ManagerConfig = parse(dir, "manager.toml", &contents)?;
        let flows: Flows = parse(dir, "flows.toml", &contents)?;
        let mut instances = BTreeMap::new();
        for name in manager.services.iter().flat_map(|s| &s.instances).map(|i| &i.name) {
            let config: InstanceConfig = parse(dir, &format!("nfs/{name}.toml"), &contents)?;
            instances.insert(name.clone(), config);
        }
        let bundle = Self { dir: dir.to_path_buf(), index, manager, flows, instances };
        bundle.check_references()?;
        Ok(bundle)
    }

    /// The path on the host of a file named by the bundle.
    pub fn resolve(&self, path: &PathRef) -> PathBuf {
        match path {
            PathRef::Bundle(p) => self.dir.join(p),
            PathRef::Host(p) => PathBuf::from(p),
        }
    }

    /// Names lead somewhere and numbers stay in range, so that the runtime needs no second look.
    fn check_references(&self) -> Result<(), BundleError> {
        let m = &self.manager;
        let bad = |reason: String| BundleError::Inconsistent { path: self.dir.join("manager.toml"), reason };
        let check = |ok: bool, reason: &dyn Fn() -> String| if ok { Ok(()) } else { Err(bad(reason())) };
        check(m.ring.is_power_of_two() && (64..=65_536).contains(&m.ring), &|| {
            format!("ring = {} is not a power of two from 64 to 65536", m.ring)
        })?;
        check(m.max_hops > 0, &|| "max_hops = 0: no packet could visit an NF".into())?;
        check((1..=64).contains(&m.workers.count), &|| {
            format!("workers.count = {} is not from 1 to 64", m.workers.count)
        })?;
        check((512..=4_194_304).contains(&m.buffers.count), &|| {
            format!("buffers.count = {} is not from 512 to 4194304", m.buffers.count)
        })?;
        check((68..=9216).contains(&m.buffers.mtu), &|| {
            format!("buffers.mtu = {} is not from 68 to 9216", m.buffers.mtu)
        })?;
        check(m.ports.len() <= manager::MAX_PORTS, &|| {
            format!("{} ports, at most {}", m.ports.len(), manager::MAX_PORTS)
        })?;
        let mut ports = HashSet::new();
        for (i, p) in m.ports.iter().enumerate() {
            check(usize::from(p.id) == i, &|| format!("port `{}` has id {} and stands at {i}", p.name, p.id))?;
            check(ports.insert(p.name.as_str()), &|| format!("two ports are named `{}`", p.name))?;
            check((1..=64).contains(&p.queues), &|| format!("port `{}`: queues = {}", p.name, p.queues))?;
            if let PortKind::Pcap { read, write, .. } = &p.kind {
                for path in read.iter().chain(write) {
                    if let PathRef::Bundle(path) = path {
                        self.check_listed(path)?;
                    }
                }
            }
        }
        let mut services = HashSet::new();
        let mut ids = HashSet::new();
        let mut instances = HashSet::new();
        for s in &m.services {
            check(services.insert(s.name.as_str()), &|| format!("two services are named `{}`", s.name))?;
            check(s.id > 0 && ids.insert(s.id), &|| format!("service id {} is zero or used twice", s.id))?;
            check(!s.instances.is_empty(), &|| format!("service `{}` has no instance", s.name))?;
            for i in &s.instances {
                check(instances.insert(i.name.as_str()), &|| format!("two instances are named `{}`", i.name))?;
            }
        }
        check(instances.len() <= manager::MAX_INSTANCES, &|| {
            format!("{} instances, at most {}", instances.len(), manager::MAX_INSTANCES)
        })?;
        let hops: usize = m.chains.iter().map(|c| c.hops.len()).sum();
        check(m.chains.len() <= manager::MAX_CHAINS && hops <= manager::MAX_HOPS, &|| {
            format!("{} chains with {hops} hops; at most {} of each", m.chains.len(), manager::MAX_HOPS)
        })?;
        let mut chains = HashSet::new();
        for c in &m.chains {
            check(chains.insert(c.name.as_str()), &|| format!("two chains are named `{}`", c.name))?;
            check(!c.hops.is_empty(), &|| format!("chain `{}` has no hop", c.name))?;
            for (n, h) in c.hops.iter().enumerate() {
                let known = match &h.at {
                    Target::Nf(nf) => services.contains(nf.as_str()) && h.next.is_some(),
                    Target::Port(p) => ports.contains(p.as_str()),
                    Target::Drop => true,
                };
                check(known, &|| format!("chain `{}`, hop {n}: {:?} leads nowhere", c.name, h.at))?;
                let jumps = h.next.iter().chain(h.outputs.values()).chain(h.steers.values());
                for &to in jumps {
                    check(usize::from(to) < c.hops.len(), &|| {
                        format!("chain `{}`, hop {n} leads to hop {to} of {}", c.name, c.hops.len())
                    })?;
                }
            }
        }
        let bad = |reason: String| BundleError::Inconsistent { path: self.dir.join("flows.toml"), reason };
        let mut seen = HashSet::new();
        for t in &self.flows.tables {
            if !ports.contains(t.port.as_str()) || !seen.insert(t.port.as_str()) {
                return Err(bad(format!("port `{}` is unknown or has two tables", t.port)));
            }
            for chain in t.rules.iter().map(|r| &r.chain).chain([&t.otherwise]) {
                if !chains.contains(chain.as_str()) {
                    return Err(bad(format!("port `{}`: chain `{chain}` does not exist", t.port)));
                }
            }
        }
        for config in self.instances.values() {
            for value in config.params.values() {
                self.check_param_files(value)?;
            }
        }
        Ok(())
    }

    fn check_param_files(&self, value: &toml::Value) -> Result<(), BundleError> {
        match value {
            toml::Value::Table(t) => match t.get("file").and_then(|f| f.as_str()) {
                Some(path) => self.check_listed(path),
                None => Ok(()),
            },
            toml::Value::Array(items) => items.iter().try_for_each(|v| self.check_param_files(v)),
            _ => Ok(()),
        }
    }

    fn check_listed(&self, path: &str) -> Result<(), BundleError> {
        check_inside(&self.dir, path)?;
        match self.index.files.iter().any(|f| f.path == path) {
            true => Ok(()),
            false => Err(BundleError::Missing(self.dir.join(path))),
        }
    }
}

fn read_index(dir: &Path) -> Result<Index, BundleError> {
    let path = dir.join("bundle.toml");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && dir.is_dir() => {
            return Err(BundleError::NotABundle(dir.to_path_buf()));
        }
        Err(source) => return Err(BundleError::Io { path: if dir.is_dir() { path } else { dir.into() }, source }),
    };
    let malformed = |e: toml::de::Error| BundleError::Malformed { path: path.clone(), reason: describe(&e) };
    // The version alone decides whether the rest can be understood, so it is read before the rest.
    let table: toml::Table = text.parse().map_err(malformed)?;
    let found = table.get("format").and_then(toml::Value::as_integer).and_then(|v| u32::try_from(v).ok());
    match found {
        Some(FORMAT_VERSION) => {}
        Some(found) => return Err(BundleError::Version { path, found, supported: FORMAT_VERSION }),
        None => return Err(BundleError::Malformed { path, reason: "it has no `format` number".into() }),
    }
    let index: Index = table.try_into().map_err(malformed)?;
    let found = generation_id(&index);
    if found != index.generation {
        return Err(BundleError::Hash { path, expected: index.generation, found });
    }
    Ok(index)
}

fn read_files<'a>(dir: &Path, index: &'a Index) -> Result<BTreeMap<&'a str, Vec<u8>>, BundleError> {
    let mut contents = BTreeMap::new();
    for f in &index.files {
        check_inside(dir, &f.path)?;
        let path = dir.join(&f.path);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(BundleError::Missing(path)),
            Err(source) => return Err(BundleError::Io { path, source }),
        };
        let found = hash_bytes(&bytes);
        if found != f.sha256 || bytes.len() as u64 != f.size {
            return Err(BundleError::Hash { path, expected: f.sha256.clone(), found });
        }
        contents.insert(f.path.as_str(), bytes);
    }
    Ok(contents)
}

/// A path must consist of plain names, and no component on the way may be a link.
fn check_inside(dir: &Path, entry: &str) -> Result<(), BundleError> {
    let escapes = || BundleError::Escapes { bundle: dir.to_path_buf(), entry: entry.to_owned() };
    let relative = Path::new(entry);
    if entry.is_empty() || !relative.components().all(|c| matches!(c, Component::Normal(_))) {
        return Err(escapes());
    }
    let mut at = dir.to_path_buf();
    for part in relative.components() {
        at.push(part);
        if fs::symlink_metadata(&at).is_ok_and(|m| m.file_type().is_symlink()) {
            return Err(escapes());
        }
    }
    Ok(())
}

/// A file that no hash covers could be taken for part of the bundle, so it is refused.
fn refuse_unlisted(dir: &Path, index: &Index) -> Result<(), BundleError> {
    let listed: BTreeSet<PathBuf> = index.files.iter().map(|f| dir.join(&f.path)).collect();
    let mut open = vec![dir.to_path_buf()];
    while let Some(at) = open.pop() {
        let io = |source| BundleError::Io { path: at.clone(), source };
        for entry in fs::read_dir(&at).map_err(io)? {
            let entry = entry.map_err(io)?;
            let path = entry.path();
            let kind = entry.file_type().map_err(io)?;
            if kind.is_dir() {
                open.push(path);
            } else if path != dir.join("bundle.toml") && !listed.contains(&path) {
                return Err(BundleError::Unlisted(path));
            }
        }
    }
    Ok(())
}

fn parse<T: DeserializeOwned>(dir: &Path, name: &str, contents: &BTreeMap<&str, Vec<u8>>) -> Result<T, BundleError> {
    let path = dir.join(name);
    let Some(bytes) = contents.get(name) else { return Err(BundleError::Missing(path)) };
    let text = std::str::from_utf8(bytes)
        .map_err(|e| BundleError::Malformed { path: path.clone(), reason: e.to_string() })?;
    toml::from_str(text).map_err(|e| BundleError::Malformed { path, reason: describe(&e) })
}

/// The parser's message on one line.
fn describe(e: &toml::de::Error) -> String {
    e.message().replace('\n', " ")
}
