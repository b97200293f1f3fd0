//! The clock that an NF sees on a bench.

use std::time::Duration;

use nflib::{Burst, Nf, Params, Setup, SetupError, Time, testing::Bench};

const SECOND: Duration = Duration::from_secs(1);

/// Notes every time that it is given.
struct Watch {
    started: Time,
    bursts: Vec<Duration>,
    ticks: Vec<Duration>,
}

impl Nf for Watch {
    fn new(setup: &mut Setup) -> Result<Self, SetupError> {
        setup.tick_every(setup.params.duration("every")?);
        Ok(Self {
            started: setup.now(),
            bursts: Vec::new(),
            ticks: Vec::new(),
        })
    }

    fn process(&mut self, burst: &mut Burst<'_>) {
        self.bursts.push(burst.now() - self.started);
    }

    fn tick(&mut self, now: Time) {
        self.ticks.push(now - self.started);
    }
}

fn bench(every: Duration) -> Bench<Watch> {
    let nanos = every.as_nanos() as u64;
    Bench::new(Params::default().with("every", nanos)).unwrap()
}

#[test]
fn time_passes_when_the_test_says_so() {
    let mut bench = bench(2 * SECOND);
    bench.send(&[[0; 60]]);
    bench.advance(3 * SECOND);
    bench.send(&[[0; 60]]);
    bench.advance(5 * SECOND);
    assert_eq!(bench.nf.bursts, [Duration::ZERO, 3 * SECOND]);
    let due = [2, 4, 6, 8].map(|n| n * SECOND);
    assert_eq!(bench.nf.ticks, due);
    assert_eq!(bench.now() - bench.nf.started, 8 * SECOND);
}

#[test]
fn a_period_of_zero_is_not_without_end() {
    let mut bench = bench(Duration::ZERO);
    bench.advance(SECOND);
    assert_eq!(bench.nf.ticks.len(), 1000);
}
