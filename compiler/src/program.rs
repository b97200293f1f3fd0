//! From sources to the contents of a bundle: every check, in order.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
};

use onvm_bundle::{Flows, InstanceConfig, ManagerConfig, Service, SourceRef, filter::Expr};
use onvm_lang::{
    Diagnostic, Severity,
    syntax::{self, DeclKind},
};

use crate::{
    chains::{Graph, Permits},
    claims::Claims,
    context::{Context, in_order},
    declare::{effects, manager, ports, services, written::Written},
    diagnostics::{duplicate_name, empty_program, no_steer},
    filter::Filters,
    host::{Host, clean},
    load::{Trees, Unit, load},
    manifests::NfTypes,
    names::Names,
    notation::notation,
    overrides::{Overrides, add_command_line, input_spec, refuse_record},
    placement::check_cores,
    proofs,
    scenarios::Test,
    sources::{FILTER, FileId, Place, Sources},
    steering::{Block, Steering},
    traffic::Question,
    values::{Values, What},
};

/// What a compilation starts from.
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
    /// Tell which rules overlap in part, too.
    pub overlaps: bool,
}

/// The outcome: the sources, what is to be said of them, and what they mean if nothing is wrong with them.
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
    /// What the command line asks.
    pub question: Option<Question>,
}

impl Program {
    /// What a comparison with another bundle looks at.
    pub fn contents(&self) -> onvm_bundle::diff::Contents<'_> {
        onvm_bundle::diff::Contents {
            manager: &self.manager,
            flows: &self.flows,
            instances: &self.instances,
        }
    }
}

/// Checks the program whose main file is `main`.
///
/// # Errors
/// When the main file cannot be read. Everything else is a diagnostic.
pub fn check(host: &dyn Host, main: &Path, inputs: &Inputs<'_>) -> std::io::Result<Checked> {
    check_and_keep(host, main, inputs, None).map(|(checked, _)| checked)
}

/// The same, with what an editor asks of besides.
pub(crate) fn check_for_editor(
    host: &dyn Host,
    main: &Path,
    inputs: &Inputs<'_>,
) -> std::io::Result<(Checked, Trees, Filtered)> {
    let mut filtered = Filtered::default();
    let (checked, trees) = check_and_keep(host, main, inputs, Some(&mut filtered))?;
    Ok((checked, trees, filtered))
}

/// The filters of a program, as far as they are without errors, whatever is wrong elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Filtered {
    pub(crate) blocks: Vec<Block>,
    /// The place of each class's name, and its filter.
    pub(crate) classes: Vec<(Place, Expr)>,
}

fn check_and_keep(
    host: &dyn Host,
    main: &Path,
    inputs: &Inputs<'_>,
    keep: Option<&mut Filtered>,
) -> std::io::Result<(Checked, Trees)> {
    let mut loaded = load(host, main)?;
    if let Some((port, packet)) = inputs.packet {
        loaded.add_packet(port, packet);
    }
    if let Some((port, filter)) = inputs.question {
        loaded.add_question(port, filter);
    }
    let command_line = add_command_line(&mut loaded.sources, inputs.set);
    let root = clean(main).parent().unwrap_or(Path::new("")).to_path_buf();
    loaded.add_rules(host, &root, command_line, inputs.set);
    let found = std::mem::take(&mut loaded.found);
    let (found, program) = {
        let cx = Context::new(&loaded.sources, host, found);
        let mut proved = Vec::new();
        let program = analyse(&cx, &loaded, command_line, inputs, (keep, &mut proved));
        let program = (program.filter(|_| !cx.is_broken()), proved);
        (cx.into_found(), program)
    };
    let diagnostics = in_order(&mut loaded.sources, found);
    let (program, proved) = program;
    let sources = &loaded.sources;
    let proofs = proved.into_iter().map(|p| Proof {
        source: sources.reference(p.place),
        text: p.text,
        rests_on: p.rests_on.into_iter().collect(),
    });
    let proofs = proofs.collect();
    let program = program.map(|p| Program {
        name: bundle_name(main, inputs.name),
        ..p
    });
    let clean = !diagnostics.iter().any(|d| d.severity == Severity::Error);
    let (program, refuted) = if clean { (program, None) } else { (None, program) };
    debug_assert!(program.is_some() || diagnostics.iter().any(|d| d.severity == Severity::Error));
    let checked = Checked {
        sources: loaded.sources,
        diagnostics,
        program,
        refuted,
        proofs,
    };
    let rules = loaded.rules.into_values().filter_map(Result::ok);
    let rules = rules.map(|read| Unit {
        file: read.file,
        tree: syntax::File::default(),
        rules: read.rules,
    });
    let trees = Trees {
        units: loaded.units.into_iter().chain(rules).collect(),
        manifests: loaded.manifests,
    };
    Ok((checked, trees))
}

/// The declarations of one kind, of all files in order.
fn all<'a, T: 'a>(
    units: &'a [Unit],
    pick: impl Fn(&'a DeclKind) -> Option<&'a T> + 'a,
) -> impl Iterator<Item = (FileId, &'a T)> {
    units.iter().flat_map(move |unit| {
        let decls = unit.tree.decls.iter();
        let picked: Vec<_> = decls
            .filter_map(|d| pick(&d.kind.node))
            .map(|d| (unit.file, d))
            .collect();
        picked
    })
}

macro_rules! declarations {
    ($units:expr, $kind:ident) => {
        all($units, |d| match d {
            DeclKind::$kind(d) => Some(d),
            _ => None,
        })
    };
}

fn analyse(
    cx: &Context<'_>,
    loaded: &crate::load::Loaded,
    command_line: Option<FileId>,
    inputs: &Inputs<'_>,
    (keep, proved): (Option<&mut Filtered>, &mut Vec<proofs::Proved>),
) -> Option<Program> {
    let units = &loaded.units;
    if units.iter().all(|u| u.tree.decls.is_empty()) {
        cx.report(empty_program::empty_program(
            cx.place(FileId::MAIN, syntax::Span::default()),
        ));
        return None;
    }
    let names = Names::collect(cx, units);
    let overrides = Overrides::read(cx, &names, units, command_line, inputs.set);
    let values = Values::new(cx, &names, &overrides);
    let params = constants(cx, &values, units);
    let filters = Filters {
        cx,
        names: &names,
        values: &values,
        oversized: std::cell::Cell::default(),
    };
    let classes: Vec<_> = declarations!(units, Class)
        .filter_map(|(file, class)| {
            Some((
                cx.place(file, class.name.span),
                filters.lower(file, &class.filter)?,
            ))
        })
        .collect();
    let mut config = manager_block(cx, &values, units);
    config.ports = ports::all(cx, &values, declarations!(units, Port), &config);
    let written = Written {
        filters: &filters,
        files: &loaded.rules,
        found: std::cell::RefCell::default(),
    };
    let types = NfTypes::collect(&loaded.units, &loaded.manifests);
    let mut nfs: Vec<services::Nf<'_>> = declarations!(units, Nf)
        .filter_map(|(file, nf)| {
            let Some(ty) = types.get(cx, &names, file, &nf.ty) else {
                services::of_no_type(cx, &values, file, nf);
                return None;
            };
            Some(services::nf(cx, &values, &written, file, nf, ty))
        })
        .collect();
    services::number(cx, &mut nfs, inputs.previous);
    let built: Vec<&Service> = nfs
        .iter()
        .filter_map(|nf| nf.built.as_ref())
        .map(|b| &b.service)
        .collect();
    let fits = check_cores(cx, &config, &built, declarations!(units, Manager).next());
    let idle = nfs.iter().flat_map(|nf| nf.idle.iter().copied());
    // Cores that there are not need no word on what is done with them.
    let mut idle: Vec<effects::Idle> = idle.filter(|i| fits || !i.is_cores()).collect();
    idle.extend(declarations!(units, Allow).filter_map(|(file, allow)| effects::of_allow(cx, file, allow)));
    effects::report(cx, &idle);
    let graph = Graph::new(cx, &names, &nfs);
    graph.check_declarations(&declarations!(units, Chain).collect::<Vec<_>>());
    let permits = Permits::collect(&graph, &declarations!(units, Allow).collect::<Vec<_>>());
    let mut steering = Steering::new(&graph, &permits, &filters, &config, ports_open_to_tags(units));
    for (file, steer) in declarations!(units, Steer) {
        steering.block(file, steer);
    }
    let (mut claims, tests) = Claims {
        graph: &graph,
        filters: &filters,
    }
    .check(units);
    for claim in &mut claims {
        claim.filter = steering.as_seen(
            claim.port,
            std::mem::replace(&mut claim.filter, Expr::Const(false)),
        );
    }
    // The last one, unless it could not be read.
    let asked = claims.pop_if(|claim| cx.sources.reference(claim.place).0.starts_with(FILTER));
    let question = asked.map(|asked| Question {
        port: asked.port.to_owned(),
        filter: asked.filter,
    });
    // A chain that was read in part goes other ways than it is to go.
    let chains_damaged = chain_places(cx, units).any(|place| cx.is_damaged(place));
    let judged = if chains_damaged { &[] } else { claims.as_slice() };
    proofs::check_rule_sets(cx, &written.found.borrow());
    // Reading their parameters again takes its time.
    let models = match judged.is_empty() && !steering.has_live_ports() {
        true => proofs::Models::default(),
        false => proofs::Models::new(&nfs, &values.assets.borrow().files),
    };
    *proved = proofs::check(cx, &classes, &steering, judged, &models, inputs.overlaps);
    names.report_unused(cx);
    if let Some(keep) = keep {
        keep.blocks = steering.blocks.clone();
        keep.classes = classes;
    }
    if cx.is_broken() {
        return None;
    }
    let (flows, chains) = steering.finish();
    config.chains = chains;
    report_unsteered(cx, &names, &config, &flows);
    let assets = values.assets.take();
    let mut instances = BTreeMap::new();
    for built in nfs.into_iter().filter_map(|nf| nf.built) {
        config.services.push(built.service);
        instances.extend(built.configs.into_iter().map(|c| (c.instance.clone(), c)));
    }
    let secrets = assets.secrets.into_iter().collect();
    Some(Program {
        name: String::new(),
        manager: config,
        flows,
        instances,
        params,
        secrets,
        files: assets.files,
        tests,
        question,
    })
}

/// Ports that may carry VLAN tags and do not say how filters are to take them.
fn ports_open_to_tags(units: &[Unit]) -> HashSet<&str> {
    let ports = declarations!(units, Port).map(|(_, port)| port);
    let open = ports.filter(|port| {
        let says = port
            .config
            .as_ref()
            .is_some_and(|config| config.get("tags").is_some());
        port.kind.node != "null" && !says
    });
    open.map(|port| port.name.node.as_str()).collect()
}

/// Where the chains are declared.
fn chain_places<'a>(cx: &'a Context<'_>, units: &'a [Unit]) -> impl Iterator<Item = Place> + 'a {
    units.iter().flat_map(move |unit| {
        let chains = unit
            .tree
            .decls
            .iter()
            .filter(|d| matches!(d.kind.node, DeclKind::Chain(_)));
        chains.map(move |d| cx.place(unit.file, d.kind.span))
    })
}

/// Warns of ports whose packets go nowhere. One that nothing names at all is reported as unused already.
fn report_unsteered(cx: &Context<'_>, names: &Names<'_>, config: &ManagerConfig, flows: &Flows) {
    let steered = |port: &str| flows.tables.iter().any(|t| t.port == port);
    let lost = config
        .ports
        .iter()
        .filter(|p| p.kind.receives() && names.is_used(&p.name) && !steered(&p.name));
    for port in lost {
        if let Some(declared) = names.declared(&port.name) {
            cx.report(no_steer::no_steer(declared.place, &port.name));
        }
    }
}

/// Reads every `let` and `param`, used or not; returns the inputs' values.
fn constants(cx: &Context<'_>, values: &Values<'_>, units: &[Unit]) -> BTreeMap<String, String> {
    for (file, binding) in declarations!(units, Let) {
        refuse_record(cx, file, &binding.name.node, &binding.value);
        values.follow(file, &binding.value);
    }
    let mut params = BTreeMap::new();
    for (file, param) in declarations!(units, Param) {
        let spec = input_spec(cx, file, param);
        let name = &param.name.node;
        let Some(given) = values
            .written(name)
            .and_then(|(file, value)| values.follow(file, value))
        else {
            continue;
        };
        if let Some(spec) = spec {
            values.check_input(name, &spec, &given);
        }
        params.insert(name.clone(), text(&given.what));
    }
    params
}

fn text(what: &What) -> String {
    match what {
        What::One(value) => notation(value),
        What::List(items) => format!(
            "[{}]",
            items.iter().map(|i| text(&i.what)).collect::<Vec<_>>().join(", ")
        ),
    }
}

fn manager_block(cx: &Context<'_>, values: &Values<'_>, units: &[Unit]) -> ManagerConfig {
    let blocks: Vec<(FileId, &syntax::Manager)> = declarations!(units, Manager).collect();
    let place = |(file, block): &(FileId, &syntax::Manager)| cx.place(*file, block.settings.span);
    if let Some(first) = blocks.first() {
        for again in &blocks[1..] {
            cx.report(duplicate_name::duplicate_name(
                place(again),
                "manager",
                place(first),
            ));
        }
    }
    manager::manager(cx, values, blocks.first().copied())
}

/// The main file's name without its ending, in characters that suit a directory and a socket path.
fn bundle_name(main: &Path, given: Option<&str>) -> String {
    if let Some(given) = given {
        return given.to_owned();
    }
    let stem = main
        .file_stem()
        .map_or_else(String::new, |s| s.to_string_lossy().into_owned());
    let safe = |c: char| {
        if c.is_ascii_alphanumeric() || "-_".contains(c) {
            c
        } else {
            '_'
        }
    };
    let name: String = stem.chars().map(safe).take(64).collect();
    if name.is_empty() {
        "bundle".to_owned()
    } else {
        name
    }
}
