//! The bare ring: the project's own ring between two cores with nothing around it, which bounds every hop.

use std::{
    hint::{black_box, spin_loop},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use nflib::{Descriptor, Region, layout::Layout};

use crate::{BenchError, host};

const BURST: usize = 32;
/// Descriptors in each ring, as in a bundle without a `ring` setting.
const CAPACITY: u32 = 4096;
/// Bursts between looks at the end of the measurement.
const BURSTS_PER_LOOK: u32 = 256;

/// Where the ring leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// From one core to the other.
    Forward,
    /// To the other core and back: the ring work of one hop, without worker and NF.
    ThereAndBack,
}

/// Descriptors a second that arrive at the end of the course, in bursts of 32 through shared memory.
pub fn rate(course: Course, cores: [usize; 2], period: Duration) -> Result<f64, BenchError> {
    let (_fd, region) = Region::create("bench-ring", Layout::new(1, CAPACITY, 0))
        .map_err(BenchError::system("the ring's memory cannot be made"))?;
    let stop = AtomicBool::new(false);
    let near = |stop: &AtomicBool| match course {
        Course::Forward => {
            push_until(&region, stop, period);
            None
        }
        Course::ThereAndBack => Some(turn_around(&region, stop, period)),
    };
    let far = |stop: &AtomicBool| match course {
        Course::Forward => Some(count_until(&region, stop)),
        Course::ThereAndBack => {
            send_back_until(&region, stop);
            None
        }
    };
    let (sent, arrived) = thread::scope(|scope| {
        let far = scope.spawn(|| host::pin(cores[1]).map(|()| far(&stop)));
        let near = scope.spawn(|| {
            let measured = host::pin(cores[0]).map(|()| near(&stop));
            stop.store(true, Ordering::Release);
            measured
        });
        (near.join(), far.join())
    });
    let broken = |_| BenchError::Needs("its two threads to end well");
    let rates = [sent.map_err(broken)??, arrived.map_err(broken)??];
    rates
        .into_iter()
        .flatten()
        .next()
        .ok_or(BenchError::Needs("a rate from one of its threads"))
}

fn push_until(region: &Region, stop: &AtomicBool, period: Duration) {
    let mut ring = region.to_nf_producer(0);
    let mut burst = [Descriptor::default(); BURST];
    let end = Instant::now() + period;
    let mut sent = 0u32;
    while Instant::now() < end && !stop.load(Ordering::Relaxed) {
        for _ in 0..BURSTS_PER_LOOK {
            (0..)
                .zip(&mut burst)
                .for_each(|(i, d)| d.buffer = sent.wrapping_add(i));
            match ring.push(&burst) {
                Ok(n) => sent = sent.wrapping_add(n as u32),
                Err(corrupt) => unreachable!("{corrupt}: both ends are this program's"),
            }
        }
    }
}

fn count_until(region: &Region, stop: &AtomicBool) -> f64 {
    let mut ring = region.to_nf_consumer(0);
    let mut burst = [Descriptor::default(); BURST];
    let (mut began, mut last) = (None, Instant::now());
    let mut count = 0u64;
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..BURSTS_PER_LOOK {
            let n = ring.pop(&mut burst).unwrap_or(0);
            if n > 0 {
                assert_eq!(
                    black_box(&burst)[0].buffer,
                    count as u32,
                    "the ring lost or reordered descriptors"
                );
                count += n as u64;
            } else {
                spin_loop();
            }
        }
        last = Instant::now();
        // What was on its way before the first look is not counted by time either.
        if began.is_none() && count > 0 {
            began = Some((last, count));
        }
    }
    let Some((began, before)) = began else { return 0.0 };
    let seconds = (last - began).as_secs_f64();
    // A thread that got no processor time but once has seen no rate.
    if seconds > 0.0 {
        (count - before) as f64 / seconds
    } else {
        0.0
    }
}

fn turn_around(region: &Region, stop: &AtomicBool, period: Duration) -> f64 {
    let (mut out, mut back) = (region.to_nf_producer(0), region.from_nf_consumer(0));
    let (mut burst, mut returned) = ([Descriptor::default(); BURST], [Descriptor::default(); BURST]);
    let (mut sent, mut count) = (0u32, 0u64);
    let began = Instant::now();
    while began.elapsed() < period && !stop.load(Ordering::Relaxed) {
        for _ in 0..BURSTS_PER_LOOK {
            // No more under way than one ring holds, so that the way back always has room.
            if u64::from(sent).wrapping_sub(count) as u32 <= CAPACITY - BURST as u32 {
                (0..)
                    .zip(&mut burst)
                    .for_each(|(i, d)| d.buffer = sent.wrapping_add(i));
                sent = sent.wrapping_add(out.push(&burst).unwrap_or(0) as u32);
            }
            let n = back.pop(&mut returned).unwrap_or(0);
            if n > 0 {
                assert_eq!(
                    black_box(&returned)[0].buffer,
                    count as u32,
                    "the ring lost or reordered descriptors"
                );
                count += n as u64;
            }
        }
    }
    count as f64 / began.elapsed().as_secs_f64()
}

fn send_back_until(region: &Region, stop: &AtomicBool) {
    let (mut to, mut from) = (region.to_nf_consumer(0), region.from_nf_producer(0));
    let mut burst = [Descriptor::default(); BURST];
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..BURSTS_PER_LOOK {
            let n = to.pop(&mut burst).unwrap_or(0);
            if n > 0 {
                // There is room: no more is under way than the ring holds.
                let _ = from.push(black_box(&burst[..n]));
            } else {
                spin_loop();
            }
        }
    }
}
