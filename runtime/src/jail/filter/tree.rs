//! A seccomp filter as a search tree over the numbers of system calls.
//!
//! The kernel looks at what a filter says of each of its calls when it takes one, so a list of comparisons, one call after the
//! other, costs its length squared at the start of every NF. In a tree a call is found in eight comparisons. Calls of neighbouring
//! numbers that fare alike are one leaf:
//!
//! ```text
//!            nr >= 17 ?
//!           /          \
//!     nr >= 16 ?        … 17 to 23: allow
//!    /          \
//! 0 to 15: allow  16: allow, if argument 1 is …
//! ```

use libc::SECCOMP_RET_ALLOW;
use seccompiler::{BpfProgram, sock_filter};

/// Whether the lower half of argument `index`, masked by `mask`, is `value`, which has no bit outside of `mask`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) index: u8,
    pub(super) mask: u32,
    pub(super) value: u32,
}

/// The treatment of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The kernel's action (`SECCOMP_RET_…`).
    Always(u32),
    /// Allowed where any of these holds.
    If(Vec<Condition>),
}

// Instructions of classic BPF, as in the kernel's `linux/bpf_common.h`: what it loads is the accumulator.
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const IF_EQUAL: u16 = 0x15;
const IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

// Offsets in the kernel's `struct seccomp_data`; arguments have eight bytes, the lower half first on little-endian processors.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// The filter by which these calls fare so and all others get `otherwise`. Calls of another architecture end the process.
pub(super) fn compile(architecture: u32, calls: &[(u32, Verdict)], otherwise: u32) -> BpfProgram {
    let mut program = vec![
        statement(LOAD, ARCHITECTURE),
        branch(IF_EQUAL, architecture, 1, 0),
        statement(RETURN, libc::SECCOMP_RET_KILL_PROCESS),
        statement(LOAD, NUMBER),
    ];
    program.extend(subtree(&leaves(calls, otherwise), otherwise));
    program
}

/// All numbers: the first of each leaf, ascending from 0, and what becomes of those up to the next one.
fn leaves(calls: &[(u32, Verdict)], otherwise: u32) -> Vec<(u32, Verdict)> {
    let mut calls: Vec<_> = calls.iter().collect();
    calls.sort_by_key(|(call, _)| *call);
    let (mut leaves, mut next) = (Vec::new(), 0);
    let mut add = |from, verdict: Verdict| {
        if leaves.last().is_none_or(|(_, last)| *last != verdict) {
            leaves.push((from, verdict));
        }
    };
    for (call, verdict) in calls {
        if *call > next {
            add(next, Verdict::Always(otherwise));
        }
        add(*call, verdict.clone());
        next = call + 1;
    }
    add(next, Verdict::Always(otherwise));
    leaves
}

fn subtree(leaves: &[(u32, Verdict)], otherwise: u32) -> BpfProgram {
    let (lower, upper) = leaves.split_at(leaves.len() / 2);
    let [(pivot, verdict), ..] = upper else {
        return Vec::new();
    };
    if lower.is_empty() {
        return leaf(verdict, otherwise);
    }
    let lower = subtree(lower, otherwise);
    let mut program = match u8::try_from(lower.len()) {
        Ok(distance) => vec![branch(IF_AT_LEAST, *pivot, distance, 0)],
        // Farther than a branch reaches.
        Err(_) => vec![
            branch(IF_AT_LEAST, *pivot, 0, 1),
            statement(JUMP, lower.len() as u32),
        ],
    };
    program.extend(lower);
    program.extend(subtree(upper, otherwise));
    program
}

fn leaf(verdict: &Verdict, otherwise: u32) -> BpfProgram {
    let conditions = match verdict {
        Verdict::Always(action) => return vec![statement(RETURN, *action)],
        Verdict::If(conditions) => conditions,
    };
    let mut program = Vec::new();
    for Condition { index, mask, value } in conditions {
        program.push(statement(LOAD, ARGUMENTS + 8 * u32::from(*index)));
        if *mask != u32::MAX {
            program.push(statement(AND, *mask));
        }
        program.push(branch(IF_EQUAL, *value, 0, 1));
        program.push(statement(RETURN, SECCOMP_RET_ALLOW));
    }
    program.push(statement(RETURN, otherwise));
    program
}

fn statement(code: u16, k: u32) -> sock_filter {
    branch(code, k, 0, 0)
}

/// `jt` and `jf`: instructions that are skipped where it holds, and where it does not.
fn branch(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

#[cfg(test)]
mod tests;
