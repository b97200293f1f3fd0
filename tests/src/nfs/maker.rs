//! Makes packets: a copy of each one, for the output `mirror`, and an answer to the first of each burst, which follows the chain.

use nflib::{Burst, Counter, GenerateError, Nf, Output, Setup, SetupError};

/// As long as the shortest frame, of an EtherType for experiments.
const ANSWER: [u8; 60] = {
    let mut frame = [0xaa; 60];
    (frame[12], frame[13]) = (0x88, 0xb5);
    frame
};

#[derive(Debug)]
pub(crate) struct Maker {
    mirror: Output,
    copies: Counter,
    answers: Counter,
    /// Packets that there was no blank for.
    lacking: Counter,
}

impl Nf for Maker {
    fn new(setup: &mut Setup) -> Result<Self, SetupError> {
        Ok(Self {
            mirror: setup.params.output("mirror")?,
            copies: setup.counter("copies")?,
            answers: setup.counter("answers")?,
            lacking: setup.counter("lacking")?,
        })
    }

    fn process(&mut self, burst: &mut Burst<'_>) {
        match burst.generate(0, &ANSWER) {
            Ok(_) => self.answers.add(1),
            Err(_) => self.lacking.add(1),
        }
        for n in 0..burst.len() {
            match self.copy(burst, n) {
                Ok(()) => self.copies.add(1),
                Err(_) => self.lacking.add(1),
            }
        }
    }
}

impl Maker {
    fn copy(&self, burst: &mut Burst<'_>, n: usize) -> Result<(), GenerateError> {
        let mut copy = burst.copy(n)?;
        copy.output(self.mirror);
        // What becomes of the copy is not done to the packet.
        if let Some(first) = copy.data_mut()?.first_mut() {
            *first ^= 0xff;
        }
        Ok(())
    }
}
