//! Flow entries that the NF puts in front of a port's rules.

use std::{
    ffi::{CString, c_char},
    time::Duration,
};

use nflib::flows::{FlowEntry, FlowMatch, FlowNews, Flows, FlowsError, Target};

use crate::{
    burst::{onvm_burst, with_packet},
    checked,
    counters::Kept,
    error::{Error, Result, onvm_status, status},
    params::{onvm_params, read},
    setup::onvm_setup,
};

/// The way to program flows, by `onvm_setup_flows`. Valid until `stop` has returned.
#[derive(Debug)]
pub struct onvm_flows {
    flows: Flows,
    /// Those that the operator permits, in the manager's order.
    targets: Vec<Target>,
}

/// An entry: packets of a flow, in both directions, that come in by the target's port enter the target's chain, in place of what
/// the port's rules say.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct onvm_flow_entry {
    /// As `onvm_param_target` has given it.
    pub target: u16,
    /// Of several entries that take a packet the one with the highest priority decides.
    pub priority: u16,
    /// Nanoseconds without a packet after which it ends, in steps of 1 ms; 0: it does not end thereby.
    pub idle: u64,
    /// Nanoseconds after which it ends, whatever comes; 0: it does not end thereby.
    pub hard: u64,
    /// The NF's own mark, which `onvmc flows` shows.
    pub cookie: u64,
    /// It stays when the last instance of the service has ended.
    pub keep: bool,
}

/// What has become of requests and entries. Over when `flow_news` returns.
#[repr(C)]
#[derive(Debug)]
pub struct onvm_flow_news {
    /// Every worker obeys the requests with numbers below this one, except for those that were refused.
    pub done: u64,
    /// How many requests were refused since the last call, and of the first of them its number and why.
    pub refused: usize,
    pub refused_number: u64,
    pub refused_why: *const c_char,
    /// How many entries have ended since the last call, and the packets and bytes that they took together.
    pub ended: usize,
    pub ended_packets: u64,
    pub ended_bytes: u64,
    /// News that were left out, since the instance did not read those before.
    pub missed: u64,
}

impl onvm_flow_news {
    pub(crate) fn with(news: &FlowNews, with: impl FnOnce(&Self)) {
        let first = news.refused.first();
        let why = first.map(|(_, why)| CString::new(why.as_str()).unwrap_or_default());
        with(&Self {
            done: news.done,
            refused: news.refused.len(),
            refused_number: first.map_or(0, |(number, _)| *number),
            refused_why: why.as_ref().map_or(std::ptr::null(), |why| why.as_ptr()),
            ended: news.ended.len(),
            ended_packets: news.ended.iter().map(|ended| ended.packets).sum(),
            ended_bytes: news.ended.iter().map(|ended| ended.bytes).sum(),
            missed: news.missed,
        });
    }
}

impl onvm_flows {
    pub(crate) fn make(setup: &mut nflib::Setup, kept: &mut Kept) -> *const Self {
        let targets = setup.params.targets().map(|(_, target)| target).collect();
        kept.keep(Self {
            flows: setup.flows(),
            targets,
        })
    }

    fn target(&self, number: u16) -> Result<Target> {
        self.targets.get(usize::from(number)).copied().ok_or_else(|| {
            let most = self.targets.len();
            Error::argument(format_args!(
                "target {number} is not one of the {most} that the NF may program: onvm_param_target gives them"
            ))
        })
    }
}

/// The target of flow entries of a port that lead to a chain, or to `drop`. Only what the operator's source permits (`allow NF to
/// program PORT`) can be named; the error says what that is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_param_target(
    params: *const onvm_params,
    port: *const c_char,
    chain: *const c_char,
    target: *mut u16,
) -> onvm_status {
    // SAFETY: the caller gives null or parameters of the callback under way, null or texts, and null or a place.
    unsafe {
        read(params, port, target, |params, port| {
            let chain = checked::text(chain, "chain")?;
            Ok(params.params.target(port, chain)?.index() as u16)
        })
    }
}

/// The way to program flows, where the manifest says `effects.programs`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_setup_flows(
    setup: *mut onvm_setup,
    flows: *mut *const onvm_flows,
) -> onvm_status {
    // SAFETY: the caller gives null or what `start` got, in it.
    let found = unsafe { checked::exclusive(setup, "setup") };
    status(found.and_then(|setup| {
        let (setup, kept) = setup.parts();
        let made = onvm_flows::make(setup, kept);
        // SAFETY: the caller gives null or a place for a pointer.
        unsafe { checked::give(flows, "flows", made) }
    }))
}

/// Adds an entry for the flow of a packet, by its headers as they are by now, or changes the one of the same port, flow and priority.
/// Leaves the request's number, from 0 on, in `number`, which may be null; `flow_news` says what has become of it. `ONVM_MISSING`:
/// the packet is of no flow (not IP, cut, fragments of IPv6). `ONVM_NO_ROOM`: 8192 requests wait; ask again with the flow's next
/// packet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_flows_put(
    flows: *const onvm_flows,
    burst: *const onvm_burst,
    n: u32,
    entry: *const onvm_flow_entry,
    number: *mut u64,
) -> onvm_status {
    // SAFETY: the caller gives null or flows of an NF that has not stopped, a burst's handle, an entry and a place, on its thread.
    let asked = unsafe {
        ask(flows, burst, n, number, |flows, matches| {
            let given = checked::reference(entry, "entry")?;
            let mut entry = FlowEntry::new(flows.target(given.target)?, matches)
                .priority(given.priority)
                .cookie(given.cookie);
            if given.idle > 0 {
                entry = entry.idle(Duration::from_nanos(given.idle));
            }
            if given.hard > 0 {
                entry = entry.hard(Duration::from_nanos(given.hard));
            }
            if given.keep {
                entry = entry.keep();
            }
            flows.flows.put(entry).map_err(full)
        })
    };
    status(asked)
}

/// Removes the entry for the flow of a packet with this priority from the port of the target, whichever target it has. See
/// `onvm_flows_put`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_flows_remove(
    flows: *const onvm_flows,
    burst: *const onvm_burst,
    n: u32,
    target: u16,
    priority: u16,
    number: *mut u64,
) -> onvm_status {
    // SAFETY: the caller gives null or flows of an NF that has not stopped, a burst's handle and a place, on its thread.
    let asked = unsafe {
        ask(flows, burst, n, number, |flows, matches| {
            let target = flows.target(target)?;
            flows.flows.remove(target, matches, priority).map_err(full)
        })
    };
    status(asked)
}

/// # Safety
/// As of [`with_packet`]; `flows` is null or of an NF that has not stopped, `number` null or valid for a write.
unsafe fn ask(
    flows: *const onvm_flows,
    burst: *const onvm_burst,
    n: u32,
    number: *mut u64,
    ask: impl FnOnce(&onvm_flows, FlowMatch) -> Result<u64>,
) -> Result<()> {
    // SAFETY: as the caller of this function promises.
    let flows = unsafe { checked::reference(flows, "flows") }?;
    // SAFETY: as the caller of this function promises.
    let key = unsafe { with_packet(burst, n, |packet| Ok(packet.flow())) }?;
    let key =
        key.ok_or_else(|| Error::new(onvm_status::ONVM_MISSING, "the packet does not belong to a flow"))?;
    let asked = ask(flows, FlowMatch::BothWays(key))?;
    if !number.is_null() {
        // SAFETY: as the caller of this function promises.
        unsafe { number.write(asked) };
    }
    Ok(())
}

fn full(e: FlowsError) -> Error {
    Error::new(onvm_status::ONVM_NO_ROOM, e)
}
