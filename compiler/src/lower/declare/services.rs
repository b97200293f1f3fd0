//! `nf` declarations.

use std::{collections::HashMap, rc::Rc};

use onvm_bundle::{
    Affinity, Instance, InstanceConfig, MAX_INSTANCES, MAX_SERVICES, ManagerConfig, ParamKind, Replicas,
    Restart, Run, Service, State,
};
use onvm_lang::syntax;

use super::{Table, domains, narrow, refusals, written::Written};
use crate::{
    diagnostics::{not_bypassable, service_id_taken, stateful_without_affinity, table_full},
    resolve::{
        manifests::NfType,
        spec::{Kind, Spec},
        values::{Settings, Values},
    },
    source::{
        context::Context,
        sources::{FileId, Place},
    },
};

/// An `nf` declaration whose type is known.
#[derive(Debug)]
pub(crate) struct Nf<'a> {
    pub(crate) name: &'a str,
    pub(crate) place: Place,
    pub(crate) ty: Rc<NfType>,
    /// None: its settings were refused, which is reported.
    pub(crate) built: Option<Built>,
    /// `sees = rewritten`: it is meant to read what NFs before it have written.
    pub(crate) sees_rewritten: bool,
    /// Packets go on without it while it is lost.
    pub(crate) bypass: bool,
}

/// The entry of the bundle; the id is given later.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) service: Service,
    pub(crate) configs: Vec<InstanceConfig>,
    pub(crate) pinned: Option<(u16, Place)>,
    /// Where `fuse` is given.
    pub(crate) fused: Option<Place>,
}

pub(crate) fn nf<'a>(
    cx: &Context<'_>,
    values: &Values<'_>,
    written: &Written<'_>,
    file: FileId,
    decl: &'a syntax::Nf,
    ty: Rc<NfType>,
) -> Nf<'a> {
    let name = decl.name.node.as_str();
    let place = cx.place(file, decl.name.span);
    let owner = format!("NF `{name}`");
    let params = values.parameters(
        file,
        &owner,
        place,
        decl.params.as_ref(),
        &ty.specs,
        Some((written, name)),
    );
    let config = InstanceConfig {
        instance: String::new(),
        service: name.to_owned(),
        params: params.values.clone(),
        manifest: ty.manifest.clone(),
    };
    refusals::report(cx, &values.assets.borrow(), &config, place, &params);
    let with = values.settings(
        file,
        &format!("`with` of {owner}"),
        place,
        decl.with.as_ref(),
        &with_specs(),
    );
    let replicas = replicas(&with);
    let affinity = match with.values.text("affinity").as_deref() {
        Some("none") => Affinity::None,
        _ => Affinity::Flow,
    };
    let kept = check_affinity(cx, name, &ty, replicas, affinity, &with) & check_bypass(cx, name, &ty, &with);
    let domain = domains::read(cx, &with).filter(|_| params.complete && with.complete && kept);
    let built = domain.map(|domain| {
        let mut built = build(cx, name, place, &ty, params, &with, replicas, affinity);
        built.service.domain = domain;
        built
    });
    Nf {
        name,
        place,
        ty,
        built,
        sees_rewritten: with.values.text("sees").as_deref() == Some("rewritten"),
        bypass: with.values.text("on_loss").as_deref() == Some("bypass"),
    }
}

/// The known part of an NF whose type is unknown: that has its own error, and may hide no others.
pub(crate) fn of_no_type(cx: &Context<'_>, values: &Values<'_>, file: FileId, decl: &syntax::Nf) {
    let place = cx.place(file, decl.name.span);
    for field in decl.params.iter().flat_map(|p| &p.fields) {
        values.look_at(file, &field.value);
    }
    let owner = format!("`with` of NF `{}`", decl.name.node);
    values.settings(file, &owner, place, decl.with.as_ref(), &with_specs());
}

pub(crate) fn with_specs() -> Vec<Spec> {
    let word = |name, doc, words| Spec::plain(name, ParamKind::Enum, doc).words(words);
    vec![
        Spec::new("replicas", Kind::IntOrRange, "instances").range(1, 1024),
        word("run", "how instances are run", &["process", "container"]),
        Spec::new("cores", Kind::CountOr("shared"), "cores of each instance").range(1, 1024),
        Spec::plain("numa", ParamKind::Int, "NUMA node").range(0, 1023),
        Spec::plain("memory", ParamKind::Size, "memory limit of each instance").range(1 << 20, i64::MAX),
        Spec::plain("service", ParamKind::Int, "the service id").range(1, 65_535),
        word(
            "affinity",
            "which packets meet the same instance",
            &["flow", "none"],
        ),
        word(
            "restart",
            "when a lost instance is started again",
            &["always", "on_failure", "never"],
        ),
        word(
            "on_loss",
            "what becomes of packets that find no instance",
            &["drop", "bypass"],
        ),
        word(
            "sees",
            "whether it is meant for packets as received, or as rewritten by NFs before it",
            &["original", "rewritten"],
        ),
        Spec::plain(
            "fuse",
            ParamKind::String,
            "the process that it shares with NFs of the same `fuse`",
        ),
        Spec::plain("image", ParamKind::String, "container image"),
        domains::spec(),
    ]
}

fn replicas(with: &Settings) -> Replicas {
    let whole = |value: &toml::Value| value.as_integer().map(|n| narrow(n.unsigned_abs()));
    let (min, max) = match with.values.get("replicas") {
        Some(toml::Value::Array(ends)) => (ends.first().and_then(whole), ends.last().and_then(whole)),
        one => (one.and_then(whole), one.and_then(whole)),
    };
    Replicas {
        min: min.unwrap_or(1),
        max: max.unwrap_or(1),
    }
}

fn check_affinity(
    cx: &Context<'_>,
    name: &str,
    ty: &NfType,
    replicas: Replicas,
    affinity: Affinity,
    with: &Settings,
) -> bool {
    let bad = ty.manifest.state != State::None && affinity == Affinity::None && replicas.max > 1;
    if let (true, Some(place)) = (bad, with.places.get("affinity")) {
        let nf_type = &ty.manifest.name;
        cx.report(stateful_without_affinity::stateful_without_affinity(
            *place, name, replicas, nf_type,
        ));
    }
    !bad
}

/// Whether packets may go around it, where that is asked for.
fn check_bypass(cx: &Context<'_>, name: &str, ty: &NfType, with: &Settings) -> bool {
    let bad = with.values.text("on_loss").as_deref() == Some("bypass") && !ty.manifest.bypassable;
    if let (true, Some(place)) = (bad, with.places.get("on_loss")) {
        cx.report(not_bypassable::not_bypassable(*place, name, &ty.manifest.name));
    }
    !bad
}

#[allow(clippy::too_many_arguments)]
fn build(
    cx: &Context<'_>,
    name: &str,
    place: Place,
    ty: &NfType,
    params: Settings,
    with: &Settings,
    replicas: Replicas,
    affinity: Affinity,
) -> Built {
    let mut manifest = ty.manifest.clone();
    if let Some(image) = with.values.text("image") {
        manifest.run.image = Some(image);
    }
    let memory = with.values.number("memory");
    let memory = memory.or_else(|| crate::resolve::spec::memory_bytes(&manifest.resources.memory));
    let instances = (0..replicas.max).map(|k| Instance {
        name: format!("{name}-{k}"),
        cores: with.values.number("cores").map(narrow),
        memory,
        numa: with.values.number("numa").map(narrow),
    });
    let service = Service {
        id: 0,
        name: name.to_owned(),
        nf_type: manifest.name.clone(),
        source: cx.sources.reference(place),
        run: if with.values.text("run").as_deref() == Some("container") {
            Run::Container
        } else {
            Run::Process
        },
        affinity,
        restart: match with.values.text("restart").as_deref() {
            Some("on_failure") => Restart::OnFailure,
            Some("never") => Restart::Never,
            _ => Restart::Always,
        },
        read_only: !manifest.effects.writes_packets(),
        domain: None,
        outputs: manifest.outputs.iter().map(|o| o.name.clone()).collect(),
        min_replicas: replicas.scales().then_some(replicas.min),
        fuse: with.values.text("fuse"),
        instances: instances.collect(),
    };
    let configs = service.instances.iter().map(|instance| InstanceConfig {
        instance: instance.name.clone(),
        service: name.to_owned(),
        params: params.values.clone(),
        manifest: manifest.clone(),
    });
    let configs = configs.collect();
    let pinned = with
        .values
        .number("service")
        .map(narrow)
        .zip(with.places.get("service").copied());
    Built {
        service,
        configs,
        pinned,
        fused: with.places.get("fuse").copied(),
    }
}

/// Gives every service its id: the pinned one, else the one that it had in the previous bundle, else the lowest that
/// is free.
pub(crate) fn number(cx: &Context<'_>, nfs: &mut [Nf<'_>], previous: Option<&ManagerConfig>) {
    let mut taken: HashMap<u16, Option<Place>> = HashMap::new();
    let mut instances = 0;
    for (at, nf) in nfs.iter_mut().enumerate() {
        let Some(built) = &mut nf.built else { continue };
        instances += built.service.instances.len();
        if at >= MAX_SERVICES {
            cx.report(table_full::table_full(nf.place, "services", at + 1, MAX_SERVICES));
        } else if instances > MAX_INSTANCES {
            cx.report(table_full::table_full(
                nf.place,
                "instances",
                instances,
                MAX_INSTANCES,
            ));
        }
        let Some((id, place)) = built.pinned else { continue };
        if let Some(Some(first)) = taken.insert(id, Some(place)) {
            cx.report(service_id_taken::service_id_taken(place, u64::from(id), first));
        }
        built.service.id = id;
    }
    let before: HashMap<&str, u16> = previous
        .iter()
        .flat_map(|m| &m.services)
        .map(|s| (s.name.as_str(), s.id))
        .collect();
    for nf in nfs
        .iter_mut()
        .filter_map(|nf| nf.built.as_mut())
        .filter(|b| b.service.id == 0)
    {
        if let Some(id) = before
            .get(nf.service.name.as_str())
            .filter(|id| !taken.contains_key(*id))
        {
            nf.service.id = *id;
            taken.insert(*id, None);
        }
    }
    let mut next = 1;
    for nf in nfs
        .iter_mut()
        .filter_map(|nf| nf.built.as_mut())
        .filter(|b| b.service.id == 0)
    {
        // Ids of services that are gone stay free for their return only as long as nobody else needs them.
        while taken.contains_key(&next) {
            next += 1;
        }
        nf.service.id = next;
        taken.insert(next, None);
    }
}
