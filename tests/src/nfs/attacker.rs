//! `attacker`: passes packets on like an honest function, and attacks the host meanwhile as its parameter `how` names. What an attack
//! got stands in the names of its counters, e.g. `descriptors: 1024`; one without an end goes on in threads of its own.

#![allow(unsafe_code)]

use std::{
    io::{self, Write},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use nflib::{Burst, Nf, Setup, SetupError};

#[derive(Debug)]
pub(crate) struct Attacker;

impl Nf for Attacker {
    fn new(setup: &mut Setup) -> Result<Self, SetupError> {
        let how: String = setup.params.get("how")?;
        let got = match how.as_str() {
            "descriptors" => descriptors(),
            "kernel" => {
                std::thread::spawn(take_kernel_memory);
                Vec::new()
            }
            "memory" => memory(),
            "processes" => vec![format!("fork: {}", fork())],
            "threads" => vec![format!("threads: {}", threads())],
            "timers" => vec![format!("timers: {}", timers())],
            "calls" => calls(),
            "log" => {
                std::thread::spawn(shout);
                Vec::new()
            }
            other => return Err(SetupError::Other(format!("no attack is named {other:?}"))),
        };
        for name in got {
            setup.counter(name)?;
        }
        Ok(Self)
    }

    fn process(&mut self, _: &mut Burst<'_>) {}
}

fn answer(result: libc::c_long) -> Result<libc::c_long, io::Error> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        done => Ok(done),
    }
}

fn outcome(result: libc::c_long) -> String {
    answer(result).map_or_else(|e| format!("{:?}", e.kind()), |_| "done".to_owned())
}

/// Kernel objects of all kinds in turn, until none is given.
fn descriptors() -> Vec<String> {
    const MOST: usize = 100_000;
    let mut pair = [0; 2];
    let mut open = 0;
    for i in 0..MOST {
        // SAFETY: the calls take numbers, and an array of two that lives through them. The descriptors stay open on purpose.
        let (made, count) = unsafe {
            match i % 5 {
                0 => (libc::pipe2(pair.as_mut_ptr(), libc::O_CLOEXEC), 2),
                1 => (
                    libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, pair.as_mut_ptr()),
                    2,
                ),
                2 => (libc::eventfd(0, 0), 1),
                3 => (libc::epoll_create1(0), 1),
                _ => (libc::timerfd_create(libc::CLOCK_MONOTONIC, 0), 1),
            }
        };
        if made < 0 {
            break;
        }
        open += count;
    }
    vec![format!("descriptors: {open}")]
}

/// Once the function runs: socket buffers without end, memory of the kernel, which the limit of data does not count.
fn take_kernel_memory() {
    const MOST: usize = 500;
    std::thread::sleep(Duration::from_secs(1));
    let piece = [0_u8; 64 << 10];
    for _ in 0..MOST {
        let mut pair = [0; 2];
        let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK;
        // SAFETY: the array of two lives through the call. The sockets stay open on purpose.
        if unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, pair.as_mut_ptr()) } < 0 {
            return;
        }
        for end in pair {
            // SAFETY: the buffer lives through the call and is as long as is said.
            while unsafe { libc::send(end, piece.as_ptr().cast(), piece.len(), 0) } > 0 {}
        }
    }
}

/// Memory that the limit of data counts, and memory that it does not.
fn memory() -> Vec<String> {
    const PIECE: usize = 1 << 20;
    const MOST: usize = 512;
    let map = |flags| {
        // SAFETY: a new mapping where the kernel likes, which nothing else uses and which stays on purpose.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                PIECE,
                libc::PROT_READ | libc::PROT_WRITE,
                flags,
                -1,
                0,
            )
        };
        if at == libc::MAP_FAILED { -1 } else { 0 }
    };
    let private = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // What goes round the limit first: later there may be no memory for the answers.
    let mut got = vec![
        format!(
            "shared memory: {}",
            outcome(map(libc::MAP_SHARED | libc::MAP_ANONYMOUS))
        ),
        format!("stack memory: {}", outcome(map(private | libc::MAP_GROWSDOWN))),
        format!("huge memory: {}", outcome(map(private | libc::MAP_HUGETLB))),
    ];
    // Room for what follows.
    let room = vec![0_u8; 4 << 20];
    let pieces = (0..MOST)
        .take_while(|_| map(private | libc::MAP_POPULATE) == 0)
        .count();
    drop(std::hint::black_box(room));
    got.push(format!("memory: {pieces}"));
    got
}

fn fork() -> String {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the child has a copy of the memory and ends at once; the parent waits for it.
    unsafe {
        let child = libc::syscall(libc::SYS_fork);
        if child == 0 {
            libc::_exit(0);
        }
        if child > 0 {
            libc::waitpid(child as libc::pid_t, std::ptr::null_mut(), 0);
        }
        outcome(child)
    }
    #[cfg(not(target_arch = "x86_64"))]
    outcome({
        // SAFETY: as above; this architecture has no `fork` of its own.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(0) };
        }
        child.into()
    })
}

/// Threads until there are no more. Three of them make futex calls without a pause.
fn threads() -> usize {
    const MOST: usize = 500;
    const STORMING: usize = 3;
    let start = |i: usize| {
        let builder = std::thread::Builder::new().stack_size(16 << 10);
        builder
            .spawn(move || {
                loop {
                    if i < STORMING {
                        storm();
                    } else {
                        std::thread::sleep(Duration::from_secs(60));
                    }
                }
            })
            .is_ok()
    };
    (0..MOST).take_while(|&i| start(i)).count()
}

fn storm() {
    static WORD: AtomicU32 = AtomicU32::new(0);
    for expected in 0..1000_u32 {
        WORD.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the word lives for ever; a wait ends at once, since the word has another value, or by the time.
        unsafe {
            let time = libc::timespec {
                tv_sec: 0,
                tv_nsec: 1,
            };
            libc::syscall(
                libc::SYS_futex,
                WORD.as_ptr(),
                libc::FUTEX_WAIT,
                expected,
                &raw const time,
            );
            libc::syscall(libc::SYS_futex, WORD.as_ptr(), libc::FUTEX_WAKE, i32::MAX);
        }
    }
}

/// Timers of the kernel until there are no more.
fn timers() -> usize {
    const MOST: usize = 1_000_000;
    let mut id: libc::c_int = 0;
    // SAFETY: the call stores a number into one that lives through it; no event is asked for but the default signal, and no timer is
    // ever set.
    let mut make = || unsafe {
        libc::syscall(
            libc::SYS_timer_create,
            libc::CLOCK_MONOTONIC,
            std::ptr::null_mut::<libc::sigevent>(),
            &raw mut id,
        )
    };
    (0..MOST).take_while(|_| make() == 0).count()
}

/// Each answer that is not a refusal, of calls that reach beyond the process.
fn calls() -> Vec<String> {
    const REFUSED: [(&str, libc::c_long); 27] = [
        ("memfd_create", libc::SYS_memfd_create),
        ("fallocate", libc::SYS_fallocate),
        ("ftruncate", libc::SYS_ftruncate),
        ("mbind", libc::SYS_mbind),
        ("shmget", libc::SYS_shmget),
        ("msgget", libc::SYS_msgget),
        ("semget", libc::SYS_semget),
        ("mq_open", libc::SYS_mq_open),
        ("unshare", libc::SYS_unshare),
        ("setns", libc::SYS_setns),
        ("mount", libc::SYS_mount),
        ("chroot", libc::SYS_chroot),
        ("setuid", libc::SYS_setuid),
        ("setpgid", libc::SYS_setpgid),
        ("ptrace", libc::SYS_ptrace),
        ("process_vm_readv", libc::SYS_process_vm_readv),
        ("pidfd_getfd", libc::SYS_pidfd_getfd),
        ("sched_setaffinity", libc::SYS_sched_setaffinity),
        ("sched_setscheduler", libc::SYS_sched_setscheduler),
        ("io_uring_setup", libc::SYS_io_uring_setup),
        ("userfaultfd", libc::SYS_userfaultfd),
        ("bpf", libc::SYS_bpf),
        ("perf_event_open", libc::SYS_perf_event_open),
        ("keyctl", libc::SYS_keyctl),
        ("add_key", libc::SYS_add_key),
        ("sendmsg", libc::SYS_sendmsg),
        ("inotify_init1", libc::SYS_inotify_init1),
    ];
    let mut got = Vec::new();
    for (name, call) in REFUSED {
        // SAFETY: none of these calls changes this process's memory where all arguments are zero.
        let result = unsafe { libc::syscall(call, 0, 0, 0, 0, 0, 0) };
        match answer(result) {
            Err(e) if e.raw_os_error() == Some(libc::EPERM) => {}
            other => got.push(format!("allowed: {name}: {other:?}")),
        }
    }
    // SAFETY: no memory begins at zero, so that nothing is removed.
    let removed = unsafe { libc::syscall(libc::SYS_madvise, 0, 0, libc::MADV_REMOVE) };
    got.push(format!("remove pages: {}", outcome(removed)));
    got
}

/// Escape sequences and lines without end.
fn shout() {
    loop {
        let _ = io::stderr().write_all(b"\x1b[2J\x1b]0;owned\x07forged\rline\n");
        let _ = io::stdout().write_all(&[b'x'; 10_000]);
    }
}
