//! The bytes of a capture: read ahead, decompressed where they are compressed.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

use crate::error::Fault;

/// Bytes asked for at once.
const READ_AHEAD: usize = 1 << 18;
/// Bytes that say how a file is compressed.
const MAGIC: usize = 4;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The first of a skippable frame, which `pzstd` begins with; its lowest four bits are free.
const ZSTD_SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];

pub(crate) struct Input {
    from: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    ended: bool,
}

impl Input {
    pub(crate) fn new(from: Box<dyn Read + Send>) -> Result<Self, Fault> {
        let mut plain = Self {
            from,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            ended: false,
        };
        plain.have(MAGIC, &mut || {})?;
        let begins = plain.ready();
        let gzip = begins.starts_with(&GZIP);
        let zstd = begins.starts_with(&ZSTD)
            || begins.get(1..MAGIC) == Some(&ZSTD_SKIPPABLE) && begins[0] & 0xf0 == 0x50;
        if !gzip && !zstd {
            return Ok(plain);
        }
        let Self {
            from, buffer, end, ..
        } = plain;
        let begun = io::Cursor::new(buffer).take(end as u64);
        let whole: Box<dyn BufRead + Send> =
            Box::new(BufReader::with_capacity(READ_AHEAD, begun.chain(from)));
        let from: Box<dyn Read + Send> = match gzip {
            true => Box::new(MultiGzDecoder::new(whole)),
            false => Box::new(Zstd::new(whole)),
        };
        Ok(Self {
            from,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            ended: false,
        })
    }

    /// What has been read and not taken.
    pub(crate) fn ready(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Reads until so many bytes are ready; false when the end comes before.
    pub(crate) fn have(&mut self, bytes: usize, before_reading: &mut dyn FnMut()) -> Result<bool, Fault> {
        while self.end - self.start < bytes {
            if self.ended {
                return Ok(false);
            }
            if self.start > 0 {
                self.buffer.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            }
            if self.buffer.len() < bytes.max(READ_AHEAD) {
                self.buffer.resize(bytes.max(READ_AHEAD), 0);
            }
            before_reading();
            match self.from.read(&mut self.buffer[self.end..]) {
                Ok(0) => self.ended = true,
                Ok(n) => self.end += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Fault::Io(e)),
            }
        }
        Ok(true)
    }

    /// Takes bytes that are ready.
    pub(crate) fn take(&mut self, bytes: usize) -> &[u8] {
        let from = self.start;
        self.start = (from + bytes).min(self.end);
        &self.buffer[from..self.start]
    }
}

/// A stream of Zstandard frames.
struct Zstd {
    from: Box<dyn BufRead + Send>,
    decoder: FrameDecoder,
    begun: bool,
}

impl Zstd {
    fn new(from: Box<dyn BufRead + Send>) -> Self {
        Self {
            from,
            decoder: FrameDecoder::new(),
            begun: false,
        }
    }

    /// Begins the next frame; false at the end.
    fn begin(&mut self) -> io::Result<bool> {
        loop {
            if self.from.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.decoder.reset(&mut self.from) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let skipped = io::copy(&mut (&mut self.from).take(length.into()), &mut io::sink())?;
                    if skipped < u64::from(length) {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(e) => return Err(self.failed(&e)),
            }
        }
    }

    /// Input on which the decoder cannot go on is damaged, except at its end.
    fn failed(&mut self, why: &dyn std::fmt::Display) -> io::Error {
        match self.from.fill_buf() {
            Ok([]) => io::ErrorKind::UnexpectedEof.into(),
            Ok(_) => io::Error::new(io::ErrorKind::InvalidData, why.to_string()),
            Err(e) => e,
        }
    }
}

impl Read for Zstd {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.begun && self.decoder.can_collect() > 0 {
                return self.decoder.read(to);
            }
            if !self.begun || self.decoder.is_finished() {
                self.begun = self.begin()?;
                if !self.begun {
                    return Ok(0);
                }
            }
            let decoded = self
                .decoder
                .decode_blocks(&mut self.from, BlockDecodingStrategy::UptoBlocks(1));
            decoded.map_err(|e| self.failed(&e))?;
        }
    }
}
