//! Tries to get at the packets for writing, although its manifest declares no write, and reports how far it came by the
//! names of its counters, e.g. `reopen: PermissionDenied`.

#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::Path,
    process::ExitCode,
};

use nflib::{
    layout::ABI_VERSION,
    memory::Mapping,
    session::{self, FromNf, ToNf},
};
use rustix::fs::{Mode, OFlags};

pub(crate) fn run() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> io::Result<()> {
    let socket = std::env::var_os(session::SOCKET_VARIABLE).ok_or(io::ErrorKind::NotFound)?;
    let connection = session::attach(Path::new(&socket))?;
    let pid = std::process::id();
    session::send(
        &connection,
        &FromNf::Hello {
            abi: ABI_VERSION,
            pid,
        },
        &[],
    )?;
    let Some((ToNf::Welcome { .. }, fds)) = session::receive(&connection)? else {
        return Err(io::Error::other("no welcome"));
    };
    let packets = fds.get(1).ok_or(io::ErrorKind::NotFound)?;
    let mut names = attempts(packets);
    names.extend(fds.first().into_iter().flat_map(calls));
    session::send(
        &connection,
        &FromNf::Counters {
            first: 0,
            names,
            gauges: Vec::new(),
        },
        &[],
    )?;
    session::send(&connection, &FromNf::Ready, &[])?;
    // Until the manager says stop, or goes.
    while let Ok(Some((message, _))) = session::receive::<ToNf>(&connection) {
        if message == ToNf::Stop {
            break;
        }
    }
    Ok(())
}

fn attempts(packets: &OwnedFd) -> Vec<String> {
    let path = format!("/proc/self/fd/{}", packets.as_raw_fd());
    let open = |flags| rustix::fs::open(path.as_str(), flags, Mode::empty()).map(drop);
    vec![
        outcome("map", Mapping::new(packets.as_fd(), true).map(drop)),
        outcome("reopen", open(OFlags::RDWR)),
        outcome("chmod", rustix::fs::fchmod(packets, Mode::from_raw_mode(0o777))),
        outcome("reopen after chmod", open(OFlags::WRONLY)),
        outcome(
            "chown",
            rustix::fs::fchown(packets, Some(rustix::process::getuid()), None),
        ),
    ]
}

/// System calls that would reach beyond the process: pages of a shared file, files, groups, cores.
fn calls(region: &OwnedFd) -> Vec<String> {
    use rustix::{fs::FallocateFlags, process, thread};
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let mut core = thread::CpuSet::new();
    core.set(0);
    let stranger = match process::getsid(None) {
        Ok(session) if session == process::getpid() => Ok(()),
        _ => Err(io::Error::other("another's session")),
    };
    vec![
        outcome("punch a hole", rustix::fs::fallocate(region, hole, 0, 4096)),
        outcome("make a directory", rustix::fs::mkdir("deeper", Mode::RWXU)),
        outcome(
            "make memory",
            rustix::fs::memfd_create("more", rustix::fs::MemfdFlags::CLOEXEC).map(drop),
        ),
        outcome("join a group", process::setpgid(None, process::getppid())),
        outcome("take a core", thread::sched_setaffinity(None, &core)),
        outcome(
            "open a network",
            std::net::UdpSocket::bind("127.0.0.1:0").map(drop),
        ),
        outcome("lead a session", stranger),
        outcome("see files", std::fs::read("/etc/passwd").map(drop)),
        outcome("see devices", std::fs::read_dir("/sys").map(drop)),
        outcome("see processes", std::fs::read_dir("/proc").map(drop)),
        outcome("write a file", std::fs::write("/tmp/probe", "x")),
        outcome("write here", std::fs::write("probe", "x")),
        outcome("write to shared memory", std::fs::write("/dev/shm/probe", "x")),
        outcome("write beside its socket", std::fs::write("/run/onvm/probe", "x")),
        outcome("mount", mount()),
        outcome("type into a terminal", type_into_terminal()),
        outcome("trace", trace()),
        outcome(
            "start a process",
            std::process::Command::new("/bin/true").status().map(drop),
        ),
        format!("signal others: {}", others()),
    ]
}

/// Processes but this one that it could signal.
fn others() -> usize {
    let own = rustix::process::getpid();
    let pids = (1..100_000).filter_map(rustix::process::Pid::from_raw);
    pids.filter(|&pid| pid != own && rustix::process::test_kill_process(pid).is_ok())
        .count()
}

fn mount() -> io::Result<()> {
    // SAFETY: the texts are NUL-terminated and live through the call; the last argument may be null.
    answer(i64::from(unsafe {
        libc::mount(
            c"none".as_ptr(),
            c"/".as_ptr(),
            c"tmpfs".as_ptr(),
            0,
            std::ptr::null(),
        )
    }))
}

fn type_into_terminal() -> io::Result<()> {
    // SAFETY: the call reads one byte, which is there.
    answer(unsafe { libc::ioctl(0, libc::TIOCSTI, c"x".as_ptr()) }.into())
}

fn trace() -> io::Result<()> {
    // SAFETY: the call looks at no memory.
    answer(unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) })
}

fn answer(result: libc::c_long) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn outcome<E: Into<io::Error>>(what: &str, result: Result<(), E>) -> String {
    match result.map_err(Into::into) {
        Ok(()) => format!("{what}: done"),
        Err(e) => format!("{what}: {:?}", e.kind()),
    }
}
