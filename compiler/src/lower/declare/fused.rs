//! NFs that are to share a process.

use std::collections::HashMap;

use onvm_bundle::{Bulk, MAX_COUNTERS, MAX_FUSED, Unfit};

use super::services::{Built, Nf};
use crate::{
    diagnostics::cannot_be_fused::{cannot_be_fused, fused_unlike},
    interpret::of_instance,
    resolve::assets::Assets,
    source::{context::Context, sources::Place},
};

/// Refuses those that cannot.
pub(crate) fn check(cx: &Context<'_>, assets: &Assets, nfs: &[Nf<'_>]) {
    let mut groups: HashMap<&str, Vec<(&Built, Place)>> = HashMap::new();
    let mut taken: HashMap<&str, Bulk> = HashMap::new();
    for nf in nfs {
        let Some(built) = &nf.built else { continue };
        let Some((name, place)) = built.service.fuse.as_deref().zip(built.fused) else {
            continue;
        };
        if let Some((why, help)) = unfit(built) {
            cx.report(cannot_be_fused(place, nf.name, why, help));
            continue;
        }
        refuse_excess(
            cx,
            assets,
            nf.name,
            (built, place),
            taken.entry(name).or_default(),
        );
        let group = groups.entry(name).or_default();
        match group.as_slice() {
            [] => refuse_name(cx, nfs, nf.name, name, place),
            [first, ..] => compare(cx, *first, (built, place)),
        }
        group.push((built, place));
        if group.len() == MAX_FUSED + 1 {
            let why = format!("{MAX_FUSED} NFs share `{name}` already");
            cx.report(cannot_be_fused(
                place,
                nf.name,
                &why,
                "give some of them another `fuse`",
            ));
        }
    }
}

/// Reports an NF for which there is no room in its process, in which others take so much before it.
fn refuse_excess(
    cx: &Context<'_>,
    assets: &Assets,
    nf: &str,
    (built, place): (&Built, Place),
    taken: &mut Bulk,
) {
    let Some(config) = built.configs.first() else {
        return;
    };
    let least: Bulk = [*taken, Bulk::of(config)].into_iter().sum();
    if let Some((number, what, most)) = least.excess() {
        let why = format!("the process would have {number} {what}, and may have {most}");
        cx.report(cannot_be_fused(
            place,
            nf,
            &why,
            "give some of its NFs another `fuse`",
        ));
        return;
    }
    // A standard NF with many rules takes what is left, and has the rest of them share a counter.
    let wanted = of_instance(config, &assets.files)
        .and_then(|(nf, params)| Some((nf.bench)(params).ok()?.counters().len()))
        .map_or(least.counters, |own| taken.counters + own);
    *taken = Bulk {
        counters: wanted.clamp(least.counters, MAX_COUNTERS),
        ..least
    };
}

/// Why an NF needs a process of its own, and what to do about it.
fn unfit(built: &Built) -> Option<(&'static str, &'static str)> {
    let unfit = built.service.unfit_to_fuse(&built.configs.first()?.manifest)?;
    let leave_out = "leave `fuse` out: it needs a process of its own";
    Some(match unfit {
        Unfit::Program => (
            "its program runs one NF in a process",
            "leave `fuse` out; a program that offers several NFs says `fuses = true` in their manifests",
        ),
        Unfit::Generates => ("it makes packets", leave_out),
        Unfit::Programs => ("it programs flows", leave_out),
        Unfit::Scales => (
            "its number changes while it runs",
            "give it a fixed number of `replicas`, or leave `fuse` out",
        ),
    })
}

/// The process is shown by its name, as NFs are.
fn refuse_name(cx: &Context<'_>, nfs: &[Nf<'_>], nf: &str, name: &str, place: Place) {
    let help = "give the process a name of its own: letters, digits and `_`";
    if !onvm_lang::is_name(name) {
        cx.report(cannot_be_fused(place, nf, &format!("{name:?} is no name"), help));
    } else if nfs.iter().any(|nf| nf.name == name) {
        let why = format!("`{name}` is the name of an NF");
        cx.report(cannot_be_fused(place, nf, &why, help));
    }
}

fn compare(cx: &Context<'_>, (first, at): (&Built, Place), (other, here): (&Built, Place)) {
    let program = |built: &Built| {
        built
            .configs
            .first()
            .map(|config| config.manifest.run.binary.clone())
    };
    let unlike = first.service.unlike(&other.service);
    let unlike = unlike
        .map(|(what, a, b)| (format!("`{what}`"), a, b))
        .or_else(|| {
            let (a, b) = (program(first)?, program(other)?);
            (a != b).then_some(("the program".to_owned(), a, b))
        });
    if let Some((what, a, b)) = unlike {
        let first = (first.service.name.as_str(), a, at);
        cx.report(fused_unlike(first, (&other.service.name, b, here), &what));
    }
}
