//! Parameters that select packets: filters and rules, with the manager's own evaluation.

use std::ffi::{CString, c_char};

use nflib::filter::{Expr, FlowRules};

use crate::{
    burst::{onvm_burst, with_packet},
    checked,
    error::onvm_status,
    params::{onvm_params, read},
};

/// A parameter of type `filter`. Valid until `onvm_filter_free`.
#[derive(Debug)]
pub struct onvm_filter(Expr);

/// A parameter of type `rules`. Valid until `onvm_rules_free`.
#[derive(Debug)]
pub struct onvm_rules {
    rules: FlowRules,
    names: Vec<CString>,
}

/// The filter that a parameter of type `filter` is. It belongs to the NF, which frees it by `onvm_filter_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_param_filter(
    params: *const onvm_params,
    name: *const c_char,
    filter: *mut *mut onvm_filter,
) -> onvm_status {
    // SAFETY: the caller gives null or parameters of the callback under way, null or a text, and null or a place.
    unsafe {
        read(params, name, filter, |params, name| {
            Ok(Box::into_raw(Box::new(onvm_filter(params.params.filter(name)?))))
        })
    }
}

/// Whether a filter takes the packet, as the port that it came from sees it. False on an error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_packet_matches(
    burst: *const onvm_burst,
    n: u32,
    filter: *const onvm_filter,
) -> bool {
    // SAFETY: the caller gives null or a burst's handle, on the NF's thread, and null or a filter that is not freed.
    unsafe {
        with_packet(burst, n, |packet| {
            Ok(packet.matches(&checked::reference(filter, "filter")?.0))
        })
    }
    .unwrap_or(false)
}

/// Frees a filter. Null is ignored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_filter_free(filter: *mut onvm_filter) {
    if !filter.is_null() {
        // SAFETY: the caller gives what `onvm_param_filter` gave, once, and does not use it afterwards.
        drop(unsafe { Box::from_raw(filter) });
    }
}

/// The rules that a parameter of type `rules` holds. `verdicts` are the words of the manifest's `values`, in order. They belong to
/// the NF, which frees them by `onvm_rules_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_param_rules(
    params: *const onvm_params,
    name: *const c_char,
    verdicts: *const *const c_char,
    count: usize,
    rules: *mut *mut onvm_rules,
) -> onvm_status {
    // SAFETY: the caller gives null or parameters of the callback under way, null or a text, so many texts, and null or a place.
    unsafe {
        read(params, name, rules, |params, name| {
            let words = checked::list(verdicts, count, "verdicts")?.iter();
            let words: Vec<&str> = words
                .map(|word| checked::text(*word, "verdicts"))
                .collect::<Result<_, _>>()?;
            let rules = params.params.rules(name, &words)?;
            let names = rules.iter().map(|rule| CString::new(rule.name.as_str()));
            let names = names.collect::<Result<_, _>>().unwrap_or_default();
            let rules = FlowRules::new(rules);
            Ok(Box::into_raw(Box::new(onvm_rules { rules, names })))
        })
    }
}

/// The number of the first rule that takes the packet, from 0 on; -1: none does, or an error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_packet_first(burst: *const onvm_burst, n: u32, rules: *mut onvm_rules) -> i64 {
    // SAFETY: the caller gives null or a burst's handle, on the NF's thread, and null or rules that are not freed, of this NF.
    let first = unsafe {
        with_packet(burst, n, |packet| {
            Ok(packet.first(&mut checked::exclusive(rules, "rules")?.rules))
        })
    };
    match first {
        Ok(Some(rule)) => rule as i64,
        _ => -1,
    }
}

/// How many rules there are; 0 of null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_rules_length(rules: *const onvm_rules) -> usize {
    // SAFETY: the caller gives null or rules that are not freed.
    unsafe { checked::reference(rules, "rules") }.map_or(0, |rules| rules.names.len())
}

/// The verdict of a rule, as an index among the words; -1 where there is no such rule.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_rules_verdict(rules: *const onvm_rules, rule: usize) -> i64 {
    // SAFETY: the caller gives null or rules that are not freed.
    let rules = unsafe { checked::reference(rules, "rules") };
    let rule = rules.ok().and_then(|rules| rules.rules.rules().get(rule));
    rule.map_or(-1, |rule| rule.verdict as i64)
}

/// The name of a rule's counter; null where there is no such rule. Valid as long as the rules.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_rules_name(rules: *const onvm_rules, rule: usize) -> *const c_char {
    // SAFETY: the caller gives null or rules that are not freed.
    let rules = unsafe { checked::reference(rules, "rules") };
    let name = rules.ok().and_then(|rules| rules.names.get(rule));
    name.map_or(std::ptr::null(), |name| name.as_ptr())
}

/// Frees rules. Null is ignored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_rules_free(rules: *mut onvm_rules) {
    if !rules.is_null() {
        // SAFETY: the caller gives what `onvm_param_rules` gave, once, and does not use it afterwards.
        drop(unsafe { Box::from_raw(rules) });
    }
}
