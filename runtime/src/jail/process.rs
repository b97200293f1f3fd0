//! Starting a process in namespaces of its own, and handling it afterwards.

use std::{
    collections::BTreeSet,
    fs, io,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::process::ExitStatusExt,
    },
    process::ExitStatus,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, waitid},
};
use tokio::io::unix::AsyncFd;

use super::{
    child::{self, Plan, Step},
    groups::Group,
};

/// Namespaces of a process's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Namespaces {
    pub(crate) user: bool,
    pub(crate) pid: bool,
    pub(crate) ipc: bool,
    pub(crate) network: bool,
    pub(crate) mount: bool,
}

/// A kind of namespace, and how it is added to others.
type Named = (&'static str, fn(&mut Namespaces));

impl Namespaces {
    pub(super) const ALL: Self = Self {
        user: true,
        pid: true,
        ipc: true,
        network: true,
        mount: true,
    };

    /// Each by itself, in the order in which they are tried: without rights the others need the first.
    pub(super) const EACH: [Named; 5] = [
        ("user namespace", |n| n.user = true),
        ("pid namespace", |n| n.pid = true),
        ("ipc namespace", |n| n.ipc = true),
        ("network namespace", |n| n.network = true),
        ("mount namespace", |n| n.mount = true),
    ];

    pub(super) fn names(self) -> Vec<&'static str> {
        let own = [self.user, self.pid, self.ipc, self.network, self.mount];
        let each = Self::EACH.into_iter().zip(own);
        each.filter(|(_, own)| *own).map(|((name, _), _)| name).collect()
    }

    fn flags(self) -> u64 {
        let flags = [
            (self.user, libc::CLONE_NEWUSER),
            (self.pid, libc::CLONE_NEWPID),
            (self.ipc, libc::CLONE_NEWIPC),
            (self.network, libc::CLONE_NEWNET),
            (self.mount, libc::CLONE_NEWNS),
        ];
        let chosen = flags.into_iter().filter(|(own, _)| *own);
        chosen.fold(0, |all, (_, flag)| all | flag as u64)
    }
}

/// Why a process did not come to run its program.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("{}: {source}", step.what())]
    Step { step: Step, source: io::Error },
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<Errno> for StartError {
    fn from(errno: Errno) -> Self {
        Self::Io(errno.into())
    }
}

/// The manager's ends of what a [`Plan`] has the other ends of.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) report: OwnedFd,
    pub(super) go: OwnedFd,
}

/// A started process. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct NfProcess {
    pid: Pid,
    /// Readable once the process has ended.
    handle: AsyncFd<OwnedFd>,
    status: Option<ExitStatus>,
    group: Option<Group>,
}

impl NfProcess {
    /// Moves it to other cores, with all threads that it has.
    pub(crate) fn pin(&self, cores: &[u16]) -> io::Result<()> {
        // A thread that starts meanwhile has the cores of the one that starts it, so the second look finds what the first missed;
        // one that starts threads for ever keeps nobody here.
        const LOOKS: usize = 4;
        let set = super::cpu_set(cores);
        let mut moved = BTreeSet::new();
        for _ in 0..LOOKS {
            let mut more = false;
            for task in fs::read_dir(format!("/proc/{}/task", self.pid.as_raw_nonzero()))? {
                let thread = task?.file_name().to_str().and_then(|name| name.parse().ok());
                let Some(thread) = thread.filter(|id| moved.insert(*id)).and_then(Pid::from_raw) else {
                    continue;
                };
                more = true;
                match rustix::thread::sched_setaffinity(Some(thread), &set) {
                    Ok(()) | Err(Errno::SRCH) => {}
                    Err(e) => return Err(e.into()),
                }
            }
            if !more {
                break;
            }
        }
        Ok(())
    }
}

/// The processes that were started here and have not been reaped; a few hundred at most.
static STARTED: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

fn started() -> MutexGuard<'static, Vec<Pid>> {
    // The set is whole between any two steps.
    STARTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a child of this process was started here, so that it is not a stranger that some NF left behind.
pub(crate) fn has_started(id: u32) -> bool {
    Pid::from_raw(id as i32).is_some_and(|pid| started().contains(&pid))
}

/// Another child of this process, which no sweep takes for a stranger while this lives.
#[derive(Debug)]
pub(crate) struct OwnChild(Option<Pid>);

impl OwnChild {
    pub(crate) fn new(id: u32) -> Self {
        let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
        started().extend(pid);
        Self(pid)
    }
}

impl Drop for OwnChild {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            started().retain(|known| *known != pid);
        }
    }
}

/// Starts a process that carries out the plan, in this control group, and waits until its program runs.
pub(super) async fn start(plan: Plan<'_>, ends: Ends, group: Option<Group>) -> Result<NfProcess, StartError> {
    let within = group.as_ref().map(Group::directory);
    let (pid, handle) = clone_with(plan.namespaces, within, || child::become_nf(&plan))?;
    // Before anything else runs on this thread, a sweep for strangers for example.
    started().push(pid);
    let process = NfProcess {
        pid,
        handle: watch(handle)?,
        status: None,
        group,
    };
    let step = |step| move |source| StartError::Step { step, source };
    if plan.namespaces.user {
        map_user(pid, plan.user).map_err(step(Step::Start))?;
    }
    rustix::io::write(&ends.go, &[1])?;
    // Closes the manager's copies of the child's ends: what is reported ends when the program starts.
    drop(plan);
    match read_report(ends.report).await? {
        None => Ok(process),
        Some((failed, source)) => Err(StartError::Step { step: failed, source }),
    }
}

#[expect(
    deprecated,
    reason = "the objection is to types that do not own their descriptor; this one does"
)]
fn watch(handle: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(handle)
}

/// Copies this process, in namespaces of its own. What the copy does is in [`child`]: it makes only system calls on values that
/// were made before.
fn clone_with(
    namespaces: Namespaces,
    group: Option<BorrowedFd<'_>>,
    child: impl FnOnce(),
) -> io::Result<(Pid, OwnedFd)> {
    let mut handle: RawFd = -1;
    let mut flags = namespaces.flags() | (libc::CLONE_PIDFD as u64) | CLONE_CLEAR_SIGHAND;
    if group.is_some() {
        flags |= CLONE_INTO_CGROUP;
    }
    let arguments = CloneArguments {
        cgroup: group.map_or(0, |directory| directory.as_raw_fd() as u64),
        flags,
        pidfd: (&raw mut handle) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArguments::default()
    };
    let signals = Blocked::all()?;
    // SAFETY: the arguments are a valid structure of the size that is given and live through the call; `pidfd` points to an
    // integer that does, too, and `cgroup` is a descriptor that does. Without `CLONE_VM` the child gets a copy of the memory, but
    // for libraries that it does not call, and goes on here with its own stack. It does nothing but `child`, which is one of two
    // functions of the module of that name, and which does not return.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of_val(&arguments)) };
    if result == 0 {
        child();
        child::end(1);
    }
    let checked = child::check(result);
    drop(signals);
    checked?;
    // SAFETY: the kernel has stored a new descriptor, which nobody else owns.
    let handle = unsafe { OwnedFd::from_raw_fd(handle) };
    let pid = i32::try_from(result).ok().and_then(Pid::from_raw);
    pid.map(|pid| (pid, handle))
        .ok_or_else(|| io::Error::other("the kernel gave no process id"))
}

const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// `struct clone_args` of Linux 5.7, the first with control groups.
#[derive(Debug, Default)]
#[repr(C)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// All signals of this thread are held back while it lives: the copy shares the manager's pipe for signals, and would write
/// to it.
struct Blocked(libc::sigset_t);

impl Blocked {
    fn all() -> io::Result<Self> {
        let mut before = MaybeUninit::uninit();
        let mut all = MaybeUninit::uninit();
        // SAFETY: `sigfillset` makes the set valid before it is read, and `pthread_sigmask` only stores into `before`. Both live
        // through the calls.
        let done = unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), before.as_mut_ptr())
        };
        match done {
            // SAFETY: the call succeeded, so it has stored the former mask.
            0 => Ok(Self(unsafe { before.assume_init() })),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: the set is valid, and the third argument may be null.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut()) };
    }
}

/// Ends all processes of a user, as only one of that user can without a race.
pub(crate) fn end_all_of(user: u32) -> io::Result<()> {
    const MOST_ATTEMPTS: u32 = 16;
    let mut last = None;
    for _ in 0..MOST_ATTEMPTS {
        let handle = clone_with(Namespaces::default(), None, || child::end_all_as(user))?.1;
        let status = loop {
            match waitid(WaitId::PidFd(handle.as_fd()), WaitIdOptions::EXITED) {
                Err(Errno::INTR) => {}
                status => break status?.map(|s| to_exit_status(&s)),
            }
        };
        match status {
            Some(status) if status.success() => return Ok(()),
            // One of them may have been quicker.
            status => last = status,
        }
    }
    let what = last.map_or_else(String::new, |status| format!(": {status}"));
    Err(io::Error::other(format!(
        "processes of user {user} cannot be ended{what}"
    )))
}

/// Lets the process's user namespace know one user and one group: those that it becomes, which are the same inside.
fn map_user(pid: Pid, user: Option<u32>) -> io::Result<()> {
    let directory = format!("/proc/{}", pid.as_raw_nonzero());
    let write = |file: &str, text: String| fs::write(format!("{directory}/{file}"), text);
    let (uid, gid) = match user {
        Some(user) => (user, user),
        None => {
            // Without rights over groups the kernel takes a map only where groups cannot be given up.
            write("setgroups", "deny".to_owned())?;
            (
                rustix::process::geteuid().as_raw(),
                rustix::process::getegid().as_raw(),
            )
        }
    };
    write("uid_map", format!("{uid} {uid} 1\n"))?;
    write("gid_map", format!("{gid} {gid} 1\n"))
}

/// The step that failed; none once the program runs.
async fn read_report(report: OwnedFd) -> io::Result<Option<(Step, io::Error)>> {
    use tokio::io::AsyncReadExt;
    let mut bytes = Vec::new();
    let mut pipe = tokio::net::unix::pipe::Receiver::from_owned_fd(report)?;
    pipe.read_to_end(&mut bytes).await?;
    let (Some(step), Some(errno)) = (number(&bytes, 0), number(&bytes, 4)) else {
        return Ok(None);
    };
    let step = Step::ALL.into_iter().find(|s| *s as u32 == step);
    Ok(step.map(|step| (step, io::Error::from_raw_os_error(errno as i32))))
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_ne_bytes(bytes))
}

impl NfProcess {
    pub(crate) fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get() as u32
    }

    /// Waits until the process has ended, without reaping it: until then its group can be named safely.
    pub(crate) async fn ended(&self) {
        if self.status.is_none() {
            // An error says that it cannot be waited for, which is as good as its end.
            let _ = self.handle.readable().await;
        }
    }

    /// Waits for the end and reaps the process.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.status {
                return Ok(status);
            }
            let mut guard = self.handle.readable().await?;
            match reap(guard.get_inner().as_fd())? {
                Some(status) => {
                    started().retain(|pid| *pid != self.pid);
                    self.status = Some(status);
                }
                None => guard.clear_ready(),
            }
        }
    }

    /// Whether the kernel ended it because it and what it started wanted more memory than they have.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        self.group.as_ref().is_some_and(Group::ran_out_of_memory)
    }

    /// Kills the process and its process group, which it leads.
    pub(crate) fn kill(&self) {
        if self.status.is_some() {
            return;
        }
        // Neither can fail except on what has ended.
        let _ = rustix::process::kill_process_group(self.pid, Signal::KILL);
        let _ = rustix::process::pidfd_send_signal(self.handle.get_ref(), Signal::KILL);
    }
}

impl Drop for NfProcess {
    fn drop(&mut self) {
        self.kill();
        if self.status.is_none() {
            // One that takes longer to go is a stranger from now on, whom a later sweep reaps.
            let _ = reap(self.handle.get_ref().as_fd());
            started().retain(|pid| *pid != self.pid);
        }
    }
}

/// The status of a process that has ended; then it is gone.
fn reap(handle: BorrowedFd<'_>) -> io::Result<Option<ExitStatus>> {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    Ok(waitid(WaitId::PidFd(handle), look)?.map(|status| to_exit_status(&status)))
}

fn to_exit_status(status: &WaitIdStatus) -> ExitStatus {
    const CORE_DUMPED: i32 = 0x80;
    let raw = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code << 8,
        (None, Some(signal)) if status.dumped() => signal | CORE_DUMPED,
        (None, signal) => signal.unwrap_or(0),
    };
    ExitStatus::from_raw(raw)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;

    use super::*;

    /// Needs root, as all that has users of its own.
    #[test]
    fn all_processes_of_a_user_are_ended_and_no_others() {
        let sleeper = |user| {
            let mut command = std::process::Command::new("sleep");
            command.arg("600").uid(user).gid(user).spawn().unwrap()
        };
        let (mut first, mut second, mut other) = (sleeper(65_001), sleeper(65_001), sleeper(65_002));
        end_all_of(65_001).unwrap();
        assert_eq!(first.wait().unwrap().signal(), Some(9));
        assert_eq!(second.wait().unwrap().signal(), Some(9));
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
        end_all_of(65_001).unwrap();
    }
}
