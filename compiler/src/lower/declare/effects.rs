//! Settings that the runtime of this version does not act on: said once each, so that nobody relies on them.

use super::Table;
use crate::{
    diagnostics::no_effect_yet::no_effect_yet,
    resolve::values::Settings,
    source::{context::Context, sources::Place},
};

/// A setting without effect, and where it is given.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Idle {
    setting: Setting,
    place: Place,
}

/// In the order in which they are reported, and once each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Setting {
    Run,
    Domain,
}

impl Setting {
    const ALL: [Self; 2] = [Self::Run, Self::Domain];

    /// The missing effect, and the actual behaviour.
    fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::Run => (
                "`run = container` has no effect",
                "`onvm-run` starts processes. For containers, start it with `--nfs external`, and the containers with the \
                 bundle's compose.yaml",
            ),
            Self::Domain => (
                "`domain` separates no NFs",
                "all NFs share one packet memory, and `onvm-run` refuses NFs of different domains; leave it out, or run them \
                 under managers of their own",
            ),
        }
    }
}

pub(crate) fn of_nf(with: &Settings) -> Vec<Idle> {
    let given = [
        (
            Setting::Run,
            "run",
            with.values.text("run").as_deref() == Some("container"),
        ),
        (Setting::Domain, "domain", with.values.text("domain").is_some()),
    ];
    placed(with, &given)
}

fn placed(read: &Settings, given: &[(Setting, &str, bool)]) -> Vec<Idle> {
    let idle = given.iter().filter(|(_, _, idle)| *idle);
    idle.filter_map(|(setting, name, _)| {
        let (setting, place) = (*setting, *read.places.get(*name)?);
        Some(Idle { setting, place })
    })
    .collect()
}

pub(crate) fn report(cx: &Context<'_>, idle: &[Idle]) {
    for setting in Setting::ALL {
        let mut places = idle.iter().filter(|i| i.setting == setting).map(|i| i.place);
        if let Some(first) = places.next() {
            let (what, instead) = setting.texts();
            cx.report(no_effect_yet(first, what, instead, 1 + places.count()));
        }
    }
}
