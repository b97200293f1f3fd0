//! Passes every packet on. The smallest NF, and the one that measures the cost of a hop.

use nflib::{Burst, Counter, Nf, Params, Reconfigured, Setup, SetupError};

#[derive(Debug)]
pub struct Forward {
    packets: Counter,
    bytes: Counter,
}

impl Nf for Forward {
    fn new(setup: &mut Setup) -> Result<Self, SetupError> {
        Ok(Self {
            packets: setup.counter("packets")?,
            bytes: setup.counter("bytes")?,
        })
    }

    fn process(&mut self, burst: &mut Burst<'_>) {
        self.packets.add(burst.len() as u64);
        self.bytes.add(burst.bytes());
    }

    /// There is nothing to change.
    fn reconfigure(&mut self, _: &Params) -> Result<Reconfigured, SetupError> {
        Ok(Reconfigured::Done)
    }
}

#[cfg(test)]
mod tests {
    use nflib::Verdict;
    use nflib_testing::bench;

    use super::*;

    #[test]
    fn passes_on_and_counts() {
        let mut bench = bench::<Forward>(include_str!("manifest.toml"), Params::default()).unwrap();
        let packets: Vec<Vec<u8>> = (60..160).map(|n| vec![n as u8; n]).collect();
        let handled = bench.send(&packets);
        assert!(
            handled
                .iter()
                .zip(&packets)
                .all(|(h, p)| h.verdict == Verdict::Next && h.data == *p)
        );
        assert_eq!(bench.nf.packets.get(), 100);
        assert_eq!(bench.nf.bytes.get(), (60..160).sum::<u64>());
    }
}
