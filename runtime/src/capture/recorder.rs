//! Captures as outputs.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use nflib::memory::{PacketFile, PrivateCopy};
use onvm_captures::{file_header, push_record};

use super::Stamp;
use crate::dpdk::{Sent, TxDesc};

/// Packets that may wait to be written, of all workers together and each of them a part: those of sources that wait for room,
/// which are no more than this in all, and others up to a half.
const CAPACITY: u32 = 8192;
/// Bytes from which on the writer is not given more time to gather.
const BATCH: usize = 1 << 17;
/// For packets to gather, so that the writer does not wake up for each burst.
const GATHER: Duration = Duration::from_millis(1);
/// The shortest frame: an Ethernet header.
const MIN_LEN: u16 = 14;

/// What the workers, the writer and the control thread share.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    /// Packets that wait to be written, by recorder.
    queued: Box<[AtomicU32]>,
}

#[derive(Debug, Default)]
struct State {
    /// Records to write, and how many of each recorder.
    pending: Vec<u8>,
    packets: Vec<u32>,
    /// The writer sleeps until something comes.
    sleeps: bool,
    /// The writer waits for more than there is.
    gathers: bool,
    /// Recorders that are there.
    recorders: u32,
    progress: Progress,
    /// What ended the writing.
    failure: Option<String>,
}

/// Of the file's header and records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Progress {
    opened: bool,
    written_packets: u64,
    written_bytes: u64,
    given_packets: u64,
    given_bytes: u64,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Packets of each recorder that may wait. The parts are fixed: a worker takes in no more than will find room, whatever the
    /// others do.
    fn capacity(&self) -> u32 {
        CAPACITY / self.queued.len() as u32
    }

    /// Nothing is written any more.
    fn fail(&self, why: &io::Error) {
        let mut state = self.lock();
        state.failure = Some(match why.kind() {
            io::ErrorKind::BrokenPipe => "its reader went away".to_owned(),
            _ => why.to_string(),
        });
        state.pending = Vec::new();
        self.queued
            .iter()
            .for_each(|queued| queued.store(0, Ordering::Relaxed));
    }
}

/// The control thread's end of a capture that is written.
#[derive(Debug)]
pub struct Output {
    pub path: PathBuf,
    /// None: what is sent is only counted.
    writing: Option<Writing>,
}

#[derive(Debug)]
struct Writing {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
    /// Not a file: a FIFO, a device.
    is_stream: bool,
}

/// Packets missing in an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Bytes that are there and bytes that should be.
    pub bytes: u64,
    pub expected: u64,
    pub packets: u64,
    pub reason: String,
}

/// One worker's end of a capture that is written.
#[derive(Debug)]
pub struct Recorder {
    /// None: what is sent is only counted.
    shared: Option<Arc<Shared>>,
    /// Its number.
    number: usize,
    copy: Option<PrivateCopy>,
    max_len: u16,
    /// After a failure packets are refused, and not taken and counted as lost.
    refuses: bool,
}

/// Whether what is written there is discarded.
fn discards(path: &Path) -> bool {
    const NULL_DEVICE: u64 = 0x103;
    path.metadata()
        .is_ok_and(|there| there.file_type().is_char_device() && there.rdev() == NULL_DEVICE)
}

impl Recorder {
    /// Counts packets of up to `max_len` bytes and discards them.
    pub fn nowhere(max_len: u16) -> Self {
        Self {
            shared: None,
            number: 0,
            copy: None,
            max_len,
            refuses: false,
        }
    }

    /// Begins the file anew, for so many workers. Something else than a file, as a FIFO, is opened by the thread: it may have no
    /// reader yet.
    pub fn to(path: PathBuf, max_len: u16, workers: usize) -> io::Result<(Vec<Self>, Output)> {
        if discards(&path) {
            let output = Output { path, writing: None };
            return Ok(((0..workers).map(|_| Self::nowhere(max_len)).collect(), output));
        }
        let is_stream = path.metadata().is_ok_and(|there| !there.is_file());
        let open = |path: &Path| File::options().write(true).create(true).truncate(true).open(path);
        let file = if is_stream { None } else { Some(open(&path)?) };
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            wake: Condvar::new(),
            queued: (0..workers).map(|_| AtomicU32::new(0)).collect(),
        });
        {
            let mut state = shared.lock();
            state.pending.extend(file_header());
            state.progress.given_bytes = state.pending.len() as u64;
            state.packets = vec![0; workers];
            state.recorders = workers as u32;
        }
        let (writer, to) = (shared.clone(), path.clone());
        let thread = std::thread::Builder::new()
            .name("capture-writer".to_owned())
            .spawn(move || {
                let opened = file.map_or_else(|| open(&to), Ok);
                if let Err(e) = opened.and_then(|file| write_all(&writer, file)) {
                    writer.fail(&e);
                }
            })?;
        let recorder = |number| Self {
            shared: Some(shared.clone()),
            number,
            copy: None,
            max_len,
            refuses: is_stream,
        };
        let recorders = (0..workers).map(recorder).collect();
        let writing = Writing {
            shared,
            thread,
            is_stream,
        };
        let output = Output {
            path,
            writing: Some(writing),
        };
        Ok((recorders, output))
    }

    /// Packets of this worker that still find room.
    pub fn room(&self) -> u32 {
        match &self.shared {
            Some(shared) => shared
                .capacity()
                .saturating_sub(shared.queued[self.number].load(Ordering::Relaxed)),
            None => u32::MAX,
        }
    }

    /// Takes packets that the caller holds, as a queue's [`tx_burst`](crate::dpdk::TxQueue::tx_burst). `about` says what
    /// the capture that a packet came from says of it, and whether its source waits for room.
    pub fn tx_burst(
        &mut self,
        file: &PacketFile,
        packets: &[TxDesc],
        mut about: impl FnMut(u32) -> (Stamp, bool),
    ) -> Sent {
        let sound =
            |p: &TxDesc| (MIN_LEN..=self.max_len).contains(&p.len) && file.contains(p.index, p.off, p.len);
        let good = packets.iter().take_while(|p| sound(p)).count();
        let mut sent = Sent {
            accepted: good,
            malformed: good < packets.len(),
            ..Sent::default()
        };
        let Some(shared) = &self.shared else {
            return sent;
        };
        let copy = self.copy.get_or_insert_with(|| PrivateCopy::new(file));
        let mut state = shared.lock();
        let failed = state.failure.is_some();
        if failed && self.refuses {
            return Sent {
                accepted: 0,
                malformed: good == 0 && sent.malformed,
                ..Sent::default()
            };
        }
        let queued = shared.queued[self.number].load(Ordering::Relaxed);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_nanos() as u64;
        let (before, mut taken) = (state.pending.len(), 0);
        for packet in &packets[..good] {
            let (Stamp { time, cut }, waits) = about(packet.index);
            let most = if waits {
                shared.capacity()
            } else {
                shared.capacity() / 2
            };
            if !failed && queued + taken >= most {
                sent = Sent {
                    accepted: taken as usize,
                    ..Sent::default()
                };
                break;
            }
            taken += 1;
            let bytes = copy.take(file, packet.index, packet.off, packet.len);
            let wire_length = (bytes.len() as u32).saturating_add(cut);
            push_record(&mut state.pending, time.unwrap_or(now), bytes, wire_length);
        }
        state.progress.given_packets += u64::from(taken);
        state.progress.given_bytes += (state.pending.len() - before) as u64;
        if failed {
            state.pending.clear();
            return sent;
        }
        state.packets[self.number] += taken;
        shared.queued[self.number].fetch_add(taken, Ordering::Relaxed);
        let wakes = state.sleeps && taken > 0 || state.gathers && state.pending.len() >= BATCH;
        if wakes {
            (state.sleeps, state.gathers) = (false, false);
            shared.wake.notify_one();
        }
        sent
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.lock().recorders -= 1;
            shared.wake.notify_one();
        }
    }
}

/// Writes what comes until the output is closed.
fn write_all(shared: &Shared, mut file: File) -> io::Result<()> {
    let mut batch = Vec::new();
    let mut state = shared.lock();
    state.progress.opened = true;
    loop {
        while state.pending.is_empty() && state.recorders > 0 {
            state.sleeps = true;
            state = shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.sleeps = false;
        }
        if state.packets.iter().any(|&n| n > 0) && state.pending.len() < BATCH && state.recorders > 0 {
            state.gathers = true;
            let waited = shared.wake.wait_timeout(state, GATHER);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.gathers = false;
        }
        if state.pending.is_empty() {
            return Ok(());
        }
        std::mem::swap(&mut state.pending, &mut batch);
        let workers = state.packets.len();
        let packets = std::mem::replace(&mut state.packets, vec![0; workers]);
        drop(state);
        let outcome = write_batch(shared, &mut file, &batch);
        let written = match &outcome {
            Ok(()) => packets.iter().map(|&n| u64::from(n)).sum(),
            Err((bytes, _)) => whole_records(&batch, *bytes),
        };
        batch.clear();
        for (queued, packets) in shared.queued.iter().zip(packets) {
            queued.fetch_sub(packets, Ordering::Relaxed);
        }
        state = shared.lock();
        state.progress.written_packets += written;
        outcome.map_err(|(_, e)| e)?;
    }
}

/// How many records the first bytes of a batch hold whole. The first batch begins with the file's header.
fn whole_records(batch: &[u8], bytes: usize) -> u64 {
    const RECORD_HEADER: usize = 16;
    let header = file_header();
    let mut at = if batch.starts_with(&header) {
        header.len()
    } else {
        0
    };
    let mut records = 0;
    while let Some(length) = batch.get(at + 8..).and_then(|rest| rest.first_chunk()) {
        at += RECORD_HEADER + u32::from_le_bytes(*length) as usize;
        if at > bytes {
            break;
        }
        records += 1;
    }
    records
}

/// Notes how far it comes; an error comes with the bytes that were written before it.
fn write_batch(shared: &Shared, file: &mut File, batch: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    while written < batch.len() {
        match file.write(&batch[written..]) {
            Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
            Ok(n) => {
                written += n;
                shared.lock().progress.written_bytes += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err((written, e)),
        }
    }
    Ok(())
}

impl Output {
    /// What ended the writing before its end, and what to do.
    pub fn failure(&self) -> Option<String> {
        let writing = self.writing.as_ref()?;
        let failure = writing.shared.lock().failure.clone()?;
        Some(writing.remedied(&failure))
    }

    /// How far the writer is; none once it has ended. It changes as long as the writer gets on.
    pub fn progress(&self) -> Option<u64> {
        let writing = self.writing.as_ref().filter(|w| !w.thread.is_finished())?;
        let Progress {
            opened,
            written_bytes,
            given_packets,
            ..
        } = writing.shared.lock().progress;
        (opened || given_packets > 0).then_some(written_bytes)
    }

    /// What is missing in the output now. A FIFO that was given no packet and never had a reader misses none.
    pub fn lost(&self) -> Option<Lost> {
        let writing = self.writing.as_ref()?;
        let state = writing.shared.lock();
        let Progress {
            opened,
            written_packets,
            written_bytes,
            given_packets,
            given_bytes,
        } = state.progress;
        let unused = given_packets == 0 && !opened && state.failure.is_none();
        if written_bytes == given_bytes || unused {
            return None;
        }
        let reason = match &state.failure {
            Some(failure) => writing.remedied(failure),
            None if !opened => "it was not opened by a reader. Start a reader, and run again.".to_owned(),
            None => {
                "its reader takes no more. Start a reader that reads to the end, and run again.".to_owned()
            }
        };
        Some(Lost {
            bytes: written_bytes,
            expected: given_bytes,
            packets: given_packets - written_packets,
            reason,
        })
    }
}

impl Writing {
    fn remedied(&self, failure: &str) -> String {
        let remedy = match self.is_stream {
            true => "Keep its reader until onvm-run has ended",
            false => "Make room on its file system, or write elsewhere",
        };
        format!("{failure}. {remedy}, and run again.")
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use nflib::memory::{Geometry, Mapping, create_file};
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    const GEOMETRY: Geometry = Geometry {
        first: 0,
        buffers: 2,
        stride: 2048,
        headroom: 128,
    };

    fn packets() -> PacketFile {
        let fd = create_file("recorded", GEOMETRY.bytes(), false).unwrap();
        PacketFile::new(Mapping::new(&fd, false).unwrap(), GEOMETRY).unwrap()
    }

    fn of_length(len: u16) -> TxDesc {
        TxDesc {
            index: 1,
            off: 128,
            len,
        }
    }

    fn fifo(dir: &Path) -> PathBuf {
        let path = dir.join("fifo");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        path
    }

    #[test]
    fn an_output_that_is_behind_takes_what_waits_for_it_and_refuses_others_earlier() {
        let dir = tempfile::tempdir().unwrap();
        let (mut recorders, output) = Recorder::to(fifo(dir.path()), 1522, 1).unwrap();
        let mut recorder = recorders.remove(0);
        let file = packets();
        let mut send = |waits: bool, count: usize| {
            let burst = vec![of_length(60); count];
            let sent = recorder.tx_burst(&file, &burst, |_| (Stamp::default(), waits));
            (sent.accepted, recorder.room())
        };
        assert_eq!(send(false, 5000), (4096, 4096), "live packets fill a half");
        assert_eq!(send(true, 4000), (4000, 96));
        assert_eq!(send(false, 1), (0, 96));
        assert_eq!(send(true, 100), (96, 0));
        let lost = output.lost().unwrap();
        assert_eq!(
            (lost.packets, lost.bytes, lost.expected),
            (8192, 0, 24 + 8192 * 76)
        );
        drop(recorder);
        // With a reader everything is there in the end.
        let mut all = Vec::new();
        File::open(dir.path().join("fifo"))
            .unwrap()
            .read_to_end(&mut all)
            .unwrap();
        assert_eq!(all.len(), 24 + 8192 * 76);
        while output.progress().is_some() {
            std::thread::yield_now();
        }
        assert_eq!(output.lost(), None);
    }

    #[test]
    fn what_one_worker_leaves_takes_no_room_of_another() {
        let dir = tempfile::tempdir().unwrap();
        let (mut recorders, _output) = Recorder::to(fifo(dir.path()), 1522, 2).unwrap();
        let file = packets();
        let burst = vec![of_length(60); 5000];
        let sent = recorders[0].tx_burst(&file, &burst, |_| (Stamp::default(), true));
        assert_eq!(sent.accepted, 4096);
        assert_eq!((recorders[0].room(), recorders[1].room()), (0, 4096));
        drop(recorders);
        let mut all = Vec::new();
        File::open(dir.path().join("fifo"))
            .unwrap()
            .read_to_end(&mut all)
            .unwrap();
        assert_eq!(all.len(), 24 + 4096 * 76);
    }

    #[test]
    fn a_packet_that_cannot_be_sent_is_malformed() {
        let dir = tempfile::tempdir().unwrap();
        let (mut recorders, _output) = Recorder::to(dir.path().join("out.pcap"), 1522, 1).unwrap();
        let mut recorder = recorders.remove(0);
        let file = packets();
        let outside = TxDesc {
            index: 2,
            ..of_length(60)
        };
        for wrong in [of_length(13), of_length(1523), outside] {
            let sent = recorder.tx_burst(&file, &[of_length(60), wrong], |_| (Stamp::default(), true));
            assert_eq!((sent.accepted, sent.malformed), (1, true), "{wrong:?}");
        }
    }

    #[test]
    fn records_are_counted_where_a_batch_ends_early() {
        let mut batch = file_header().to_vec();
        for length in [60, 14, 0] {
            push_record(&mut batch, 7, &[1; 100][..length], 100);
        }
        let whole = |bytes| whole_records(&batch, bytes);
        assert_eq!(
            [0, 24, 99, 100, 129, 130, 145, 146].map(whole),
            [0, 0, 0, 1, 1, 2, 2, 3]
        );
        assert_eq!(whole_records(&batch[24..], 76), 1);
    }

    #[test]
    fn what_is_sent_nowhere_needs_no_thread() {
        let (recorders, output) = Recorder::to(PathBuf::from("/dev/null"), 1522, 2).unwrap();
        let recorder = &recorders[1];
        assert!(recorder.shared.is_none() && output.writing.is_none());
        assert_eq!(recorder.room(), u32::MAX);
        assert_eq!(output.lost(), None);
    }
}
