//! What an NF gets at its start.

use std::{
    ffi::{CString, c_char},
    time::Duration,
};

use nflib::Setup;

use crate::{
    checked,
    counters::{Kept, onvm_counter, onvm_gauge, onvm_histogram},
    error::{Result, onvm_status, status},
    messages::onvm_peers,
    params::onvm_params,
};

/// The start-up data of an NF. Over when `start` returns.
#[derive(Debug)]
pub struct onvm_setup {
    /// Of the `start` that is under way.
    setup: *mut Setup,
    instance: CString,
    params: onvm_params,
    kept: Kept,
}

impl onvm_setup {
    pub(crate) fn new(setup: &mut Setup) -> Self {
        Self {
            instance: CString::new(setup.instance()).unwrap_or_default(),
            params: onvm_params::new(setup.params.clone()),
            kept: Kept::default(),
            setup,
        }
    }

    pub(crate) fn into_kept(self) -> Kept {
        self.kept
    }

    /// Both halves of what a new counter needs.
    pub(crate) fn parts(&mut self) -> (&mut Setup, &mut Kept) {
        // SAFETY: it was made of a reference that is borrowed to the `start` under way, in which alone there is a value of this type;
        // `&mut self` is the only way to it.
        (unsafe { &mut *self.setup }, &mut self.kept)
    }
}

/// The instance's name, e.g. `fw-0`. Valid until `start` returns; null of null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_setup_instance(setup: *const onvm_setup) -> *const c_char {
    // SAFETY: the caller gives null or what `start` got, in it.
    unsafe { checked::reference(setup, "setup") }.map_or(std::ptr::null(), |setup| setup.instance.as_ptr())
}

/// The parameters. Valid until `start` returns; null of null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_setup_params(setup: *const onvm_setup) -> *const onvm_params {
    // SAFETY: the caller gives null or what `start` got, in it.
    unsafe { checked::reference(setup, "setup") }.map_or(std::ptr::null(), |setup| &raw const setup.params)
}

/// The time, in nanoseconds, as `onvm_burst_now` gives it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_setup_now(setup: *mut onvm_setup) -> u64 {
    // SAFETY: the caller gives null or what `start` got, in it.
    unsafe { checked::exclusive(setup, "setup") }.map_or(0, |setup| setup.parts().0.now().as_nanos())
}

/// Asks for `tick` about every so many nanoseconds; without it there are no ticks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_tick_every(setup: *mut onvm_setup, period: u64) -> onvm_status {
    // SAFETY: the caller gives null or what `start` got, in it.
    let setup = unsafe { checked::exclusive(setup, "setup") };
    status(setup.map(|setup| setup.parts().0.tick_every(Duration::from_nanos(period))))
}

/// Makes a counter, which `onvmc status` and `/metrics` show under this name: at most 256 bytes without control characters. There is
/// room for 4096 counters and gauges (`ONVM_NO_ROOM`).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_counter_new(
    setup: *mut onvm_setup,
    name: *const c_char,
    counter: *mut *const onvm_counter,
) -> onvm_status {
    // SAFETY: the caller gives null or what `start` got, in it, null or a text, and null or a place for a pointer.
    status(unsafe {
        make(setup, name, counter, |setup, kept, name| {
            Ok(kept.keep(onvm_counter(setup.counter(name)?)))
        })
    })
}

/// Makes a gauge, which is shown as counters are and takes the room of one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_gauge_new(
    setup: *mut onvm_setup,
    name: *const c_char,
    gauge: *mut *const onvm_gauge,
) -> onvm_status {
    // SAFETY: the caller gives null or what `start` got, in it, null or a text, and null or a place for a pointer.
    status(unsafe {
        make(setup, name, gauge, |setup, kept, name| {
            Ok(kept.keep(onvm_gauge(setup.gauge(name)?)))
        })
    })
}

/// Makes a histogram of the values up to each of the bounds, which ascend, and of those above the last. It is shown as counters:
/// for the name `wait_ns` and the bounds 100 and 1000 as `wait_ns_to_100`, `wait_ns_to_1000`, `wait_ns_above_1000` and
/// `wait_ns_sum`. It takes their room.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_histogram_new(
    setup: *mut onvm_setup,
    name: *const c_char,
    bounds: *const u64,
    count: usize,
    histogram: *mut *const onvm_histogram,
) -> onvm_status {
    // SAFETY: the caller gives null or what `start` got, in it, null or a text, so many bounds, and null or a place for a pointer.
    status(unsafe {
        make(setup, name, histogram, |setup, kept, name| {
            let bounds = checked::list(bounds, count, "bounds")?;
            Ok(kept.keep(onvm_histogram(setup.histogram(name, bounds)?)))
        })
    })
}

/// The way to the other instances of the service. Valid until `stop` has returned; see `onvm_peers_send`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_setup_peers(
    setup: *mut onvm_setup,
    peers: *mut *const onvm_peers,
) -> onvm_status {
    // SAFETY: the caller gives null or what `start` got, in it.
    let found = unsafe { checked::exclusive(setup, "setup") };
    status(found.and_then(|setup| {
        let (setup, kept) = setup.parts();
        let kept = kept.keep(onvm_peers(setup.peers()));
        // SAFETY: the caller gives null or a place for a pointer.
        unsafe { checked::give(peers, "peers", kept) }
    }))
}

/// # Safety
/// `setup` is null or what the `start` under way got, on its thread; `name` null or a text that ends with a zero byte; `place` null
/// or valid for a write.
unsafe fn make<T>(
    setup: *mut onvm_setup,
    name: *const c_char,
    place: *mut *const T,
    make: impl FnOnce(&mut Setup, &mut Kept, &str) -> Result<*const T>,
) -> Result<()> {
    // SAFETY: as the caller of this function promises.
    let (setup, name) = unsafe { (checked::exclusive(setup, "setup")?, checked::text(name, "name")?) };
    let (setup, kept) = setup.parts();
    let made = make(setup, kept, name)?;
    // SAFETY: as the caller of this function promises.
    unsafe { checked::give(place, "the place for the result", made) }
}
