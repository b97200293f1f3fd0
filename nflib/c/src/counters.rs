//! Counters, gauges and histograms.

use std::{any::Any, rc::Rc};

use nflib::{Counter, Gauge, Histogram};

use crate::checked;

/// A counter of the NF, by `onvm_counter_new`. Valid until `stop` has returned. Adding costs a load and a store.
#[derive(Debug)]
pub struct onvm_counter(pub(crate) Counter);

/// A value that goes up and down, by `onvm_gauge_new`. Valid until `stop` has returned.
#[derive(Debug)]
pub struct onvm_gauge(pub(crate) Gauge);

/// Values by range, by `onvm_histogram_new`. Valid until `stop` has returned.
#[derive(Debug)]
pub struct onvm_histogram(pub(crate) Histogram);

/// What the NF holds pointers to until it has stopped.
#[derive(Debug, Default)]
pub(crate) struct Kept(Vec<Rc<dyn Any>>);

impl Kept {
    pub(crate) fn keep<T: 'static>(&mut self, value: T) -> *const T {
        let value = Rc::new(value);
        let pointer = Rc::as_ptr(&value);
        self.0.push(value);
        pointer
    }
}

/// Counts so many more. Null is ignored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_counter_add(counter: *const onvm_counter, n: u64) {
    // SAFETY: the caller gives null or a counter of an NF that has not stopped.
    if let Ok(counter) = unsafe { checked::reference(counter, "counter") } {
        counter.0.add(n);
    }
}

/// Begins again from another value. Null is ignored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_counter_set(counter: *const onvm_counter, n: u64) {
    // SAFETY: the caller gives null or a counter of an NF that has not stopped.
    if let Ok(counter) = unsafe { checked::reference(counter, "counter") } {
        counter.0.set(n);
    }
}

/// The present value; 0 of null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_counter_get(counter: *const onvm_counter) -> u64 {
    // SAFETY: the caller gives null or a counter of an NF that has not stopped.
    unsafe { checked::reference(counter, "counter") }.map_or(0, |counter| counter.0.get())
}

/// Null is ignored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_gauge_set(gauge: *const onvm_gauge, value: u64) {
    // SAFETY: the caller gives null or a gauge of an NF that has not stopped.
    if let Ok(gauge) = unsafe { checked::reference(gauge, "gauge") } {
        gauge.0.set(value);
    }
}

/// Null is ignored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_gauge_add(gauge: *const onvm_gauge, n: u64) {
    // SAFETY: the caller gives null or a gauge of an NF that has not stopped.
    if let Ok(gauge) = unsafe { checked::reference(gauge, "gauge") } {
        gauge.0.add(n);
    }
}

/// Down to zero at most. Null is ignored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_gauge_sub(gauge: *const onvm_gauge, n: u64) {
    // SAFETY: the caller gives null or a gauge of an NF that has not stopped.
    if let Ok(gauge) = unsafe { checked::reference(gauge, "gauge") } {
        gauge.0.sub(n);
    }
}

/// The present value; 0 of null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_gauge_get(gauge: *const onvm_gauge) -> u64 {
    // SAFETY: the caller gives null or a gauge of an NF that has not stopped.
    unsafe { checked::reference(gauge, "gauge") }.map_or(0, |gauge| gauge.0.get())
}

/// Counts a value in its range. Null is ignored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_histogram_record(histogram: *const onvm_histogram, value: u64) {
    // SAFETY: the caller gives null or a histogram of an NF that has not stopped.
    if let Ok(histogram) = unsafe { checked::reference(histogram, "histogram") } {
        histogram.0.record(value);
    }
}
