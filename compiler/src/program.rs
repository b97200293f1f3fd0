//! What a check starts from, and what it finds: the types of a program.

use std::collections::BTreeMap;

use onvm_bundle::{Flows, InstanceConfig, ManagerConfig, SourceRef, filter::Expr};
use onvm_lang::Diagnostic;

use crate::{
    lower::steering::Block,
    scenarios::Test,
    source::sources::{Place, Sources},
    traffic::Question,
};

/// The input of a compilation.
#[derive(Debug, Clone, Default)]
pub struct Inputs<'a> {
    /// `--set NAME=VALUE`, in order.
    pub set: &'a [(String, String)],
    /// The bundle's name; none: the main file's, without `.chain`.
    pub name: Option<&'a str>,
    /// The bundle whose service ids are kept.
    pub previous: Option<&'a ManagerConfig>,
    /// A port and a packet as in `send PORT PACKET`, which becomes the program's last test.
    pub packet: Option<(&'a str, &'a str)>,
    /// A port and a filter of packets that are asked of, see [`crate::traffic::query`].
    pub question: Option<(&'a str, &'a str)>,
    /// Report rules that overlap in part, too.
    pub overlaps: bool,
}

/// The outcome: the sources, their diagnostics, and their meaning if there is no error.
#[derive(Debug)]
pub struct Checked {
    pub sources: Sources,
    /// In source order.
    pub diagnostics: Vec<Diagnostic>,
    /// None: there is at least one error.
    pub program: Option<Program>,
    /// The program where nothing is wrong but that assertions do not hold: it is not to be run, but can be looked at.
    pub refuted: Option<Program>,
    /// The assertions that are proved, in source order.
    pub proofs: Vec<Proof>,
}

/// An assertion that is proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Where its claim stands, as `edge.chain:12:18`.
    pub source: SourceRef,
    /// `wan: tcp dst port 23 never reaches lan`
    pub text: String,
    /// The NFs whose rules it rests on.
    pub rests_on: Vec<String>,
}

/// A program without errors.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    /// The bundle's name.
    pub name: String,
    pub manager: ManagerConfig,
    pub flows: Flows,
    /// By instance name.
    pub instances: BTreeMap<String, InstanceConfig>,
    /// Values of the `param` declarations, in the source's notation.
    pub params: BTreeMap<String, String>,
    /// Names of the secrets that NFs are given at run time.
    pub secrets: Vec<String>,
    /// What `file("...")` named, by path in the bundle.
    pub files: BTreeMap<String, Vec<u8>>,
    /// In source order.
    pub tests: Vec<Test>,
    /// The requests of the command line.
    pub question: Option<Question>,
}

impl Program {
    /// The part that a comparison with another bundle uses.
    pub fn contents(&self) -> onvm_bundle::diff::Contents<'_> {
        onvm_bundle::diff::Contents {
            manager: &self.manager,
            flows: &self.flows,
            instances: &self.instances,
        }
    }
}

/// The filters of a program, as far as they are without errors, whatever is wrong elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Filtered {
    pub(crate) blocks: Vec<Block>,
    /// The place of each class's name, and its filter.
    pub(crate) classes: Vec<(Place, Expr)>,
}
