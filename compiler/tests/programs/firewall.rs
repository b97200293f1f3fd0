//! A firewall as a program has it, without a manager.

use std::{collections::BTreeMap, convert::Infallible, path::Path};

use nflib::{Params, testing::Bench};
use onvm_bundle::ParamSource;
use onvmc::{Checked, Inputs, check, host::MemoryHost};
use stdlib_nfs::firewall::Firewall;

/// A program whose NF `fw` has the rules of `a.rules` and these further settings.
pub(crate) fn program(rules: &str, more: &str) -> Checked {
    let source = format!(
        "let inside = [10.0.0.0/8, 2001:db8::/32]\nclass web = tcp dst port [80, 443]\n\
         port wan = null\nnf fw = firewall {{ rules = file(\"a.rules\"){more} }}\n\
         steer wan {{ web and src net $inside -> fw -> wan else -> fw -> wan }}\n"
    );
    let host = MemoryHost::default()
        .with("a.chain", source)
        .with("a.rules", rules);
    check(&host, Path::new("a.chain"), &Inputs::default()).unwrap()
}

pub(crate) fn firewall(rules: &str, more: &str) -> Bench<Firewall> {
    let checked = program(rules, more);
    let shown = onvmc::render::human(&checked.sources, &checked.diagnostics, false, 100);
    let program = checked.program.unwrap_or_else(|| panic!("{shown}"));
    let mut files = Files(&program.files, BTreeMap::new());
    let config = &program.instances["fw-0"];
    let values = config.values(&mut files).unwrap();
    let outputs = config.manifest.outputs.iter().map(|output| output.name.as_str());
    Bench::new(Params::new(values, files.1).with_outputs(outputs)).unwrap()
}

struct Files<'a>(&'a BTreeMap<String, Vec<u8>>, BTreeMap<String, Vec<u8>>);

impl ParamSource for Files<'_> {
    type Error = Infallible;

    fn file(&mut self, path: &str) -> Result<(), Infallible> {
        self.1.insert(path.to_owned(), self.0[path].clone());
        Ok(())
    }

    fn secret(&mut self, _name: &str) -> Result<String, Infallible> {
        Ok(String::new())
    }
}
