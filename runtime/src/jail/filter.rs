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

#[cfg(test)]
mod profile;
mod tree;

use libc::c_long;
use seccompiler::BpfProgram;

use self::tree::{Condition, Verdict};
use super::child::check;

/// A system call, with the name that container engines know it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Call {
    constant: &'static str,
    number: c_long,
}

impl Call {
    #[cfg(test)]
    fn name(self) -> &'static str {
        self.constant.trim_start_matches("SYS_")
    }
}

macro_rules! call {
    ($constant:ident) => {
        Call {
            constant: stringify!($constant),
            number: libc::$constant,
        }
    };
}

macro_rules! calls {
    ($($constant:ident),+ $(,)?) => { &[$(call!($constant)),+] };
}

/// The filter; none, where this module does not know how the processor's calls are numbered.
pub(super) fn program() -> Option<BpfProgram> {
    const ARCHITECTURE: Option<u32> = match std::env::consts::ARCH.as_bytes() {
        b"x86_64" => Some(0xc000_003e),
        b"aarch64" => Some(0xc000_00b7),
        _ => None,
    };
    Some(tree::compile(ARCHITECTURE?, &numbered(), errno(libc::EPERM)))
}

/// The treatment of each call that is not always refused.
fn calls() -> Vec<(Call, Verdict)> {
    let allowed = ALLOWED.iter().chain(OF_THIS_ARCHITECTURE);
    let allowed = allowed.map(|&call| (call, Verdict::Always(libc::SECCOMP_RET_ALLOW)));
    let replaced = REPLACED
        .iter()
        .map(|&call| (call, Verdict::Always(errno(libc::ENOSYS))));
    let conditional = conditional().into_iter();
    let conditional = conditional.map(|(call, any)| (call, Verdict::If(any)));
    allowed.chain(replaced).chain(conditional).collect()
}

/// The same by number.
fn numbered() -> Vec<(u32, Verdict)> {
    let calls = calls().into_iter();
    calls
        .map(|(call, verdict)| (call.number as u32, verdict))
        .collect()
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
fn conditional() -> Vec<(Call, Vec<Condition>)> {
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
        (call!(SYS_openat), vec![masked(2, not_read_only, 0)]),
        #[cfg(target_arch = "x86_64")]
        (call!(SYS_open), vec![masked(1, not_read_only, 0)]),
        (call!(SYS_clone), vec![masked(0, namespaces | thread, thread)]),
        (
            call!(SYS_mmap),
            vec![
                masked(3, uncounted | anonymous, 0),
                masked(3, uncounted | anonymous | shared, anonymous),
            ],
        ),
        (call!(SYS_madvise), one_of(2, &ADVICE)),
        (call!(SYS_socket), one_of(0, &unix)),
        (call!(SYS_socketpair), one_of(0, &unix)),
        (call!(SYS_fcntl), one_of(1, &FCNTL)),
        (call!(SYS_ioctl), one_of(1, &IOCTL)),
        (call!(SYS_prctl), one_of(0, &PRCTL)),
        (call!(SYS_prlimit64), one_of(0, &[0])),
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
const REPLACED: &[Call] = calls![SYS_clone3, SYS_openat2, SYS_membarrier];

const ALLOWED: &[Call] = calls![
    // Descriptors.
    SYS_read,
    SYS_write,
    SYS_readv,
    SYS_writev,
    SYS_pread64,
    SYS_pwrite64,
    SYS_preadv,
    SYS_pwritev,
    SYS_preadv2,
    SYS_pwritev2,
    SYS_close,
    SYS_close_range,
    SYS_lseek,
    SYS_dup,
    SYS_dup3,
    SYS_pipe2,
    SYS_fsync,
    SYS_fdatasync,
    // Files, which can be looked at and read.
    SYS_fstat,
    SYS_newfstatat,
    SYS_statx,
    SYS_statfs,
    SYS_fstatfs,
    SYS_faccessat,
    SYS_faccessat2,
    SYS_readlinkat,
    SYS_getdents64,
    SYS_getcwd,
    SYS_chdir,
    SYS_fchdir,
    SYS_umask,
    // Waiting.
    SYS_ppoll,
    SYS_pselect6,
    SYS_epoll_create1,
    SYS_epoll_ctl,
    SYS_epoll_pwait,
    SYS_epoll_pwait2,
    SYS_eventfd2,
    SYS_signalfd4,
    SYS_timerfd_create,
    SYS_timerfd_settime,
    SYS_timerfd_gettime,
    SYS_nanosleep,
    SYS_clock_nanosleep,
    SYS_sched_yield,
    SYS_futex,
    SYS_futex_waitv,
    // Memory.
    SYS_munmap,
    SYS_mprotect,
    SYS_mremap,
    SYS_brk,
    SYS_msync,
    SYS_mincore,
    SYS_mlock,
    SYS_mlock2,
    SYS_munlock,
    SYS_pkey_alloc,
    SYS_pkey_free,
    SYS_pkey_mprotect,
    // Time, and what the process is.
    SYS_clock_gettime,
    SYS_clock_getres,
    SYS_gettimeofday,
    SYS_times,
    SYS_getrandom,
    SYS_getpid,
    SYS_gettid,
    SYS_getppid,
    SYS_getpgid,
    SYS_getsid,
    SYS_setsid,
    SYS_getuid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getegid,
    SYS_getresuid,
    SYS_getresgid,
    SYS_getgroups,
    SYS_capget,
    SYS_getrlimit,
    SYS_getrusage,
    SYS_getpriority,
    SYS_sched_getaffinity,
    SYS_sched_getscheduler,
    SYS_sched_getparam,
    SYS_sched_get_priority_max,
    SYS_sched_get_priority_min,
    SYS_getcpu,
    SYS_sysinfo,
    SYS_uname,
    // Threads, as many as the limits allow, and what a program is started with.
    SYS_set_tid_address,
    SYS_set_robust_list,
    SYS_get_robust_list,
    SYS_rseq,
    SYS_execve,
    SYS_execveat,
    SYS_wait4,
    SYS_waitid,
    SYS_exit,
    SYS_exit_group,
    // Signals.
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_rt_sigpending,
    SYS_rt_sigsuspend,
    SYS_rt_sigtimedwait,
    SYS_sigaltstack,
    SYS_restart_syscall,
    SYS_kill,
    SYS_tkill,
    SYS_tgkill,
    SYS_setitimer,
    SYS_getitimer,
    SYS_timer_create,
    SYS_timer_settime,
    SYS_timer_gettime,
    SYS_timer_getoverrun,
    SYS_timer_delete,
    // Unix sockets.
    SYS_connect,
    SYS_bind,
    SYS_listen,
    SYS_accept,
    SYS_accept4,
    SYS_sendto,
    SYS_recvfrom,
    SYS_recvmsg,
    SYS_recvmmsg,
    SYS_getsockopt,
    SYS_setsockopt,
    SYS_getsockname,
    SYS_getpeername,
    SYS_shutdown,
];

/// Older forms of calls above.
#[cfg(target_arch = "x86_64")]
const OF_THIS_ARCHITECTURE: &[Call] = calls![
    SYS_stat,
    SYS_lstat,
    SYS_access,
    SYS_readlink,
    SYS_getdents,
    SYS_dup2,
    SYS_pipe,
    SYS_poll,
    SYS_select,
    SYS_epoll_create,
    SYS_epoll_wait,
    SYS_eventfd,
    SYS_signalfd,
    SYS_time,
    SYS_getpgrp,
    SYS_pause,
    SYS_alarm,
    SYS_arch_prctl,
];
#[cfg(not(target_arch = "x86_64"))]
const OF_THIS_ARCHITECTURE: &[Call] = &[];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_allowed_that_changes_pages_of_a_shared_file_or_passes_descriptors() {
        let calls: Vec<i64> = calls().iter().map(|(call, _)| call.number).collect();
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
            assert!(!calls.contains(&call), "call {call}");
        }
        assert!(!ADVICE.contains(&(libc::MADV_REMOVE as u64)));
    }
}
