//! What is counted: courses that execute the same instructions in every run.

use std::{
    hint::black_box,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    sync::atomic::Ordering,
    thread,
    time::Duration,
};

use nflib::{
    Descriptor, Nf, Region,
    layout::Layout,
    memory::{Geometry, create_file, reopen_read_only},
    session::{self, Command, Configuration, FromNf, IdlePolicy, ToNf},
};
use onvm_run::worker::Worker;
use stdlib_nfs::forward::Forward;

use crate::{
    BenchError,
    rig::{self, Rig},
};

/// Descriptors that an NF pushes at once.
pub const BURST: usize = 32;

/// One thing to count.
#[derive(Debug)]
pub struct Course {
    pub name: &'static str,
    /// Runs it with this number of bursts, at most [`MAX_BURSTS`].
    pub run: fn(u32) -> Result<(), BenchError>,
    /// The one function that is counted, with what it calls; else everything is.
    pub counted: Option<&'static str>,
}

pub const COURSES: &[Course] = &[
    Course {
        name: "ring",
        run: ring,
        counted: None,
    },
    Course {
        name: "nf_forward",
        run: nf_forward,
        counted: None,
    },
    Course {
        name: "worker_0",
        run: |bursts| worker(0, bursts),
        counted: COUNTED_ROUND,
    },
    Course {
        name: "worker_1",
        run: |bursts| worker(1, bursts),
        counted: COUNTED_ROUND,
    },
    Course {
        name: "worker_5",
        run: |bursts| worker(5, bursts),
        counted: COUNTED_ROUND,
    },
];
const COUNTED_ROUND: Option<&str> = Some("*counted_round*");

/// The largest ring: everything that a course needs fits at once.
const CAPACITY: u32 = 65_536;
/// Bursts that one run can have.
pub const MAX_BURSTS: u32 = CAPACITY / BURST as u32;
const GEOMETRY: Geometry = Geometry {
    first: 0,
    buffers: 64,
    stride: 2240,
    headroom: 128,
};

/// Push and pop of full bursts, in one thread.
fn ring(bursts: u32) -> Result<(), BenchError> {
    let (_fd, region) = Region::create("course", Layout::new(1, CAPACITY, 0))
        .map_err(BenchError::system("the ring's memory"))?;
    let (mut producer, mut consumer) = (region.to_nf_producer(0), region.to_nf_consumer(0));
    let mut burst = [packet(); BURST];
    for _ in 0..bursts {
        let pushed = producer.push(black_box(&burst)).unwrap_or(0);
        let popped = consumer.pop(&mut burst).unwrap_or(0);
        assert_eq!(
            (pushed, popped),
            (BURST, BURST),
            "the ring did not take or give a full burst"
        );
    }
    Ok(())
}

/// The NF's side of a hop: the run loop with `forward`. All bursts and the command to stop are there before the NF looks, so
/// that it never waits and every run takes the same way.
fn nf_forward(bursts: u32) -> Result<(), BenchError> {
    let dir = tempfile::tempdir().map_err(BenchError::system("a temporary directory"))?;
    let path = dir.path().join("nf.sock");
    let listener = session::listen(&path).map_err(BenchError::system("the NF's socket"))?;
    let manager = thread::spawn(move || welcome(&listener, bursts));
    run_forward(&path)?;
    let (connection, region) = manager
        .join()
        .map_err(|_| BenchError::Needs("its manager to end well"))??;
    drop(connection);
    // Looked at, not popped: popping would count as part of the course.
    let count = region.from_nf_consumer(0).available().unwrap_or(0);
    assert_eq!(
        count,
        bursts * BURST as u32,
        "the NF did not hand back every descriptor"
    );
    Ok(())
}

fn run_forward(socket: &Path) -> Result<(), BenchError> {
    nflib::attach_and_run(socket, Some(Duration::ZERO), Forward::new)
        .map_err(|e| BenchError::Nf(e.to_string()))
}

/// The manager's part; the connection must live until the NF has ended.
fn welcome(listener: &OwnedFd, bursts: u32) -> Result<(OwnedFd, Region), BenchError> {
    let failed = || BenchError::system("the NF cannot be welcomed");
    let wait = |fd: &OwnedFd| {
        let mut fds = [rustix::event::PollFd::new(fd, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut fds, None).map_err(BenchError::errno("waiting for the NF"))
    };
    let (region_fd, region) = Region::create("course", Layout::new(1, CAPACITY, 16)).map_err(failed())?;
    let packets = create_file("course-packets", GEOMETRY.bytes(), false).map_err(failed())?;
    let packets = reopen_read_only(packets.as_fd()).map_err(failed())?;
    fill(&region, bursts).map_err(failed())?;
    region.command().store(Command::Stop as u32, Ordering::Release);
    wait(listener)?;
    let connection = session::accept(listener).map_err(failed())?;
    wait(&connection)?;
    session::receive::<FromNf>(&connection).map_err(failed())?;
    let configuration = serde_json::to_vec(&Configuration::default()).map_err(|e| failed()(e.into()))?;
    let configuration = session::content_descriptor("configuration", &configuration).map_err(failed())?;
    let message = ToNf::Welcome {
        instance: "course-0".to_owned(),
        geometry: GEOMETRY,
        idle: IdlePolicy {
            spins: 0,
            yields: 0,
            sleeps: true,
        },
        log: None,
    };
    session::send(
        &connection,
        &message,
        &[region_fd.as_fd(), packets.as_fd(), configuration.as_fd()],
    )
    .map_err(failed())?;
    Ok((connection, region))
}

/// Puts the bursts into the ring to the NF, and the rest of [`MAX_BURSTS`] into one that nobody reads: the same number of
/// pushes in every run, so that they cancel out of the difference of two.
fn fill(region: &Region, bursts: u32) -> std::io::Result<()> {
    let (_fd, unread) = Region::create("unread", Layout::new(1, CAPACITY, 0))?;
    let (mut to_nf, mut to_nobody) = (region.to_nf_producer(0), unread.to_nf_producer(0));
    for i in 0..MAX_BURSTS {
        let ring = if i < bursts { &mut to_nf } else { &mut to_nobody };
        let pushed = ring.push(&[packet(); BURST]).unwrap_or(0);
        assert_eq!(pushed, BURST, "the ring did not take a full burst");
    }
    Ok(())
}

/// The worker's side of a chain of so many NFs between two null ports. Its rounds alone are counted, and not what starts DPDK,
/// what the NFs do, or the upkeep between rounds, which depends on time. In each round every NF has a burst to hand back.
fn worker(nfs: u16, bursts: u32) -> Result<(), BenchError> {
    let mut rig = Rig::new(nfs)?;
    for _ in 0..nfs {
        rig.round(Worker::round)?;
    }
    let before = rig.delivered();
    for _ in 0..bursts {
        let moved = rig.round(counted_round)?;
        assert_eq!(
            moved,
            rig::BURST * (usize::from(nfs) + 1),
            "the worker did not move a full burst at each hop"
        );
    }
    assert_eq!(
        rig.delivered() - before,
        u64::from(bursts) * rig::BURST as u64,
        "not every packet has left"
    );
    Ok(())
}

/// Callgrind knows it by its name.
#[inline(never)]
fn counted_round(worker: &mut Worker) -> usize {
    worker.round()
}

fn packet() -> Descriptor {
    Descriptor {
        offset: GEOMETRY.headroom as u16,
        length: 60,
        ..Descriptor::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_course_ends_and_checks_its_own_count() {
        for course in COURSES {
            (course.run)(3).unwrap();
        }
    }
}
