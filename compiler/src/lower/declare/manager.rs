//! The `manager` block.

use onvm_bundle::{Buffers, HugePages, Idle, ManagerConfig, ParamKind, Workers};
use onvm_lang::syntax;

use super::{Table, narrow};
use crate::{
    diagnostics::{out_of_range, rings_and_buffers},
    resolve::{
        spec::{Kind, Spec},
        values::{Settings, Values},
    },
    source::{context::Context, sources::FileId},
};

pub(crate) const DEFAULT_MTU: u64 = 1500;
const DEFAULT_BUFFERS: u64 = 16_384;
const DEFAULT_RING: u64 = 4_096;
const DEFAULT_MAX_HOPS: u64 = 64;

/// The settings with their defaults; ports, services and chains are still empty.
pub(crate) fn manager(
    cx: &Context<'_>,
    values: &Values<'_>,
    block: Option<(FileId, &syntax::Manager)>,
) -> ManagerConfig {
    let file = block.map_or(FileId::MAIN, |(file, _)| file);
    let record = block.map(|(_, m)| &m.settings);
    let head = cx.place(file, record.map_or(syntax::Span::default(), |r| r.span));
    let read = values.settings(file, "`manager`", head, record, &specs());
    let number = |name: &str, default: u64| read.values.number(name).unwrap_or(default);
    let workers = number("workers", 1);
    let buffers = number("buffers", DEFAULT_BUFFERS);
    ManagerConfig {
        ring: narrow(ring(cx, &read, workers, buffers)),
        max_hops: narrow(number("max_hops", DEFAULT_MAX_HOPS)),
        hugepages: hugepages(cx, &read),
        idle: if read.values.text("idle").as_deref() == Some("spin") {
            Idle::Spin
        } else {
            Idle::Adaptive
        },
        backpressure: read.values.text("backpressure").as_deref() != Some("off"),
        workers: Workers {
            count: narrow(workers),
            receivers: narrow(number("receivers", 0)),
            cores: cores(&read.values),
        },
        buffers: Buffers {
            count: narrow(buffers),
            mtu: narrow(number("mtu", DEFAULT_MTU)),
        },
        ports: Vec::new(),
        services: Vec::new(),
        chains: Vec::new(),
    }
}

pub(crate) fn specs() -> Vec<Spec> {
    let int = |name, doc| Spec::plain(name, ParamKind::Int, doc);
    let word = |name, doc, words| Spec::plain(name, ParamKind::Enum, doc).words(words);
    vec![
        int("cores", "cores that the manager may use")
            .range(0, 4095)
            .list_if(true),
        int("workers", "worker threads").range(1, 64),
        int("receivers", "threads that only receive").range(0, 64),
        int("buffers", "packet buffers").range(512, 4_194_304),
        int("mtu", "largest layer-3 packet in bytes").range(68, 9216),
        Spec::new("hugepages", Kind::SizeOrWord, "`auto`, `off`, or the size of one").words(&["auto", "off"]),
        word(
            "idle",
            "behaviour of a worker without packets",
            &["adaptive", "spin"],
        ),
        word(
            "backpressure",
            "shed packets at ingress that would be dropped later",
            &["on", "off"],
        ),
        int("ring", "descriptors in each ring").range(64, 65_536),
        int("max_hops", "NF visits that one packet may make").range(1, 255),
    ]
}

/// Independent of the number of NFs, so that an edit which adds one does not change it.
fn ring(cx: &Context<'_>, read: &Settings, workers: u64, buffers: u64) -> u64 {
    let most = buffers / (4 * workers);
    let Some(ring) = read.values.number("ring") else {
        let fitting = if most == 0 { 0 } else { 1 << most.ilog2() };
        return fitting.clamp(64, DEFAULT_RING);
    };
    let place = read.places.get("ring").copied();
    if let Some(place) = place {
        if !ring.is_power_of_two() {
            let rule = "a power of two, from 64 to 65536";
            cx.report(out_of_range::malformed(place, "ring", &ring.to_string(), rule));
        } else if ring > most {
            cx.report(rings_and_buffers::rings_and_buffers(
                place, ring, workers, buffers,
            ));
        }
    }
    ring
}

fn hugepages(cx: &Context<'_>, read: &Settings) -> HugePages {
    match read.values.get("hugepages") {
        Some(toml::Value::Integer(size)) => {
            let sizes = [2 << 20, 1 << 30];
            if let (false, Some(place)) = (sizes.contains(size), read.places.get("hugepages")) {
                let text = format!("{size} bytes");
                cx.report(out_of_range::malformed(
                    *place,
                    "hugepages",
                    &text,
                    "`auto`, `off`, `2 MiB` or `1 GiB`",
                ));
            }
            HugePages::Size(u64::try_from(*size).unwrap_or(0))
        }
        Some(toml::Value::String(word)) if word == "off" => HugePages::Off,
        _ => HugePages::Auto,
    }
}

fn cores(values: &toml::Table) -> Vec<u16> {
    let listed = values.get("cores").and_then(|v| v.as_array());
    listed
        .into_iter()
        .flatten()
        .filter_map(|v| v.as_integer())
        .filter_map(|n| u16::try_from(n).ok())
        .collect()
}
