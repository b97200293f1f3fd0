//! NFs in the interpreter: a standard NF itself, or the assumption that it passes everything on.

use std::{collections::BTreeMap, convert::Infallible, fmt};

use nflib::{Params, Verdict, testing::AnyBench};
use onvm_bundle::{InstanceConfig, ParamSource, Service};
use stdlib_nfs::StandardNf;

use super::{InterpretError, Moved};

pub(super) enum Behaviour {
    Run(Box<dyn AnyBench>),
    PassesOn,
}

impl fmt::Debug for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Run(_) => "Run",
            Self::PassesOn => "PassesOn",
        })
    }
}

impl Behaviour {
    pub(super) fn start(
        service: &Service,
        instances: &BTreeMap<String, InstanceConfig>,
        files: &BTreeMap<String, Vec<u8>>,
    ) -> Result<Self, InterpretError> {
        let Some((standard, params)) = standard(service, instances, files) else {
            return Ok(Self::PassesOn);
        };
        (standard.bench)(params)
            .map(Self::Run)
            .map_err(|e| InterpretError::new(service, &e))
    }

    /// The NF's verdict, and whether it is an assumption. `ignore_tags` is what the packet's port says.
    pub(super) fn visit(
        &mut self,
        frame: &mut Vec<u8>,
        ignore_tags: bool,
        moved: Option<&mut Vec<Moved>>,
    ) -> (Verdict, bool) {
        let Self::Run(nf) = self else {
            if let Some(moved) = moved {
                moved.push(Vec::new());
            }
            return (Verdict::Next, true);
        };
        let before = moved.is_some().then(|| values(nf.as_ref()));
        let handled = nf.send_one(frame, ignore_tags);
        if let (Some(moved), Some(before)) = (moved, before) {
            let after = nf.counters().into_iter().zip(before);
            let changed = after.filter(|((_, now), was)| now != was);
            moved.push(
                changed
                    .map(|((name, now), was)| (name.to_owned(), now - was))
                    .collect(),
            );
        }
        *frame = handled.data;
        (handled.verdict, false)
    }

    pub(super) fn counter(&mut self, name: &str) -> Option<u64> {
        let Self::Run(nf) = self else { return None };
        // Gauges are published at ticks.
        nf.tick();
        let counters = nf.counters();
        counters
            .into_iter()
            .find(|(n, _)| *n == name)
            .map(|(_, value)| value)
    }
}

fn values(nf: &dyn AnyBench) -> Vec<u64> {
    nf.counters().into_iter().map(|(_, value)| value).collect()
}

/// The standard NF that `onvm-run` would start for this service, with its parameters.
fn standard(
    service: &Service,
    instances: &BTreeMap<String, InstanceConfig>,
    files: &BTreeMap<String, Vec<u8>>,
) -> Option<(&'static StandardNf, Params)> {
    of_instance(instances.get(&service.instances.first()?.name)?, files)
}

/// The same for one instance.
pub(crate) fn of_instance(
    config: &InstanceConfig,
    files: &BTreeMap<String, Vec<u8>>,
) -> Option<(&'static StandardNf, Params)> {
    let [name] = config.manifest.run.args.as_slice() else {
        return None;
    };
    let standard = (config.manifest.run.binary == "onvm-nf").then(|| stdlib_nfs::find(name))??;
    Some((standard, params(config, files)))
}

fn params(config: &InstanceConfig, files: &BTreeMap<String, Vec<u8>>) -> Params {
    let mut source = Source {
        all: files,
        named: BTreeMap::new(),
    };
    let Ok(values) = config.values(&mut source);
    let outputs = config.manifest.outputs.iter();
    Params::new(values, source.named).with_outputs(outputs.map(|output| output.name.as_str()))
}

struct Source<'a> {
    all: &'a BTreeMap<String, Vec<u8>>,
    named: BTreeMap<String, Vec<u8>>,
}

impl ParamSource for Source<'_> {
    type Error = Infallible;

    fn file(&mut self, path: &str) -> Result<(), Infallible> {
        if let Some(content) = self.all.get(path) {
            self.named.insert(path.to_owned(), content.clone());
        }
        Ok(())
    }

    /// No standard NF takes a secret.
    fn secret(&mut self, _name: &str) -> Result<String, Infallible> {
        Ok(String::new())
    }
}
