//! What an instance is, worked out before anything starts: program, user, parameters, files, secrets.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use nflib::session::Configuration;
use onvm_bundle::{Bundle, InstanceConfig, ParamSource, Restart, Service};

use super::programs::{self, Launch};
use crate::{error::RunError, jail::Part};

/// Who starts the NFs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum NfMode {
    /// onvm-run, as child processes.
    Process,
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
pub(super) struct InstanceSpec {
    pub name: String,
    pub restart: Restart,
    pub read_only: bool,
    pub configuration: Configuration,
    /// Contents of the configuration's files, in order.
    pub files: Vec<Vec<u8>>,
    /// None in [`NfMode::External`].
    pub launch: Option<Launch>,
    /// The instance may change packets.
    pub writes: bool,
}

/// Works out all instances of a service.
pub(super) fn instances(
    bundle: &Bundle,
    service: &Service,
    host: &HostOptions,
) -> Result<Vec<InstanceSpec>, RunError> {
    let specs = service
        .instances
        .iter()
        .filter_map(|i| Some((i, bundle.instances.get(&i.name)?)));
    specs
        .map(|(instance, config)| one(bundle, service, instance, config, host))
        .collect()
}

fn one(
    bundle: &Bundle,
    service: &Service,
    instance: &onvm_bundle::Instance,
    config: &InstanceConfig,
    host: &HostOptions,
) -> Result<InstanceSpec, RunError> {
    let launch = match host.mode {
        NfMode::External => None,
        NfMode::Process => Some(Launch {
            program: programs::find(&instance.name, &config.manifest.run, &host.nf_path)?,
            args: config.manifest.run.args.clone(),
            user: None,
            memory: instance.memory,
            cores: Vec::new(),
        }),
    };
    let mut resolver = Resolver {
        bundle,
        instance: &instance.name,
        secrets: host.secrets.as_deref(),
        files: BTreeMap::new(),
    };
    let values = config.values(&mut resolver)?;
    let (names, files) = resolver.files.into_iter().unzip();
    Ok(InstanceSpec {
        name: instance.name.clone(),
        restart: service.restart,
        read_only: service.read_only,
        configuration: Configuration { values, files: names },
        files,
        launch,
        writes: !service.read_only,
    })
}

/// The files and secrets of one instance.
struct Resolver<'a> {
    bundle: &'a Bundle,
    instance: &'a str,
    secrets: Option<&'a Path>,
    /// Contents by name in the bundle.
    files: BTreeMap<String, Vec<u8>>,
}

impl ParamSource for Resolver<'_> {
    type Error = RunError;

    fn file(&mut self, path: &str) -> Result<(), RunError> {
        let full = self.bundle.dir.join(path);
        let content =
            fs::read(&full).map_err(RunError::io(full, "Build the bundle again with `onvmc build`."))?;
        self.files.insert(path.to_owned(), content);
        Ok(())
    }

    fn secret(&mut self, name: &str) -> Result<String, RunError> {
        let missing = || RunError::Secret {
            name: name.to_owned(),
            instance: self.instance.to_owned(),
        };
        if let Some(path) = self
            .secrets
            .map(|dir| dir.join(name))
            .filter(|path| path.is_file())
        {
            let text =
                fs::read_to_string(&path).map_err(RunError::io(&path, "Check that the file can be read."))?;
            return Ok(text.trim_end_matches('\n').to_owned());
        }
        std::env::var(name).map_err(|_| missing())
    }
}
