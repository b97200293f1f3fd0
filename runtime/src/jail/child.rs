//! The steps of the new process before the NF's program takes its place.
//!
//! Between the copy of the process and `execveat` nothing may allocate, lock or panic: another thread may have held the allocator's
//! lock at that instant. Everything is made ready before, in a [`Plan`], and all that happens here is system calls on it.

use std::{
    convert::Infallible,
    ffi::{CStr, c_char, c_int},
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{Mode, OFlags},
    io::Errno,
    process::{Gid, Resource, Rlimit, Signal, Uid},
    thread::{CapabilitySet, CapabilitySets, CpuSet},
};
use seccompiler::BpfProgram;

use super::{process::Namespaces, root::Root};

/// The descriptor at which an NF finds its socket.
pub(super) const SOCKET: c_int = 3;

/// All that the new process needs.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    /// Standard input, output and error.
    pub(super) streams: [OwnedFd; 3],
    pub(super) socket: OwnedFd,
    /// None: only what comes before the program is tried.
    pub(super) program: Option<OwnedFd>,
    /// The kernel hands the program's path to its interpreter, which opens it there. Otherwise the program is started from its
    /// descriptor, and cannot be opened.
    pub(super) is_script: bool,
    /// The first is the program's path.
    pub(super) arguments: Pointers<'a>,
    pub(super) environment: Pointers<'a>,
    /// Where a step that fails is written to.
    pub(super) report: OwnedFd,
    /// Gives one byte once the manager has done its part.
    pub(super) go: OwnedFd,
    /// The process that starts this one, to see that it lives.
    pub(super) manager: OwnedFd,
    pub(super) namespaces: Namespaces,
    pub(super) limits: &'a [(Resource, u64)],
    pub(super) cores: Option<CpuSet>,
    /// The NUMA node that it prefers.
    pub(super) node: Option<u16>,
    /// The user that it becomes; none: it stays what it is.
    pub(super) user: Option<u32>,
    /// What it sees of the file system, as every NF and of its own; none: all.
    pub(super) root: Option<[&'a Root; 2]>,
    pub(super) ruleset: Option<OwnedFd>,
    pub(super) filter: Option<&'a BpfProgram>,
}

/// Strings as `execve` takes them: pointers, the last of them null.
#[derive(Debug)]
pub(super) struct Pointers<'a> {
    pointers: Vec<*const c_char>,
    _strings: std::marker::PhantomData<&'a CStr>,
}

impl<'a> Pointers<'a> {
    pub(super) fn new(strings: impl IntoIterator<Item = &'a CStr>) -> Self {
        let pointers = strings.into_iter().map(CStr::as_ptr);
        Self {
            pointers: pointers.chain([std::ptr::null()]).collect(),
            _strings: std::marker::PhantomData,
        }
    }
}

/// The steps of the set-up, named in errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Step {
    Group,
    Session,
    Start,
    Limits,
    Cores,
    Node,
    Files,
    User,
    Capabilities,
    Streams,
    Privileges,
    Death,
    Landlock,
    Calls,
    Program,
}

impl Step {
    pub(super) const ALL: [Self; 15] = [
        Self::Group,
        Self::Session,
        Self::Start,
        Self::Limits,
        Self::Cores,
        Self::Node,
        Self::Files,
        Self::User,
        Self::Capabilities,
        Self::Streams,
        Self::Privileges,
        Self::Death,
        Self::Landlock,
        Self::Calls,
        Self::Program,
    ];

    pub(super) fn what(self) -> &'static str {
        match self {
            Self::Group => "a control group of its own",
            Self::Session => "a session of its own",
            Self::Start => "the manager's part of its namespaces",
            Self::Limits => "its limits",
            Self::Cores => "its cores",
            Self::Node => "its NUMA node",
            Self::Files => "a root directory of its own",
            Self::User => "its user id",
            Self::Capabilities => "giving up capabilities",
            Self::Streams => "its descriptors",
            Self::Privileges => "giving up new privileges",
            Self::Death => "its end with the manager",
            Self::Landlock => "the Landlock ruleset",
            Self::Calls => "the filter of system calls",
            Self::Program => "executing it",
        }
    }
}

/// Sets everything up and becomes the program, or reports the step that failed and ends.
pub(super) fn become_nf(plan: &Plan<'_>) -> ! {
    let code = match set_up(plan) {
        Ok(()) => 0,
        Err((step, errno)) => {
            let mut bytes = [0; 8];
            bytes[..4].copy_from_slice(&(step as u32).to_ne_bytes());
            bytes[4..].copy_from_slice(&errno.raw_os_error().to_ne_bytes());
            // A parent that has gone does not read it.
            let _ = rustix::io::write(&plan.report, &bytes);
            127
        }
    };
    end(code)
}

/// Kills all other processes of a user.
pub(super) fn end_all_as(user: u32) -> ! {
    let uid = Uid::from_raw(user);
    let done = rustix::thread::set_thread_res_uid(uid, uid, uid);
    if done.is_err() {
        end(1);
    }
    // SAFETY: the call takes two numbers. Process -1 means all that this one may signal, but itself and the first one.
    let result = unsafe { libc::kill(-1, libc::SIGKILL) };
    match check(result.into()) {
        Ok(()) | Err(Errno::SRCH) => end(0),
        Err(_) => end(2),
    }
}

pub(super) fn end(code: c_int) -> ! {
    // SAFETY: the call ends this process at once; no destructor or handler of the parent's, whose copy this is, runs.
    unsafe { libc::_exit(code) }
}

/// Returns without an error only where there is no program.
fn set_up(plan: &Plan<'_>) -> Result<(), (Step, Errno)> {
    let at = |step| move |errno| (step, errno);
    // Out of the terminal's session and the manager's process group: nothing typed, nothing signalled.
    rustix::process::setsid().map_err(at(Step::Session))?;
    wait_for_go(plan).map_err(at(Step::Start))?;
    limit(plan.limits).map_err(at(Step::Limits))?;
    if let Some(cores) = &plan.cores {
        rustix::thread::sched_setaffinity(None, cores).map_err(at(Step::Cores))?;
    }
    if let Some(node) = plan.node {
        prefer_node(node).map_err(at(Step::Node))?;
    }
    // In a user namespace files belong to their creator only once it has an id that the namespace knows. Outside of
    // one, the user may not mount.
    if plan.namespaces.user {
        take_user(plan).map_err(at(Step::User))?;
    }
    if let Some(root) = plan.root {
        Root::enter(root).map_err(at(Step::Files))?;
    }
    if !plan.namespaces.user {
        take_user(plan).map_err(at(Step::User))?;
    }
    give_up_capabilities().map_err(at(Step::Capabilities))?;
    place_streams(plan).map_err(at(Step::Streams))?;
    rustix::thread::set_no_new_privs(true).map_err(at(Step::Privileges))?;
    end_with_manager(plan).map_err(at(Step::Death))?;
    if let Some(ruleset) = &plan.ruleset {
        if plan.is_script && plan.root.is_some() {
            permit_lists(ruleset).map_err(at(Step::Landlock))?;
        }
        restrict(ruleset).map_err(at(Step::Landlock))?;
    }
    if let Some(filter) = plan.filter {
        install(filter).map_err(at(Step::Calls))?;
    }
    match &plan.program {
        None => Ok(()),
        Some(program) => match execute(program, plan) {
            Ok(never) => match never {},
            Err(errno) => Err((Step::Program, errno)),
        },
    }
}

/// The manager maps user ids and puts the process into its control group meanwhile.
fn wait_for_go(plan: &Plan<'_>) -> Result<(), Errno> {
    let mut byte = [0];
    match rustix::io::read(&plan.go, &mut byte)? {
        1 => Ok(()),
        // The manager could not, and has ended its end.
        _ => Err(Errno::CANCELED),
    }
}

/// Lowers limits, which needs no right; one that is lower already stays.
fn limit(limits: &[(Resource, u64)]) -> Result<(), Errno> {
    for &(resource, most) in limits {
        let now = rustix::process::getrlimit(resource).maximum;
        let most = Some(now.map_or(most, |now| now.min(most)));
        let limit = Rlimit {
            current: most,
            maximum: most,
        };
        rustix::process::setrlimit(resource, limit)?;
    }
    Ok(())
}

/// Its memory comes from this node as long as that has some; the program keeps that.
fn prefer_node(node: u16) -> Result<(), Errno> {
    let nodes = nflib::memory::node_mask(node);
    // SAFETY: the call reads so many bits of the array, which lives through it. It takes one more than it reads.
    let done = unsafe {
        let bits = 64 * nodes.len() + 1;
        libc::syscall(
            libc::SYS_set_mempolicy,
            libc::MPOL_PREFERRED,
            nodes.as_ptr(),
            bits,
        )
    };
    match check(done) {
        // A kernel without nodes has one.
        Err(Errno::NOSYS) => Ok(()),
        done => done,
    }
}

fn take_user(plan: &Plan<'_>) -> Result<(), Errno> {
    let Some(user) = plan.user else { return Ok(()) };
    let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}

/// Those that a user namespace gave; outside of one they went with the user id.
fn give_up_capabilities() -> Result<(), Errno> {
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, none)
}

/// Standard streams and the socket at their numbers; every other descriptor is closed by the start of the program, no
/// matter who opened it: libraries do not mark theirs.
fn place_streams(plan: &Plan<'_>) -> Result<(), Errno> {
    let [input, output, error] = &plan.streams;
    for (from, to) in [(input, 0), (output, 1), (error, 2), (&plan.socket, SOCKET)] {
        // SAFETY: the call takes three numbers. What it closes at `to` belonged to the parent's copy, which nothing in this
        // process uses any more: `Plan` keeps its own descriptors above these numbers.
        let done = unsafe { libc::syscall(libc::SYS_dup3, from.as_raw_fd(), to, 0) };
        check(done)?;
    }
    close_on_exec(SOCKET as u32 + 1)?;
    rustix::process::umask(Mode::from_raw_mode(0o077));
    // The manager ignores it, and an ignored signal would stay so.
    // SAFETY: the default action is not code that could run in a wrong state.
    let before = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    if before == libc::SIG_ERR {
        return Err(Errno::INVAL);
    }
    unblock_signals()
}

/// Blocked around the start, so that none is handled in the copy.
fn unblock_signals() -> Result<(), Errno> {
    // SAFETY: a signal set is plain data, which `sigemptyset` makes valid.
    let mut none = unsafe { std::mem::zeroed() };
    // SAFETY: both calls get a valid set that lives through them; this process has one thread, whose mask is its own.
    let done = unsafe {
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut())
    };
    check(done.into())
}

/// The kernel looks at the thread that started this process: the control thread, which lives as long as the manager.
fn end_with_manager(plan: &Plan<'_>) -> Result<(), Errno> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // It may have died just before.
    let mut fds = [PollFd::new(&plan.manager, PollFlags::IN)];
    let now = rustix::time::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    match poll(&mut fds, Some(&now))? {
        0 => Ok(()),
        _ => Err(Errno::SRCH),
    }
}

/// An interpreter looks for modules by listing directories: it may list those of the root that it has been given, of which the
/// ruleset's maker could not know.
fn permit_lists(ruleset: &OwnedFd) -> Result<(), Errno> {
    /// `struct landlock_path_beneath_attr`.
    #[repr(C, packed)]
    struct Beneath {
        allowed: u64,
        parent: c_int,
    }
    const READ_DIR: u64 = 1 << 3;
    const PATH_BENEATH: c_int = 1;
    let root = rustix::fs::open(c"/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let rule = Beneath {
        allowed: READ_DIR,
        parent: root.as_raw_fd(),
    };
    // SAFETY: the call reads a rule of the layout that its kind has in the kernel's interface, which lives through it, as both
    // descriptors do.
    let done = unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset.as_raw_fd(),
            PATH_BENEATH,
            &raw const rule,
            0,
        )
    };
    check(done)
}

fn restrict(ruleset: &OwnedFd) -> Result<(), Errno> {
    // SAFETY: the call takes two numbers, of which the first is a descriptor that lives through it.
    let done = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) };
    check(done)
}

/// Installs a filter.
fn install(filter: &BpfProgram) -> Result<(), Errno> {
    seccompiler::apply_filter(filter).map_err(|e| match e {
        seccompiler::Error::Prctl(e) | seccompiler::Error::Seccomp(e) => {
            e.raw_os_error().map_or(Errno::INVAL, Errno::from_raw_os_error)
        }
        _ => Errno::INVAL,
    })
}

fn execute(program: &OwnedFd, plan: &Plan<'_>) -> Result<Infallible, Errno> {
    let path = match (plan.is_script, plan.arguments.pointers.first()) {
        (true, Some(path)) => *path,
        _ => c"".as_ptr(),
    };
    // SAFETY: the path is a C string, the empty one or the first argument, whose string outlives the array by the lifetime of
    // `Pointers`, as those of both arrays do, which end with a null pointer. The descriptor is open; an absolute path, as that of a
    // script is, leaves it aside. The call returns only with an error.
    let failed = unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_fd().as_raw_fd(),
            path,
            plan.arguments.pointers.as_ptr(),
            plan.environment.pointers.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    check(failed)?;
    Err(Errno::INVAL)
}

/// Marks every descriptor from `first` on to be closed by the start of a program.
fn close_on_exec(first: u32) -> Result<(), Errno> {
    // SAFETY: the call takes three numbers. It closes no descriptor and only marks them, so that nothing that owns one loses it.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    check(done)
}

/// Addresses of the functions of libraries that run in the copy of the process; the compiler adds those that move memory.
pub(super) fn called() -> [usize; 10] {
    [
        libc::syscall as *const () as usize,
        libc::prctl as *const () as usize,
        libc::kill as *const () as usize,
        libc::signal as *const () as usize,
        libc::sigemptyset as *const () as usize,
        libc::sigprocmask as *const () as usize,
        libc::_exit as *const () as usize,
        libc::__errno_location as *const () as usize,
        libc::memcpy as *const () as usize,
        libc::memset as *const () as usize,
    ]
}

/// The kernel's error behind a result of the C library.
pub(super) fn check(result: libc::c_long) -> Result<(), Errno> {
    if result >= 0 {
        return Ok(());
    }
    // SAFETY: the location is this thread's own and always valid.
    Err(Errno::from_raw_os_error(unsafe { *libc::__errno_location() }))
}
