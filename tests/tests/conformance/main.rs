//! Conformance: one list of cases, asked of the same NF in Rust, in C and in Python. What the NF does, the suite's programs say:
//! `src/nfs/conform`. A packet's destination port chooses what it does with the packet.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

mod c;
mod case;
mod cases;
mod examples;
mod programs;
mod python;

/// `[run]` of each implementation's manifest.
const RUST: &str = "binary = \"test-nf\"\nargs = [\"conform\"]\n";
const C: &str = "binary = \"conform-c\"\n";
const PYTHON: &str = "binary = \"conform.py\"\nfiles = [\"onvm_nf\"]\n";

macro_rules! conformance {
    ($($case:ident)*) => {
        conformance! { @of in_rust RUST $($case)* }
        conformance! { @of in_c C $($case)* }
        conformance! { @of in_python PYTHON $($case)* }
    };
    (@of $name:ident $run:ident $($case:ident)*) => {
        mod $name {
            $(#[test] fn $case() { crate::cases::$case(crate::$run); })*
        }
    };
}

conformance! {
    verdicts_are_performed
    sizes_change_at_both_ends
    packets_are_made
    headers_are_written_with_their_checksums
    filters_and_rules_select
    what_cannot_be_done_is_refused
    flows_are_programmed
    parameters_of_every_type_arrive
    counters_and_ticks_count
    messages_are_answered_and_sent
    logs_have_their_levels
    new_parameters_are_taken_or_refused
    a_killed_or_failed_instance_is_started_again
    a_stop_is_clean
    a_start_that_fails_says_why
    a_manifest_without_writes_is_enforced
    a_stray_write_is_its_own_fault
}
