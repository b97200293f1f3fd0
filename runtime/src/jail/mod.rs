//! An NF's jail: all that is set up between the fork of its process and the start of its program.
//!
//! In this order: a session of its own without a terminal, limits, cores, death with its manager, no inherited descriptor, and last
//! the filters of [`filter`]. What cannot be set up is an error, and the program does not start.

#![allow(unsafe_code)]

mod filter;

use std::{io, sync::Arc};

use rustix::{
    process::{Resource, Rlimit, Signal},
    thread::CpuSet,
};
use seccompiler::BpfProgram;
use tokio::process::Command;

use crate::error::RunError;

/// Processes and threads that an instance's user may have.
const MOST_THREADS: u64 = 64;
/// Descriptors that an instance may have open: those of its memory and files, and some of its own.
const MOST_DESCRIPTORS: u64 = 1024;
/// Bytes that an instance may lock in memory.
const MOST_LOCKED: u64 = 64 << 10;

/// What all jails have in common.
#[derive(Debug, Clone)]
pub(crate) struct Jail {
    filters: Arc<Vec<BpfProgram>>,
}

/// What is particular to one.
#[derive(Debug)]
pub(crate) struct Confinement<'a> {
    /// Bytes of data that the process may allocate.
    pub(crate) memory: Option<u64>,
    /// The process has a user id of its own, so that its processes can be counted.
    pub(crate) own_user: bool,
    /// Cores that it may run on; empty: all.
    pub(crate) cores: &'a [usize],
}

impl Jail {
    /// Refuses a host on which no NF could be started: then that is said once, with the reason.
    pub(crate) fn refuse_missing() -> Result<(), RunError> {
        let missing = |what: &str, e: io::Error| {
            RunError::Unsupported(format!(
                "NFs cannot be jailed: {what}: {e}. This needs Linux 5.11 or later with seccomp filters, and, in a container, a \
                 profile that permits both. Or start the NFs yourself, with --nfs external."
            ))
        };
        rustix::thread::secure_computing_mode()
            .map_err(|e| missing("the kernel has no seccomp filters", e.into()))?;
        close_on_exec(u32::MAX).map_err(|e| missing("`close_range` is refused", e))
    }

    /// Compiles the filters; fails on processors that they do not know.
    pub(crate) fn new() -> Result<Self, RunError> {
        let failed = |e| {
            RunError::Unsupported(format!(
                "the filter of system calls cannot be made: {e}. There is one for x86_64 and aarch64."
            ))
        };
        let filters = Arc::new(filter::programs().map_err(failed)?);
        Ok(Self { filters })
    }

    /// Has the command set the jail up in the process that it starts, after that has become its user.
    pub(crate) fn close_around(&self, command: &mut Command, confinement: &Confinement<'_>) {
        let filters = self.filters.clone();
        let limits = confinement.limits();
        let cores = confinement.cores();
        let manager = rustix::process::getpid();
        let set_up = move || {
            // Out of the terminal's session and the manager's process group: nothing typed, nothing signalled.
            rustix::process::setsid()?;
            limits
                .iter()
                .try_for_each(|&(resource, most)| limit(resource, most))?;
            if let Some(cores) = &cores {
                rustix::thread::sched_setaffinity(None, cores)?;
            }
            // The kernel looks at the thread that forked: the control thread, which lives as long as the manager.
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            // It may have died just before.
            if rustix::process::getppid() != Some(manager) {
                return Err(rustix::io::Errno::SRCH.into());
            }
            close_on_exec(3)?;
            filters.iter().try_for_each(install)
        };
        // SAFETY: between fork and exec only async-signal-safe work is allowed, since other threads may have held locks at the
        // fork. The closure makes system calls on values that were made before the fork: it neither allocates nor frees (the
        // errors are plain numbers, the vectors and filters are only read), takes no lock, and does not panic.
        unsafe { command.pre_exec(set_up) };
    }
}

impl Confinement<'_> {
    fn limits(&self) -> Vec<(Resource, u64)> {
        let mut limits = vec![
            (Resource::Core, 0),
            (Resource::Fsize, 0),
            (Resource::Nofile, MOST_DESCRIPTORS),
            (Resource::Memlock, MOST_LOCKED),
        ];
        limits.extend(self.memory.map(|bytes| (Resource::Data, bytes)));
        if self.own_user {
            limits.push((Resource::Nproc, MOST_THREADS));
        }
        limits
    }

    fn cores(&self) -> Option<CpuSet> {
        if self.cores.is_empty() {
            return None;
        }
        let mut set = CpuSet::new();
        self.cores.iter().for_each(|&core| set.set(core));
        Some(set)
    }
}

/// Lowers a limit, which needs no right; one that is lower already stays.
fn limit(resource: Resource, most: u64) -> io::Result<()> {
    let now = rustix::process::getrlimit(resource).maximum;
    let most = now.map_or(most, |now| now.min(most));
    let limit = Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    Ok(rustix::process::setrlimit(resource, limit)?)
}

/// Installs a filter. The error is the kernel's number alone, since nothing else reaches the parent.
fn install(filter: &BpfProgram) -> io::Result<()> {
    seccompiler::apply_filter(filter).map_err(|e| match e {
        seccompiler::Error::Prctl(e) | seccompiler::Error::Seccomp(e) => e,
        _ => rustix::io::Errno::INVAL.into(),
    })
}

/// Marks every descriptor from `first` on to be closed by the start of the program, whoever opened it: libraries do not mark
/// theirs.
fn close_on_exec(first: u32) -> io::Result<()> {
    // SAFETY: the call takes three numbers. It closes no descriptor and only marks them, so that nothing that owns one, here or
    // in the standard library's own work before the program starts, loses it.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
