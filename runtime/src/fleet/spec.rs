//! The specification of an instance, worked out before anything starts: program, user, parameters, files, secrets.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use nflib::{
    FUSED, FlowTarget,
    session::{Configuration, MemberConfiguration, content_descriptor},
};
use onvm_bundle::{Bundle, CoreRequest, Host, InstanceConfig, ParamSource, Restart, Run};
use rustix::{
    fs::{FileType, Mode, OFlags, fstat},
    io::Errno,
};

use super::launch::{self, Program};
use crate::{error::RunError, jail::Part};

/// Bytes of a secret in a file.
const MAX_SECRET: u64 = 64 << 10;

/// The starter of the NFs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum NfMode {
    /// onvm-run, as child processes; those with `run = container` in containers.
    Process,
    /// onvm-run, all in containers of the bundle's compose.yaml.
    Compose,
    /// Somebody else; onvm-run waits for them at their sockets.
    External,
}

/// Where things on the host are.
#[derive(Debug, Clone)]
pub struct HostOptions {
    pub mode: NfMode,
    pub nf_path: Vec<PathBuf>,
    pub secrets: Option<PathBuf>,
    /// Parts of the NFs' jail to do without.
    pub waived: Vec<Part>,
}

/// One instance, ready to be started, again and again if need be.
#[derive(Debug, Clone)]
pub(crate) struct InstanceSpec {
    pub name: String,
    pub restart: Restart,
    pub read_only: bool,
    pub given: Given,
    /// None in [`NfMode::External`].
    pub launch: Option<Launch>,
    /// Its security domain.
    pub domain: Option<String>,
    /// The instance may change packets.
    pub writes: bool,
    /// The instance may make packets.
    pub generates: bool,
    pub request: CoreRequest,
}

impl InstanceSpec {
    pub(crate) fn is_contained(&self) -> bool {
        matches!(self.launch, Some(Launch::Container(_)))
    }
}

/// What starts an instance.
#[derive(Debug, Clone)]
pub(crate) enum Launch {
    Process(Program),
    Container(Contained),
}

/// What the container of an instance is created with.
#[derive(Debug, Clone)]
pub(crate) struct Contained {
    pub image: String,
    /// Instances that its service may have later.
    pub siblings: Arc<[String]>,
    /// The NUMA node of its memory.
    pub node: Option<u16>,
    /// The slot of its service, known when it is started.
    pub service: u16,
    /// The directory of the bundle that it is of, known when it is started and another after an edit that keeps it.
    pub bundle: Arc<Mutex<PathBuf>>,
}

impl Contained {
    pub(super) fn bundle(&self) -> PathBuf {
        // A path is whole at any time.
        self.bundle.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The parameters of an instance, and what belongs to them.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    pub configuration: Configuration,
    /// Contents of the configuration's files, in order; those of fused NFs one NF after the other.
    pub files: Vec<Arc<[u8]>>,
}

impl Given {
    /// As they go over the instance's socket.
    pub(super) fn descriptors(&self) -> io::Result<Vec<OwnedFd>> {
        let configuration = serde_json::to_vec(&self.configuration)?;
        let mut contents = vec![content_descriptor("configuration", &configuration)?];
        for file in &self.files {
            contents.push(content_descriptor("file", file)?);
        }
        Ok(contents)
    }
}

/// What an instance is given, which its supervisor and the control thread share. Nobody panics while holding it.
pub(super) fn lock(given: &Mutex<Given>) -> MutexGuard<'_, Given> {
    given.lock().unwrap_or_else(PoisonError::into_inner)
}

const _: () = assert!(
    // Region, packets and configuration come before them.
    onvm_bundle::MAX_GIVEN + 3 == nflib::session::MAX_DESCRIPTORS
        && onvm_bundle::MAX_COUNTERS == nflib::layout::MAX_COUNTERS,
    "bundles may give a process as much as a message and a region hold"
);

/// Works out the instances of every process, by its name. Reads what they are given, so it may wait for a disk.
pub(crate) fn all(
    bundle: &Bundle,
    host: &HostOptions,
) -> Result<HashMap<String, Vec<InstanceSpec>>, RunError> {
    let mut files = BTreeMap::new();
    let processes = bundle.manager.hosts();
    let specs = processes.iter().map(|process| {
        let specs = of_process(bundle, process, host, &mut files)?;
        Ok((process.service.name.clone(), specs))
    });
    specs.collect()
}

/// The same of one.
pub(crate) fn of(bundle: &Bundle, name: &str, host: &HostOptions) -> Result<Vec<InstanceSpec>, RunError> {
    let processes = bundle.manager.hosts();
    match processes.iter().find(|process| process.service.name == name) {
        Some(process) => of_process(bundle, process, host, &mut BTreeMap::new()),
        None => Ok(Vec::new()),
    }
}

fn of_process(
    bundle: &Bundle,
    process: &Host<'_>,
    host: &HostOptions,
    files: &mut BTreeMap<String, Arc<[u8]>>,
) -> Result<Vec<InstanceSpec>, RunError> {
    let configured = process.service.instances.iter().map(|instance| {
        let members = process.instances(&instance.name).into_iter();
        let configs: Option<Vec<_>> = members.map(|member| bundle.instances.get(&member.name)).collect();
        (instance, configs.unwrap_or_default())
    });
    configured
        .filter(|(_, configs)| !configs.is_empty())
        .map(|(instance, configs)| one(bundle, process, instance, &configs, host, files))
        .collect()
}

fn one(
    bundle: &Bundle,
    process: &Host<'_>,
    instance: &onvm_bundle::Instance,
    configs: &[&InstanceConfig],
    host: &HostOptions,
    contents: &mut BTreeMap<String, Arc<[u8]>>,
) -> Result<InstanceSpec, RunError> {
    let manifest = &configs[0].manifest;
    let launch = match (host.mode, process.service.run) {
        (NfMode::External, _) => None,
        (NfMode::Compose, _) | (NfMode::Process, Run::Container) => {
            let least = usize::from(process.service.replicas().min);
            let later = process.service.instances.iter().skip(least);
            Some(Launch::Container(Contained {
                image: manifest.image(),
                siblings: later.map(|instance| instance.name.clone()).collect(),
                node: instance.numa,
                service: 0,
                bundle: Arc::default(),
            }))
        }
        (NfMode::Process, Run::Process) => {
            let path = launch::find(&instance.name, &manifest.run, &host.nf_path)?;
            let files = configs.iter().flat_map(|config| &config.manifest.run.files);
            Some(Launch::Process(Program {
                needs: launch::Needs::of(&instance.name, &path, files)?,
                path,
                args: match process.is_fused() {
                    true => vec![FUSED.to_owned()],
                    false => manifest.run.args.clone(),
                },
                user: None,
                memory: instance.memory,
                node: instance.numa,
            }))
        }
    };
    let mut of_nf = |config: &InstanceConfig| configuration(bundle, config, host, contents);
    let given = match process.is_fused() {
        false => of_nf(configs[0])?,
        true => {
            let (mut members, mut all) = (Vec::new(), Vec::new());
            for config in configs {
                let Given { configuration, files } = of_nf(config)?;
                members.push(MemberConfiguration {
                    name: config.instance.clone(),
                    program: config.manifest.run.args.concat(),
                    configuration,
                });
                all.extend(files);
            }
            let together = Configuration {
                members,
                ..Configuration::default()
            };
            Given {
                configuration: together,
                files: all,
            }
        }
    };
    Ok(InstanceSpec {
        name: instance.name.clone(),
        restart: process.service.restart,
        read_only: process.service.read_only,
        given,
        launch,
        domain: process.service.domain.clone(),
        writes: !process.service.read_only,
        generates: configs.iter().any(|config| config.manifest.effects.generates),
        request: CoreRequest::new(instance),
    })
}

/// What one NF is given.
fn configuration(
    bundle: &Bundle,
    config: &InstanceConfig,
    host: &HostOptions,
    contents: &mut BTreeMap<String, Arc<[u8]>>,
) -> Result<Given, RunError> {
    let mut resolver = Resolver {
        bundle,
        instance: &config.instance,
        secrets: host.secrets.as_deref(),
        contents,
        files: BTreeMap::new(),
    };
    let values = config.values(&mut resolver)?;
    let outputs = config.manifest.outputs.iter();
    let targets = bundle.flows.targets_of(&config.service).into_iter();
    let targets = targets.map(|(port, chain)| FlowTarget { port, chain });
    let (names, files) = resolver.files.into_iter().unzip();
    let configuration = Configuration {
        values,
        files: names,
        outputs: outputs.map(|output| output.name.clone()).collect(),
        targets: targets.collect(),
        members: Vec::new(),
    };
    Ok(Given { configuration, files })
}

/// The files and secrets of one instance.
struct Resolver<'a> {
    bundle: &'a Bundle,
    instance: &'a str,
    secrets: Option<&'a Path>,
    /// By name in the bundle: what was read for any instance.
    contents: &'a mut BTreeMap<String, Arc<[u8]>>,
    /// Those of this one.
    files: BTreeMap<String, Arc<[u8]>>,
}

impl ParamSource for Resolver<'_> {
    type Error = RunError;

    fn file(&mut self, path: &str) -> Result<(), RunError> {
        let content = match self.contents.get(path) {
            Some(known) => known.clone(),
            None => self.bundle.read(path)?.into(),
        };
        self.contents.insert(path.to_owned(), content.clone());
        self.files.insert(path.to_owned(), content);
        Ok(())
    }

    fn secret(&mut self, name: &str) -> Result<String, RunError> {
        if let Some(path) = self.secrets.map(|dir| dir.join(name)) {
            let read = read_secret(&path);
            let read = read.map_err(RunError::io(
                &path,
                "Put the secret into a file that can be read.",
            ))?;
            if let Some(text) = read {
                return Ok(text.trim_end_matches('\n').to_owned());
            }
        }
        std::env::var(name).map_err(|_| RunError::Secret {
            name: name.to_owned(),
            instance: self.instance.to_owned(),
        })
    }
}

/// None: there is no such file. Links are followed, as orchestrators mount secrets by them; nothing else is waited for.
fn read_secret(path: &Path) -> io::Result<Option<String>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut text = String::new();
    File::from(file).take(MAX_SECRET + 1).read_to_string(&mut text)?;
    match text.len() as u64 <= MAX_SECRET {
        true => Ok(Some(text)),
        false => Err(io::Error::other("it has more than the 64 KiB of a secret")),
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, mknodat};

    use super::*;

    #[test]
    fn a_secret_is_a_small_ordinary_file_perhaps_behind_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        assert_eq!(read_secret(&path("none")).unwrap(), None);
        std::fs::write(path("key"), "abc\n").unwrap();
        std::os::unix::fs::symlink("key", path("link")).unwrap();
        for name in ["key", "link"] {
            assert_eq!(read_secret(&path(name)).unwrap().as_deref(), Some("abc\n"));
        }
        // Nobody writes the pipe: reading it would wait for ever.
        mknodat(CWD, path("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        File::create(path("large")).unwrap().set_len(1 << 40).unwrap();
        for name in ["pipe", "large", "."] {
            read_secret(&path(name)).expect_err(name);
        }
    }
}
