//! The system calls that an NF may make, as seccomp filters.
//!
//! A list of what is allowed: what an ordinary program with threads, timers and files that it only reads needs. Every other call
//! fails with `EPERM`, and those that the C library replaces by an older one where they are missing with `ENOSYS`.
//!
//! What is left out, and why:
//!
//! * calls that change the pages of a shared file (`fallocate`, `ftruncate`, `MADV_REMOVE`, `mbind`, …): the packet file is shared
//!   with the manager, and a page that is gone cannot always be had again
//! * processes: the limit of an instance's memory is one of each process
//! * memory that no limit of the process counts (`memfd_create`, System V memory, huge pages, mappings that are shared and of no file,
//!   or that are a stack to the kernel)
//! * `sendmsg`: a message with descriptors would have the manager close them, which can take as long as the sender likes
//! * opening anything for writing, new namespaces, other processes (`ptrace`, `process_vm_readv`, `setpgid`), scheduling
//!   (`sched_setaffinity`: a worker's core is not an NF's), sockets other than Unix sockets
//! * `TIOCSTI` and all other `ioctl`s of terminals and devices

use std::collections::BTreeMap;

use libc::c_long;
use rustix::io::Errno;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use super::child::check;

/// The filters in the order in which they are installed: the last one lets no other follow. An error of either counts.
pub(super) fn programs() -> Result<Vec<BpfProgram>, BackendError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    // Calls that the other filter answers must pass this one, whose error would hide that answer.
    for call in ALLOWED.iter().chain(OF_THIS_ARCHITECTURE).chain(&REPLACED) {
        rules.insert(*call, Vec::new());
    }
    rules.extend(conditional()?);
    let list = SeccompFilter::new(rules, errno(libc::EPERM), SeccompAction::Allow, arch)?;
    let missing = REPLACED.iter().map(|call| (*call, Vec::new())).collect();
    let replaced = SeccompFilter::new(missing, SeccompAction::Allow, errno(libc::ENOSYS), arch)?;
    Ok(vec![replaced.try_into()?, list.try_into()?])
}

/// Whether the kernel takes filters.
pub(super) fn are_there() -> Result<(), Errno> {
    let action = libc::SECCOMP_RET_ERRNO;
    // SAFETY: the call reads the action, which lives through it, and changes nothing.
    let known = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_GET_ACTION_AVAIL,
            0,
            &raw const action,
        )
    };
    check(known)
}

fn errno(number: i32) -> SeccompAction {
    SeccompAction::Errno(number.unsigned_abs())
}

/// Argument `index` masked by `mask` is `value`.
fn masked(index: u8, mask: u64, value: u64) -> Result<SeccompRule, BackendError> {
    let op = SeccompCmpOp::MaskedEq(mask);
    let condition = SeccompCondition::new(index, SeccompCmpArgLen::Dword, op, value)?;
    SeccompRule::new(vec![condition])
}

/// Argument `index` is one of these.
fn one_of(index: u8, values: &[u64]) -> Result<Vec<SeccompRule>, BackendError> {
    let rule = |&value: &u64| {
        let condition = SeccompCondition::new(index, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)?;
        SeccompRule::new(vec![condition])
    };
    values.iter().map(rule).collect()
}

/// Calls that are allowed for some arguments.
fn conditional() -> Result<Vec<(i64, Vec<SeccompRule>)>, BackendError> {
    let not_read_only = (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC) as u64;
    let namespaces = (libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET) as u64;
    let thread = libc::CLONE_THREAD as u64;
    let unix = [libc::AF_UNIX as u64];
    // `RLIMIT_DATA` counts neither huge pages, nor a stack, nor what is shared.
    let uncounted = (libc::MAP_HUGETLB | libc::MAP_GROWSDOWN) as u64;
    let anonymous = libc::MAP_ANONYMOUS as u64;
    // Of both kinds of shared mappings.
    let shared = libc::MAP_SHARED as u64;
    let mut calls = vec![
        (libc::SYS_openat, vec![masked(2, not_read_only, 0)?]),
        (libc::SYS_clone, vec![masked(0, namespaces | thread, thread)?]),
        (
            libc::SYS_mmap,
            vec![
                masked(3, uncounted | anonymous, 0)?,
                masked(3, uncounted | anonymous | shared, anonymous)?,
            ],
        ),
        (libc::SYS_madvise, one_of(2, &ADVICE)?),
        (libc::SYS_socket, one_of(0, &unix)?),
        (libc::SYS_socketpair, one_of(0, &unix)?),
        (libc::SYS_fcntl, one_of(1, &FCNTL)?),
        (libc::SYS_ioctl, one_of(1, &IOCTL)?),
        (libc::SYS_prctl, one_of(0, &PRCTL)?),
        (libc::SYS_prlimit64, one_of(0, &[0])?),
    ];
    #[cfg(target_arch = "x86_64")]
    calls.push((libc::SYS_open, vec![masked(1, not_read_only, 0)?]));
    Ok(calls)
}

/// Advice about one's own use of memory. Not `MADV_REMOVE` (a hole in a shared file), `MADV_PAGEOUT` and `MADV_COLD` (of pages that
/// others use) or `MADV_MERGEABLE` (tells what others' pages hold).
const ADVICE: [u64; 15] = [
    libc::MADV_NORMAL as u64,
    libc::MADV_RANDOM as u64,
    libc::MADV_SEQUENTIAL as u64,
    libc::MADV_WILLNEED as u64,
    libc::MADV_DONTNEED as u64,
    libc::MADV_FREE as u64,
    libc::MADV_DONTFORK as u64,
    libc::MADV_DOFORK as u64,
    libc::MADV_HUGEPAGE as u64,
    libc::MADV_NOHUGEPAGE as u64,
    libc::MADV_DONTDUMP as u64,
    libc::MADV_DODUMP as u64,
    libc::MADV_WIPEONFORK as u64,
    libc::MADV_KEEPONFORK as u64,
    libc::MADV_POPULATE_READ as u64,
];

/// Not the owner of signals, leases, notifications and sizes of pipes.
const FCNTL: [u64; 8] = [
    libc::F_DUPFD as u64,
    libc::F_DUPFD_CLOEXEC as u64,
    libc::F_GETFD as u64,
    libc::F_SETFD as u64,
    libc::F_GETFL as u64,
    libc::F_SETFL as u64,
    libc::F_GET_SEALS as u64,
    libc::F_GETPIPE_SZ as u64,
];

/// `isatty` asks `TCGETS`.
const IOCTL: [u64; 6] = [
    libc::TCGETS,
    libc::TIOCGWINSZ,
    libc::FIONREAD,
    libc::FIONBIO,
    libc::FIOCLEX,
    libc::FIONCLEX,
];

const PRCTL: [u64; 7] = [
    libc::PR_SET_NAME as u64,
    libc::PR_GET_NAME as u64,
    libc::PR_SET_TIMERSLACK as u64,
    libc::PR_GET_TIMERSLACK as u64,
    libc::PR_GET_DUMPABLE as u64,
    libc::PR_CAPBSET_READ as u64,
    // Names for memory areas, which the C library gives.
    0x5356_4d41,
];

/// The C library and the standard libraries of languages do without them.
const REPLACED: [c_long; 3] = [libc::SYS_clone3, libc::SYS_openat2, libc::SYS_membarrier];

const ALLOWED: &[c_long] = &[
    // Descriptors.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_preadv2,
    libc::SYS_pwritev2,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_lseek,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    // Files, which can be looked at and read.
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_chdir,
    libc::SYS_fchdir,
    libc::SYS_umask,
    // Waiting.
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_signalfd4,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_sched_yield,
    libc::SYS_futex,
    libc::SYS_futex_waitv,
    // Memory.
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_brk,
    libc::SYS_msync,
    libc::SYS_mincore,
    libc::SYS_mlock,
    libc::SYS_mlock2,
    libc::SYS_munlock,
    libc::SYS_pkey_alloc,
    libc::SYS_pkey_free,
    libc::SYS_pkey_mprotect,
    // Time, and what the process is.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_times,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getppid,
    libc::SYS_getpgid,
    libc::SYS_getsid,
    libc::SYS_setsid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_getgroups,
    libc::SYS_capget,
    libc::SYS_getrlimit,
    libc::SYS_getrusage,
    libc::SYS_getpriority,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_getparam,
    libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min,
    libc::SYS_getcpu,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    // Threads, as many as the limits allow, and what a program is started with.
    libc::SYS_set_tid_address,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_rseq,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Signals.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_tgkill,
    libc::SYS_setitimer,
    libc::SYS_getitimer,
    libc::SYS_timer_create,
    libc::SYS_timer_settime,
    libc::SYS_timer_gettime,
    libc::SYS_timer_getoverrun,
    libc::SYS_timer_delete,
    // Unix sockets.
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_shutdown,
];

/// Older forms of calls above.
#[cfg(target_arch = "x86_64")]
const OF_THIS_ARCHITECTURE: &[c_long] = &[
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_getdents,
    libc::SYS_dup2,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd,
    libc::SYS_signalfd,
    libc::SYS_time,
    libc::SYS_getpgrp,
    libc::SYS_pause,
    libc::SYS_alarm,
    libc::SYS_arch_prctl,
];
#[cfg(not(target_arch = "x86_64"))]
const OF_THIS_ARCHITECTURE: &[c_long] = &[];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_fit_the_kernel() {
        let programs = programs().unwrap();
        assert_eq!(programs.len(), 2);
        // BPF_MAXINSNS of the kernel.
        assert!(programs.iter().all(|p| !p.is_empty() && p.len() <= 4096));
    }

    #[test]
    fn no_call_is_allowed_that_changes_pages_of_a_shared_file_or_passes_descriptors() {
        let conditional: Vec<i64> = conditional().unwrap().into_iter().map(|(call, _)| call).collect();
        for call in [
            libc::SYS_fallocate,
            libc::SYS_ftruncate,
            libc::SYS_mbind,
            libc::SYS_memfd_create,
            libc::SYS_sendmsg,
            libc::SYS_ptrace,
            libc::SYS_setpgid,
            libc::SYS_unshare,
            libc::SYS_sched_setaffinity,
            libc::SYS_io_uring_setup,
            #[cfg(target_arch = "x86_64")]
            libc::SYS_fork,
            #[cfg(target_arch = "x86_64")]
            libc::SYS_vfork,
        ] {
            assert!(
                !ALLOWED.contains(&call)
                    && !OF_THIS_ARCHITECTURE.contains(&call)
                    && !conditional.contains(&call),
                "call {call}"
            );
        }
        assert!(!ADVICE.contains(&(libc::MADV_REMOVE as u64)));
    }
}
