//! An NF's jail: all that is set up between the start of its process and that of its program.
//!
//! [`child`] lists the steps in their order. A step that fails is an error that names it, and the program does not
//! start. Hosts differ in what they offer: [`Jail::new`] tries it once, and refuses a host on which some [`Part`] of
//! the jail is impossible, unless the operator waives that part by name.

#![allow(unsafe_code)]

mod child;
mod files;
mod filter;
mod groups;
mod libraries;
mod means;
mod process;
mod root;

use std::{
    ffi::CString,
    fs::File,
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use nflib::session::SOCKET_VARIABLE;
use onvm_api::Isolation;
use rustix::{
    process::{PidfdFlags, Resource, pidfd_open},
    thread::CpuSet,
};
use seccompiler::BpfProgram;

pub use self::means::Part;
use self::{
    child::{Plan, Pointers, SOCKET, Step},
    groups::Groups,
    process::{Ends, Namespaces},
    root::Root,
};
pub(crate) use self::{
    libraries::leave_out_of_copies,
    means::Means,
    process::{NfProcess, OwnChild, StartError, end_all_of, has_started},
    root::is_seen,
};
use crate::{error::RunError, fleet::Needs};

/// Threads that an instance may have.
const MOST_THREADS: u64 = 64;
/// Descriptors that an instance may have open: those of its memory and files, and some of its own.
const MOST_DESCRIPTORS: u64 = 1024;
/// Bytes that an instance may lock in memory.
const MOST_LOCKED: u64 = 64 << 10;

/// What all jails have in common.
#[derive(Debug, Clone)]
pub(crate) struct Jail {
    means: Means,
    /// Of system calls; none, where the host has no such filters and the operator does without.
    filter: Option<Arc<BpfProgram>>,
    root: Option<Arc<Root>>,
    groups: Option<Arc<Groups>>,
}

/// What is particular to one.
#[derive(Debug)]
pub(crate) struct Confinement<'a> {
    /// Bytes of data that the process may allocate.
    pub(crate) memory: Option<u64>,
    /// The user that the process becomes; none: the manager's.
    pub(crate) user: Option<u32>,
    /// Cores that it may run on; empty: all.
    pub(crate) cores: &'a [u16],
    /// The NUMA node that its memory comes from as long as that has some; none: that of the core where it runs.
    pub(crate) node: Option<u16>,
    /// What its program needs of the file system beside what every NF sees.
    pub(crate) needs: &'a Needs,
}

/// A program in its jail.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) process: NfProcess,
    /// The manager's end of the instance's socket; it does not block.
    pub(crate) socket: OwnedFd,
    pub(crate) output: OwnedFd,
    pub(crate) error: OwnedFd,
}

impl Jail {
    /// Finds the means that this host offers. Refuses a host where NFs cannot be jailed, except for parts that the
    /// operator waives: then that is said once, with the reasons.
    pub(crate) async fn new(waived: &[Part]) -> Result<Self, RunError> {
        let mut means = Means::find(waived);
        let groups = means.take_groups().map(Arc::new);
        let filter = means.calls.then(filter::program).flatten().map(Arc::new);
        let mut jail = Self {
            root: None,
            groups,
            filter,
            means,
        };
        jail.with(Namespaces::ALL);
        let all = jail.rehearse().await;
        if let Err(e) = &all {
            tracing::debug!("namespaces are tried one by one, since all together fail: {e}");
            jail.find_namespaces().await;
        }
        jail.means.refuse()?;
        if all.is_err() {
            // As NFs are started, so that what still fails is said now.
            jail.rehearse()
                .await
                .map_err(|e| RunError::Unsupported(format!("NFs cannot be jailed: {e}")))?;
        }
        Ok(jail)
    }

    pub(crate) fn means(&self) -> &Means {
        &self.means
    }

    /// The namespaces that a process can have here, tried one by one.
    async fn find_namespaces(&mut self) {
        let mut found = Namespaces::default();
        for (name, add) in Namespaces::EACH {
            let mut with = found;
            add(&mut with);
            self.with(with);
            match self.rehearse().await {
                Ok(()) => found = with,
                Err(e) => self.means.missing.push((name, e.to_string())),
            }
        }
        self.with(found);
    }

    fn with(&mut self, namespaces: Namespaces) {
        self.means.namespaces = namespaces;
        self.root = namespaces.mount.then(|| Arc::new(Root::of_all()));
    }

    /// Sets a jail up in a process that then ends.
    async fn rehearse(&self) -> Result<(), StartError> {
        let confinement = Confinement {
            memory: None,
            user: self.means.users.then_some(REHEARSAL_USER),
            cores: &[],
            node: None,
            needs: &Needs::default(),
        };
        let mut started = self.start_any(None, &[], &confinement).await?;
        let status = started.process.wait().await?;
        match status.success() {
            true => Ok(()),
            false => Err(io::Error::other(format!("the process that tried it ended with {status}")).into()),
        }
    }

    /// Starts a program with these arguments and an environment of its own.
    pub(crate) async fn start(
        &self,
        program: &Path,
        arguments: &[String],
        confinement: &Confinement<'_>,
    ) -> Result<Started, StartError> {
        self.start_any(Some(program), arguments, confinement).await
    }

    async fn start_any(
        &self,
        program: Option<&Path>,
        arguments: &[String],
        confinement: &Confinement<'_>,
    ) -> Result<Started, StartError> {
        let names = command_line(program, arguments)?;
        let needs = confinement.needs;
        let script = program.filter(|_| needs.script);
        let own: Vec<&Path> = needs.files.iter().map(PathBuf::as_path).chain(script).collect();
        let own_root = Root::of(own.iter().copied());
        let environment = environment()?;
        let limits = confinement.limits(self.means.namespaces.user);
        let (ours, socket) = nflib::session::pair()?;
        let (output, their_output) = pipe()?;
        let (error, their_error) = pipe()?;
        let (report, their_report) = pipe()?;
        let (their_go, go) = pipe()?;
        let ruleset = match self.means.landlock {
            0 => None,
            _ => files::ruleset(own.iter().copied().chain(program))?,
        };
        let plan = Plan {
            streams: [
                above(File::open("/dev/null")?.into())?,
                above(their_output)?,
                above(their_error)?,
            ],
            socket: above(socket)?,
            program: program.map(|p| above(File::open(p)?.into())).transpose()?,
            is_script: script.is_some(),
            arguments: Pointers::new(names.iter().map(CString::as_c_str)),
            environment: Pointers::new(environment.iter().map(CString::as_c_str)),
            report: above(their_report)?,
            go: above(their_go)?,
            manager: above(pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?)?,
            namespaces: self.means.namespaces,
            limits: &limits,
            cores: confinement.cores(),
            node: confinement.node,
            user: confinement.user,
            root: self.root.as_deref().map(|root| [root, &own_root]),
            ruleset,
            filter: self.filter.as_deref(),
        };
        let group = |groups: &Arc<Groups>| groups.group(confinement.memory, MOST_THREADS);
        let group = self.groups.as_ref().map(group).transpose();
        let group = group.map_err(|source| StartError::Step {
            step: Step::Group,
            source,
        })?;
        let process = process::start(plan, Ends { report, go }, group).await?;
        Ok(Started {
            process,
            socket: ours,
            output,
            error,
        })
    }
}

/// The means of isolation that this host offers; fails if they do not suffice.
pub async fn isolation(waived: &[Part]) -> Result<Isolation, RunError> {
    Ok(Jail::new(waived).await?.means().report())
}

/// User that a rehearsal becomes, the last of those for NFs. It runs no program.
pub(crate) const REHEARSAL_USER: u32 = 65_519;

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

/// The same above the numbers that the child gives to its own.
fn above(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() > SOCKET {
        return Ok(fd);
    }
    Ok(rustix::io::fcntl_dupfd_cloexec(&fd, SOCKET + 1)?)
}

fn command_line(program: Option<&Path>, arguments: &[String]) -> io::Result<Vec<CString>> {
    let name = program.map_or(&b"onvm-run"[..], |p| p.as_os_str().as_bytes());
    let all = std::iter::once(name).chain(arguments.iter().map(String::as_bytes));
    Ok(all.map(CString::new).collect::<Result<_, _>>()?)
}

/// Its socket, and that it dies with this manager and looks for no other.
fn environment() -> io::Result<[CString; 2]> {
    Ok([
        CString::new(format!("{SOCKET_VARIABLE}=fd:{SOCKET}"))?,
        CString::new(format!("{}=0", nflib::session::REATTACH_VARIABLE))?,
    ])
}

impl Confinement<'_> {
    fn limits(&self, user_namespace: bool) -> Vec<(Resource, u64)> {
        let mut limits = vec![
            (Resource::Core, 0),
            (Resource::Fsize, 0),
            (Resource::Nofile, MOST_DESCRIPTORS),
            (Resource::Memlock, MOST_LOCKED),
        ];
        limits.extend(self.memory.map(|bytes| (Resource::Data, bytes)));
        // The kernel counts the processes of a user in a user namespace. Those of the manager's own user are not the NF's alone.
        if self.user.is_some() || user_namespace {
            limits.push((Resource::Nproc, MOST_THREADS));
        }
        limits
    }

    fn cores(&self) -> Option<CpuSet> {
        (!self.cores.is_empty()).then(|| cpu_set(self.cores))
    }
}

fn cpu_set(cores: &[u16]) -> CpuSet {
    let mut set = CpuSet::new();
    let cores = cores.iter().map(|&core| usize::from(core));
    cores
        .filter(|core| *core < CpuSet::MAX_CPU)
        .for_each(|core| set.set(core));
    set
}
