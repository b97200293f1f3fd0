//! The system calls that an NF may make, as a seccomp filter.
//!
//! A list of allowed calls: those that an ordinary program with threads, timers and read-only files needs. Every
//! other call fails with `EPERM`, and those that the C library replaces by an older one where they are missing with
//! `ENOSYS`.
//!
//! Left out, and why:
//!
//! * calls that change the pages of a shared file (`fallocate`, `ftruncate`, `MADV_REMOVE`, `mbind`, …): the packet file is shared
//!   with the manager, and a page that is gone cannot always be replaced
//! * processes: the limit of an instance's memory is one of each process
//! * memory that no limit of the process counts (`memfd_create`, System V memory, huge pages, mappings that are shared and of no file,
//!   or that are a stack to the kernel)
//! * `sendmsg`: a message with descriptors would have the manager close them, which can take as long as the sender likes
//! * opening anything for writing, new namespaces, other processes (`ptrace`, `process_vm_readv`, `setpgid`), scheduling
//!   (`sched_setaffinity`: a worker's core is not an NF's), sockets other than Unix sockets
//! * `TIOCSTI` and all other `ioctl`s of terminals and devices

mod tree;

use libc::c_long;
use seccompiler::BpfProgram;

use self::tree::{Condition, Verdict};
use super::child::check;

/// The filter; none, where this module does not know how the processor's calls are numbered.
pub(super) fn program() -> Option<BpfProgram> {
    const ARCHITECTURE: Option<u32> = match std::env::consts::ARCH.as_bytes() {
        b"x86_64" => Some(0xc000_003e),
        b"aarch64" => Some(0xc000_00b7),
        _ => None,
    };
    Some(tree::compile(ARCHITECTURE?, &calls(), errno(libc::EPERM)))
}

/// The treatment of each call that is not always refused.
fn calls() -> Vec<(u32, Verdict)> {
    let allowed = ALLOWED.iter().chain(OF_THIS_ARCHITECTURE);
    let allowed = allowed.map(|&call| (call, Verdict::Always(libc::SECCOMP_RET_ALLOW)));
    let replaced = REPLACED.map(|call| (call, Verdict::Always(errno(libc::ENOSYS))));
    let conditional = conditional().into_iter();
    let conditional = conditional.map(|(call, any)| (call, Verdict::If(any)));
    let all = allowed.chain(replaced).chain(conditional);
    all.map(|(call, verdict)| (call as u32, verdict)).collect()
}

/// Why there is no filter here, if so.
pub(super) fn are_there() -> Result<(), String> {
    if program().is_none() {
        let arch = std::env::consts::ARCH;
        return Err(format!("it is made for x86_64 and aarch64, and this is {arch}"));
    }
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
    check(known).map_err(|e| format!("the kernel refuses seccomp: {e}"))
}

fn errno(number: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | number.unsigned_abs()
}

/// Argument `index` masked by `mask` is `value`.
fn masked(index: u8, mask: i32, value: i32) -> Condition {
    let [mask, value] = [mask, value].map(|bits| bits as u32);
    Condition { index, mask, value }
}

/// Argument `index` is one of these.
fn one_of(index: u8, values: &[u64]) -> Vec<Condition> {
    values.iter().map(|&v| masked(index, -1, v as i32)).collect()
}

/// Calls that are allowed for some arguments.
fn conditional() -> Vec<(c_long, Vec<Condition>)> {
    let not_read_only = libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC;
    let namespaces = libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET;
    let thread = libc::CLONE_THREAD;
    let unix = [libc::AF_UNIX as u64];
    // `RLIMIT_DATA` counts neither huge pages, nor a stack, nor what is shared.
    let uncounted = libc::MAP_HUGETLB | libc::MAP_GROWSDOWN;
    let anonymous = libc::MAP_ANONYMOUS;
    // Of both kinds of shared mappings.
    let shared = libc::MAP_SHARED;
    vec![
        (libc::SYS_openat, vec![masked(2, not_read_only, 0)]),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_open, vec![masked(1, not_read_only, 0)]),
        (libc::SYS_clone, vec![masked(0, namespaces | thread, thread)]),
        (
            libc::SYS_mmap,
            vec![
                masked(3, uncounted | anonymous, 0),
                masked(3, uncounted | anonymous | shared, anonymous),
            ],
        ),
        (libc::SYS_madvise, one_of(2, &ADVICE)),
        (libc::SYS_socket, one_of(0, &unix)),
        (libc::SYS_socketpair, one_of(0, &unix)),
        (libc::SYS_fcntl, one_of(1, &FCNTL)),
        (libc::SYS_ioctl, one_of(1, &IOCTL)),
        (libc::SYS_prctl, one_of(0, &PRCTL)),
        (libc::SYS_prlimit64, one_of(0, &[0])),
    ]
}

/// Advice about one's own use of memory. Not `MADV_REMOVE` (a hole in a shared file), `MADV_PAGEOUT` and `MADV_COLD` (of pages that
/// others use) or `MADV_MERGEABLE` (reveals the content of others' pages).
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
    fn no_call_is_allowed_that_changes_pages_of_a_shared_file_or_passes_descriptors() {
        let conditional: Vec<i64> = conditional().into_iter().map(|(call, _)| call).collect();
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
