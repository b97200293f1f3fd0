//! The tree against the list that `seccompiler` makes of the same rules, both run as the kernel would.

use std::collections::BTreeMap;

use proptest::prelude::*;
use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

use super::{super::*, *};

const OTHERWISE: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
const ARCH: u32 = 0xc000_003e;
/// Of the program that `seccompiler` makes for that architecture.
const FOREIGN: u32 = libc::SECCOMP_RET_KILL_PROCESS;

/// What a filter answers, and after how many instructions.
fn run(program: &[sock_filter], arch: u32, call: u32, arguments: [u64; 6]) -> (u32, usize) {
    let (mut accumulator, mut at) = (0, 0);
    for steps in 1.. {
        let sock_filter { code, jt, jf, k } = program[at];
        at += 1;
        let skip = |holds| usize::from(if holds { jt } else { jf });
        match code {
            LOAD => {
                let argument = |at: u32| (arguments[at as usize / 8] >> (at % 8 * 8)) as u32;
                accumulator = match k {
                    NUMBER => call,
                    ARCHITECTURE => arch,
                    _ => argument(k - ARGUMENTS),
                }
            }
            AND => accumulator &= k,
            JUMP => at += k as usize,
            IF_EQUAL => at += skip(accumulator == k),
            IF_AT_LEAST => at += skip(accumulator >= k),
            RETURN => return (k, steps),
            _ => panic!("instruction {code:#x}"),
        }
    }
    unreachable!()
}

/// The same as a list, without what has an action of its own.
fn list(calls: &[(u32, Verdict)]) -> BpfProgram {
    let rule = |c: &Condition| {
        let op = SeccompCmpOp::MaskedEq(c.mask.into());
        let condition = SeccompCondition::new(c.index, SeccompCmpArgLen::Dword, op, c.value.into());
        SeccompRule::new(vec![condition.unwrap()]).unwrap()
    };
    let rules: BTreeMap<i64, Vec<SeccompRule>> = calls
        .iter()
        .filter_map(|(call, verdict)| match verdict {
            Verdict::Always(SECCOMP_RET_ALLOW) => Some((i64::from(*call), Vec::new())),
            Verdict::Always(_) => None,
            Verdict::If(any) => Some((i64::from(*call), any.iter().map(rule).collect())),
        })
        .collect();
    let otherwise = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(rules, otherwise, SeccompAction::Allow, TargetArch::x86_64);
    filter.unwrap().try_into().unwrap()
}

/// Numbers around those that are known, and ones that no call has.
fn numbers() -> impl Iterator<Item = u32> {
    let x32 = 0x4000_0000;
    (0..1000).chain(x32..x32 + 1000).chain([u32::MAX - 1, u32::MAX])
}

#[test]
fn calls_fare_as_in_the_list_and_those_that_are_replaced_are_missing() {
    let (tree, list) = (program().unwrap(), list(&numbered()));
    let mut values: Vec<u64> = ADVICE
        .into_iter()
        .chain(FCNTL)
        .chain(IOCTL)
        .chain(PRCTL)
        .collect();
    values.extend((0..64).map(|bit| 1 << bit).chain([0, 3, u64::MAX]));
    let pairs = values.clone();
    values.extend(pairs.iter().flat_map(|a| pairs.iter().map(move |b| a | b)));
    for call in numbers() {
        if REPLACED.iter().any(|c| c.number == i64::from(call)) {
            assert_eq!(
                run(&tree, ARCH, call, [0; 6]).0,
                errno(libc::ENOSYS),
                "call {call}"
            );
            continue;
        }
        let conditional = conditional().iter().any(|(c, _)| c.number == i64::from(call));
        for &value in &values[..if conditional { values.len() } else { 1 }] {
            let arguments = [value; 6];
            let (found, expected) = (
                run(&tree, ARCH, call, arguments).0,
                run(&list, ARCH, call, arguments).0,
            );
            assert_eq!(found, expected, "call {call} with {value:#x}");
        }
    }
}

#[test]
fn a_call_is_found_in_a_few_steps_and_those_of_another_architecture_end_the_process() {
    let tree = program().unwrap();
    assert!(tree.len() < 512, "{}", tree.len());
    let plain = numbers().filter(|n| !conditional().iter().any(|(c, _)| c.number == i64::from(*n)));
    let steps = plain.map(|call| run(&tree, ARCH, call, [0; 6]).1).max().unwrap();
    assert!(steps <= 16, "{steps}");
    let i386 = 0x4000_0003;
    assert_eq!(run(&tree, i386, 1, [0; 6]).0, FOREIGN);
}

proptest! {
    /// Large enough that branches reach their end, and small enough for the list, which the kernel holds to 4096 instructions.
    #[test]
    fn random_rules_fare_as_in_the_list(
        calls in prop::collection::btree_map(0..900_u32, verdict(), 0..300),
        arguments in prop::array::uniform6(0..8_u64),
    ) {
        let calls: Vec<_> = calls.into_iter().collect();
        let (tree, list) = (compile(ARCH, &calls, OTHERWISE), list(&calls));
        for call in numbers() {
            let (found, expected) = (run(&tree, ARCH, call, arguments).0, run(&list, ARCH, call, arguments).0);
            prop_assert_eq!(found, expected, "call {}", call);
        }
    }
}

fn verdict() -> impl Strategy<Value = Verdict> {
    let condition = (0..6_u8, prop_oneof![Just(u32::MAX), 0..8_u32], 0..8_u32);
    let condition = condition.prop_map(|(index, mask, value)| Condition {
        index,
        mask,
        value: value & mask,
    });
    prop_oneof![
        4 => Just(Verdict::Always(SECCOMP_RET_ALLOW)),
        1 => prop::collection::vec(condition, 1..8).prop_map(Verdict::If),
    ]
}
