//! Counters, gauges and histograms of an NF.

use nflib::{
    Burst, Counter, Gauge, Histogram, Nf, Params, Setup, SetupError,
    testing::{AnyBench, Bench},
};

/// Measures packets.
struct Sizes {
    packets: Counter,
    last: Gauge,
    sizes: Histogram,
}

impl Nf for Sizes {
    fn new(setup: &mut Setup) -> Result<Self, SetupError> {
        let bounds: Vec<u64> = setup.params.get("bounds")?;
        Ok(Self {
            packets: setup.counter("packets")?,
            sizes: setup.histogram("size", &bounds)?,
            last: setup.gauge("last")?,
        })
    }

    fn process(&mut self, burst: &mut Burst<'_>) {
        for packet in burst.packets() {
            let size = packet.len() as u64;
            self.packets.add(1);
            self.last.set(size);
            self.sizes.record(size);
        }
    }
}

fn bench(bounds: &[u64]) -> Result<Bench<Sizes>, SetupError> {
    Bench::new(Params::default().with("bounds", bounds))
}

#[test]
fn values_are_counted_by_range() {
    let mut bench = bench(&[64, 100]).unwrap();
    bench.send(&[60, 64, 65, 100, 101, 1500, 10].map(|n| vec![0; n]));
    assert_eq!(
        bench.counters(),
        [
            ("packets", 7),
            ("size_to_64", 3),
            ("size_to_100", 2),
            ("size_above_100", 2),
            ("size_sum", 1900),
            ("last", 10),
        ]
    );
    let Sizes { last, sizes, .. } = &bench.nf;
    assert_eq!(
        (sizes.counts().collect::<Vec<_>>(), sizes.sum()),
        (vec![3, 2, 2], 1900)
    );
    last.add(5);
    last.sub(2);
    assert_eq!(last.get(), 13);
    last.sub(100);
    assert_eq!(last.get(), 0);
}

#[test]
fn bounds_that_do_not_ascend_are_refused() {
    for bounds in [&[][..], &[5, 5], &[7, 3]] {
        let error = bench(bounds).err().unwrap().to_string();
        assert!(
            error.starts_with("histogram `size`: expected one bound or more"),
            "{error}"
        );
    }
    assert!(bench(&[0, u64::MAX]).is_ok());
}
