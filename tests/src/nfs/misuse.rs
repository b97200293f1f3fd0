//! `misuse`: one misuse at a time, named by its parameter `how`.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    os::fd::{AsFd, OwnedFd},
    path::Path,
    process::{Command, ExitCode, Stdio},
    sync::atomic::Ordering,
    time::Duration,
};

use nflib::{
    Descriptor, Region, ShmRing,
    layout::ABI_VERSION,
    memory::{Geometry, Mapping},
    ring::{Consumer, Producer},
    session::{self, Configuration, FromNf, ToNf},
};
use rustix::{
    fs::FallocateFlags,
    net::{SendFlags, sockopt},
};

mod keep;

pub(crate) fn run() -> ExitCode {
    match misuse() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("misuse: {e}");
            ExitCode::FAILURE
        }
    }
}

struct Attached {
    connection: OwnedFd,
    raw: Mapping,
    incoming: Consumer<ShmRing>,
    outgoing: Producer<ShmRing>,
}

fn misuse() -> io::Result<()> {
    let socket = std::env::var_os(session::SOCKET_VARIABLE).ok_or(io::ErrorKind::NotFound)?;
    let connection = session::attach(Path::new(&socket))?;
    let (abi, pid) = (ABI_VERSION, std::process::id());
    session::send(&connection, &FromNf::Hello { abi, pid }, &[])?;
    let Some((ToNf::Welcome { geometry, .. }, mut fds)) = session::receive(&connection)? else {
        return Err(io::Error::other("no welcome"));
    };
    let rest = fds.split_off(2);
    // Fused with others it is told nothing.
    let how = Configuration::receive(rest)?.get("how");
    let how: String = how.unwrap_or_else(|_| "misstep".to_owned());
    match how.as_str() {
        "name_without_end" => name_without_end(&connection)?,
        "babble" => return babble(&connection),
        "interrupt" => return interrupt(&connection),
        "escape_text" => return escape_text(&connection),
        "escape_name" => return escape_name(&connection),
        _ => {}
    }
    let region = Region::open(&fds[0]).map_err(io::Error::other)?;
    session::send(&connection, &FromNf::Ready, &[])?;
    let mut nf = Attached {
        raw: Mapping::new(&fds[0], true)?,
        incoming: region.to_nf_consumer(0),
        outgoing: region.from_nf_producer(0),
        connection,
    };
    match how.as_str() {
        "flood" => nf.flood(),
        "misdirect" => nf.misdirect(),
        "misstep" => nf.misstep(),
        "damage_tail" => nf.damage_tail(),
        "hoard" => nf.hoard(),
        "steal" => nf.steal(),
        "keep_one" => nf.keep_one(),
        "trickle" => nf.trickle(),
        "detain" => nf.detain(),
        "linger" => nf.linger(),
        "escape" => nf.escape(),
        "punch" => nf.punch(&fds[1], geometry),
        "answer_another" | "answer_unasked" | "answer_badly" | "say_out_of_order" | "say_much"
        | "hear_nothing" => nf.talk(&how),
        "flip" => flip(&Mapping::new(&fds[1], true)?, geometry),
        other => Err(io::Error::other(format!("no misuse is named {other:?}"))),
    }
}

/// What would be lines, colours and turned text in a terminal.
const ESCAPES: &str = "one\nforged line\x1b[2J\u{9b}31m\u{202e}turned";

/// Gives escapes as its reason, and prints them.
fn escape_text(connection: &OwnedFd) -> io::Result<()> {
    // A line break of its own is nothing that has to be quoted.
    eprintln!("{}", &ESCAPES.replace('\n', "\r"));
    let reason = format!("{ESCAPES}{}", "x".repeat(30_000));
    session::send(connection, &FromNf::Failed { reason }, &[])?;
    std::thread::sleep(Duration::from_secs(1));
    Ok(())
}

/// Names a counter by escapes that are not control characters.
fn escape_name(connection: &OwnedFd) -> io::Result<()> {
    let names = vec!["seen\u{202e}".to_owned()];
    session::send(
        connection,
        &FromNf::Counters {
            first: 0,
            names,
            gauges: Vec::new(),
        },
        &[],
    )?;
    std::thread::sleep(Duration::from_secs(1));
    Ok(())
}

/// Sends what is not a message.
fn babble(connection: &OwnedFd) -> io::Result<()> {
    rustix::net::send(connection, b"{\"ready\": \xff", SendFlags::NOSIGNAL)?;
    std::thread::sleep(Duration::from_secs(1));
    Ok(())
}

/// Answers what it has not been asked, in place of what it should say.
fn interrupt(connection: &OwnedFd) -> io::Result<()> {
    let answer = FromNf::Reconfigured {
        supported: true,
        error: None,
    };
    session::send(connection, &answer, &[])?;
    std::thread::sleep(Duration::from_secs(1));
    Ok(())
}

/// Lists of counters that name none, as fast as they go.
fn name_without_end(connection: &OwnedFd) -> io::Result<()> {
    loop {
        let (first, names) = (0, Vec::new());
        session::send(
            connection,
            &FromNf::Counters {
                first,
                names,
                gauges: Vec::new(),
            },
            &[],
        )?;
    }
}

/// Makes the destination port of each packet of TCP in the packet file 99 and 80 by turns, without a pause.
fn flip(packets: &Mapping, geometry: Geometry) -> io::Result<()> {
    let at = |buffer| (buffer * geometry.stride + geometry.headroom) as usize + 36;
    let words: Vec<_> = (0..geometry.buffers)
        .filter_map(|buffer| packets.u32_at(at(buffer)))
        .collect();
    loop {
        for port in [99, 80] {
            // Behind it stands the upper half of a sequence number.
            let word = u32::from_ne_bytes([0, port, 0, 0]);
            words.iter().for_each(|w| w.store(word, Ordering::Relaxed));
        }
    }
}

impl Attached {
    /// Waits for a message, and answers what is no answer to it.
    fn talk(&mut self, how: &str) -> io::Result<()> {
        let message = |number, kind: &str, fields| FromNf::Message {
            number,
            member: 0,
            kind: kind.to_owned(),
            fields,
        };
        let answer = |number| FromNf::Answer {
            number,
            answer: None,
            error: None,
        };
        let no_fields = serde_json::Map::new;
        if how == "hear_nothing" {
            // It says as much as it can, and reads nothing of what comes for it.
            for number in 0.. {
                session::send(&self.connection, &message(number, "seen", no_fields()), &[])?;
            }
        }
        loop {
            let Some((ToNf::Message(asked), _)) = session::receive(&self.connection)? else {
                return Ok(());
            };
            match how {
                "answer_another" => session::send(&self.connection, &answer(asked.number + 1), &[])?,
                "answer_unasked" => {
                    session::send(&self.connection, &answer(asked.number), &[])?;
                    session::send(&self.connection, &answer(asked.number), &[])?;
                }
                "answer_badly" => {
                    let text = format!("{{\"type\":\"answer\",\"number\":{},\"answer\":", asked.number);
                    rustix::net::send(&self.connection, text.as_bytes(), SendFlags::NOSIGNAL)?;
                }
                "say_out_of_order" => session::send(&self.connection, &message(1, "seen", no_fields()), &[])?,
                _ => {
                    let much = [("text".to_owned(), "x".repeat(40_000).into())];
                    session::send(
                        &self.connection,
                        &message(0, "seen", much.into_iter().collect()),
                        &[],
                    )?;
                }
            }
        }
    }

    fn take(&mut self) -> io::Result<Vec<Descriptor>> {
        let mut burst = [Descriptor::default(); 32];
        let n = self.incoming.pop(&mut burst).map_err(io::Error::other)?;
        if n == 0 {
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(burst[..n].to_vec())
    }

    fn hand_back(&mut self, mut burst: &[Descriptor]) -> io::Result<()> {
        while !burst.is_empty() {
            let n = self.outgoing.push(burst).map_err(io::Error::other)?;
            burst = &burst[n..];
        }
        Ok(())
    }

    /// Hands back what it does not hold, without a pause, and never what it holds.
    fn flood(&mut self) -> io::Result<()> {
        let forged = [Descriptor {
            buffer: u32::MAX,
            ..Descriptor::default()
        }; 32];
        loop {
            self.hand_back(&forged)?;
        }
    }

    /// Sends each packet to something that does not exist or that it may not send to: any verdict but `next` and `drop`, any
    /// destination. `openNetVM` indexes an array of 32 services by the last of these.
    fn misdirect(&mut self) -> io::Result<()> {
        const VERDICTS: [u8; 7] = [1, 3, 4, 5, 6, 200, u8::MAX];
        const DESTINATIONS: [u16; 6] = [0, 1, 31, 32, 1 << 15, u16::MAX];
        let all = VERDICTS.iter().flat_map(|v| DESTINATIONS.map(|d| (*v, d)));
        let mut all = all.cycle();
        loop {
            let mut burst = self.take()?;
            for (descriptor, (verdict, destination)) in burst.iter_mut().zip(&mut all) {
                (descriptor.verdict, descriptor.destination) = (verdict, destination);
            }
            self.hand_back(&burst)?;
        }
    }

    /// As several NFs of one process: says of each packet that its verdict was given at any step of its run, also at one that the
    /// run does not have, and leaves in it what says to an NF which run that is, or writes another.
    fn misstep(&mut self) -> io::Result<()> {
        let mut said = 0_u32;
        loop {
            let mut burst = self.take()?;
            for descriptor in &mut burst {
                said = said.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let [step, verdict, destination, how] = said.to_le_bytes();
                descriptor.flags = if how & 1 == 0 { step % 4 } else { step };
                if how & 2 == 0 {
                    descriptor.verdict = verdict % 8;
                    descriptor.destination = u16::from(destination) << (how >> 5);
                }
            }
            self.hand_back(&burst)?;
        }
    }

    /// Hands back all that it was given, then makes the ring to it one that nobody can push to.
    fn damage_tail(&mut self) -> io::Result<()> {
        let mut bursts = 0;
        while bursts < 20 {
            let burst = self.take()?;
            bursts += usize::from(!burst.is_empty());
            self.hand_back(&burst)?;
        }
        self.break_tail()?;
        loop {
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// Makes the index by which the manager sees what was taken from the ring one that cannot be.
    fn break_tail(&self) -> io::Result<()> {
        let ring = self.outgoing.capacity();
        let layout = nflib::layout::Layout::new(1, ring, nflib::layout::MAX_COUNTERS as u32);
        let to_nf = layout.find(nflib::layout::SectionKind::ToNf, 0);
        let tail = to_nf.map_or(0, |s| s.offset + nflib::layout::LINE);
        let word = self.raw.u32_at(tail).ok_or(io::ErrorKind::NotFound)?;
        word.store(
            word.load(Ordering::Relaxed).wrapping_add(1 << 30),
            Ordering::Release,
        );
        Ok(())
    }

    /// Stands twice in a row on a chain. Hands each packet back twice at once, so that the second is on its way to it again,
    /// and sees to it that nothing can be pushed to it then.
    fn steal(&mut self) -> io::Result<()> {
        loop {
            let burst = self.take()?;
            if burst.is_empty() {
                continue;
            }
            self.break_tail()?;
            let twice: Vec<_> = burst.iter().flat_map(|&d| [d, d]).collect();
            self.hand_back(&twice)?;
        }
    }

    /// Is honest with packets, and takes all pages of the packet file away again and again.
    fn punch(&mut self, packets: &OwnedFd, geometry: Geometry) -> io::Result<()> {
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        loop {
            let burst = self.take()?;
            self.hand_back(&burst)?;
            rustix::fs::fallocate(packets, hole, 0, geometry.bytes() as u64)?;
        }
    }

    /// Sends its manager a connection whose closing takes a minute: it has data for a peer that reads none.
    fn linger(&mut self) -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mut writer = TcpStream::connect(listener.local_addr()?)?;
        let (_silent, _) = listener.accept()?;
        writer.set_nonblocking(true)?;
        while writer.write(&[0; 65536]).is_ok() {}
        sockopt::set_socket_linger(&writer, Some(Duration::from_secs(60)))?;
        // Where it is refused this ends the process: not before the others are ready, so that the manager starts.
        std::thread::sleep(Duration::from_millis(500));
        session::send(&self.connection, &FromNf::Ready, &[writer.as_fd()])?;
        drop(writer);
        loop {
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// Starts a process that leaves its group and session, then is honest.
    fn escape(&mut self) -> io::Result<()> {
        let mut child = Command::new("setsid")
            .args(["sh", "-c", "echo; exec sleep 1000"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        // It has left once it speaks.
        let mut spoke = [0];
        if let Some(out) = child.stdout.as_mut() {
            out.read_exact(&mut spoke)?;
        }
        loop {
            let burst = self.take()?;
            self.hand_back(&burst)?;
        }
    }
}
