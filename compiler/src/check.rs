//! From sources to the contents of a bundle: every check, in order.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashSet},
    path::Path,
};

use onvm_bundle::{Chain, Flows, ManagerConfig, Service, filter::Expr};
use onvm_lang::{
    Severity,
    syntax::{self, DeclKind},
};

use crate::{
    diagnostics::{duplicate_name, empty_program, no_steer},
    lower::{
        chains::{Graph, Permits},
        claims::{Assertion, Claims},
        declare::{
            domains, fused, manager, ports, services,
            written::{RuleSet, Written},
        },
        filter::Filters,
        steering::Steering,
    },
    placement::check_cores,
    program::{Checked, Filtered, Inputs, Program, Proof},
    proofs::{self, Proved},
    resolve::{
        manifests::NfTypes,
        names::Names,
        notation::notation,
        overrides::{Overrides, add_command_line, input_spec, refuse_record},
        values::{Values, What},
    },
    scenarios::Test,
    source::{
        context::{Context, in_order},
        host::{Host, clean},
        load::{Loaded, Trees, Unit, load},
        sources::{FILTER, FileId, Place},
    },
    traffic::Question,
};

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
        let (program, proved) = analyse(&cx, &loaded, command_line, inputs, keep);
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

/// The phases, in order: each takes what the ones before it have made.
fn analyse<'a>(
    cx: &'a Context<'a>,
    loaded: &'a Loaded,
    command_line: Option<FileId>,
    inputs: &'a Inputs<'a>,
    keep: Option<&mut Filtered>,
) -> (Option<Program>, Vec<Proved>) {
    let units = &loaded.units;
    if units.iter().all(|u| u.tree.decls.is_empty()) {
        cx.report(empty_program::empty_program(
            cx.place(FileId::MAIN, syntax::Span::default()),
        ));
        return (None, Vec::new());
    }
    let names = Names::collect(cx, units);
    let overrides = Overrides::read(cx, &names, units, command_line, inputs.set);
    let values = Values::new(cx, &names, &overrides);
    let filters = Filters {
        cx,
        names: &names,
        values: &values,
        oversized: Cell::default(),
    };
    let scope = Scope {
        cx,
        loaded,
        inputs,
        names: &names,
        values: &values,
        filters: &filters,
    };
    let declared = declare(scope);
    let graph = Graph::new(cx, &names, &declared.nfs);
    graph.check_declarations(&declarations!(units, Chain).collect::<Vec<_>>());
    let permits = Permits::collect(&graph, &declarations!(units, Allow).collect::<Vec<_>>());
    let lowered = lower(scope, &declared, &graph, &permits);
    let proved = prove(scope, &declared, &lowered);
    names.report_unused(cx);
    if let Some(keep) = keep {
        keep.blocks = lowered.steering.blocks.clone();
        keep.classes.clone_from(&declared.classes);
    }
    if cx.is_broken() {
        return (None, proved);
    }
    let tables = lowered.finish();
    (Some(assemble(scope, declared, tables)), proved)
}

/// What every phase asks.
#[derive(Clone, Copy)]
struct Scope<'a> {
    cx: &'a Context<'a>,
    loaded: &'a Loaded,
    inputs: &'a Inputs<'a>,
    names: &'a Names<'a>,
    values: &'a Values<'a>,
    filters: &'a Filters<'a>,
}

/// What is declared, each for itself.
struct Declared<'a> {
    /// The inputs' values.
    params: BTreeMap<String, String>,
    /// The place of each class's name, and its filter.
    classes: Vec<(Place, Expr)>,
    /// Without chains and services.
    config: ManagerConfig,
    nfs: Vec<services::Nf<'a>>,
    /// The rules that parameters of NFs hold.
    rule_sets: Vec<RuleSet>,
}

/// Where packets go, and what is claimed of that.
struct Lowered<'g, 'a> {
    steering: Steering<'g, 'a>,
    claims: Vec<Assertion<'a>>,
    tests: Vec<Test>,
    question: Option<Question>,
}

/// The same as the bundle has it.
struct InBundle {
    flows: Flows,
    chains: Vec<Chain>,
    tests: Vec<Test>,
    question: Option<Question>,
}

/// Constants, classes, the `manager` block, ports and NFs.
fn declare<'a>(scope: Scope<'a>) -> Declared<'a> {
    let Scope { cx, values, .. } = scope;
    let units = &scope.loaded.units;
    let params = constants(cx, values, units);
    let classes: Vec<_> = declarations!(units, Class)
        .filter_map(|(file, class)| {
            Some((
                cx.place(file, class.name.span),
                scope.filters.lower(file, &class.filter)?,
            ))
        })
        .collect();
    let mut config = manager_block(cx, values, units);
    config.ports = ports::all(cx, values, declarations!(units, Port), &config);
    let written = Written {
        filters: scope.filters,
        files: &scope.loaded.rules,
        found: RefCell::default(),
    };
    let types = NfTypes::collect(units, &scope.loaded.manifests);
    let mut nfs: Vec<services::Nf<'a>> = declarations!(units, Nf)
        .filter_map(|(file, nf)| {
            let Some(ty) = types.get(cx, scope.names, file, &nf.ty) else {
                services::of_no_type(cx, values, file, nf);
                return None;
            };
            Some(services::nf(cx, values, &written, file, nf, ty))
        })
        .collect();
    services::number(cx, &mut nfs, scope.inputs.previous);
    fused::check(cx, &values.assets.borrow(), &nfs);
    let port_places: BTreeMap<&str, Place> = declarations!(units, Port)
        .map(|(file, port)| (port.name.node.as_str(), cx.place(file, port.name.span)))
        .collect();
    let port_domains = config
        .ports
        .iter()
        .filter_map(|port| Some((port.domain.as_deref(), *port_places.get(port.name.as_str())?)));
    let nf_domains = nfs
        .iter()
        .filter_map(|nf| Some((nf.built.as_ref()?.service.domain.as_deref(), nf.place)));
    domains::count(cx, port_domains.chain(nf_domains));
    let built: Vec<&Service> = nfs
        .iter()
        .filter_map(|nf| nf.built.as_ref())
        .map(|b| &b.service)
        .collect();
    check_cores(cx, &config, &built, declarations!(units, Manager).next());
    Declared {
        params,
        classes,
        config,
        nfs,
        rule_sets: written.found.into_inner(),
    }
}

/// Chains and `steer` blocks become tables; the names in claims and tests are looked up.
fn lower<'g, 'a>(
    scope: Scope<'a>,
    declared: &Declared<'_>,
    graph: &'g Graph<'a>,
    permits: &'g Permits<'a>,
) -> Lowered<'g, 'a> {
    let Scope { cx, filters, .. } = scope;
    let units = &scope.loaded.units;
    let mut steering = Steering::new(
        graph,
        permits,
        filters,
        &declared.config,
        ports_open_to_tags(units),
    );
    for (file, steer) in declarations!(units, Steer) {
        steering.block(file, steer);
    }
    for (file, allow) in declarations!(units, Allow) {
        steering.program(file, allow);
    }
    let (mut claims, tests) = Claims { graph, filters }.check(units);
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
    Lowered {
        steering,
        claims,
        tests,
        question,
    }
}

impl Lowered<'_, '_> {
    fn finish(self) -> InBundle {
        let (flows, chains) = self.steering.finish();
        InBundle {
            flows,
            chains,
            tests: self.tests,
            question: self.question,
        }
    }
}

/// Returns the assertions that are proved.
fn prove(scope: Scope<'_>, declared: &Declared<'_>, lowered: &Lowered<'_, '_>) -> Vec<Proved> {
    let Scope { cx, values, .. } = scope;
    let steering = &lowered.steering;
    // A chain that was read in part goes other ways than it is to go.
    let chains_damaged = chain_places(cx, &scope.loaded.units).any(|place| cx.is_damaged(place));
    let judged = if chains_damaged {
        &[]
    } else {
        lowered.claims.as_slice()
    };
    proofs::check_rule_sets(cx, &declared.rule_sets);
    // Reading their parameters again takes its time.
    let models = match judged.is_empty() && !steering.has_live_ports() {
        true => proofs::Models::default(),
        false => proofs::Models::new(&declared.nfs, &values.assets.borrow().files),
    };
    let overlaps = scope.inputs.overlaps;
    proofs::check(cx, &declared.classes, steering, judged, &models, overlaps)
}

/// The contents of the bundle, without its name.
fn assemble(scope: Scope<'_>, declared: Declared<'_>, tables: InBundle) -> Program {
    let mut config = declared.config;
    config.chains = tables.chains;
    report_unsteered(scope.cx, scope.names, &config, &tables.flows);
    let assets = scope.values.assets.take();
    let mut instances = BTreeMap::new();
    for built in declared.nfs.into_iter().filter_map(|nf| nf.built) {
        config.services.push(built.service);
        instances.extend(built.configs.into_iter().map(|c| (c.instance.clone(), c)));
    }
    Program {
        name: String::new(),
        manager: config,
        flows: tables.flows,
        instances,
        params: declared.params,
        secrets: assets.secrets.into_iter().collect(),
        files: assets.files,
        tests: tables.tests,
        question: tables.question,
    }
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
