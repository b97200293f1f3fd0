//! The run loop: attaches to the manager, drives the NF, detaches, and attaches again when the manager comes back.

use std::{
    collections::VecDeque,
    io::{self, Write},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use crate::{
    Burst, Descriptor, Nf, Params, Reconfigured, Region, RegionError, Setup, SetupError,
    bell::Bell,
    burst::Blanks,
    connection::{hear, manager_is_gone, readable, say, try_say},
    flows::Flows,
    idle::{Idle, Rest},
    layout::ABI_VERSION,
    log,
    memory::{Geometry, Mapping, PacketFile},
    messages::{self, Delivery, Peers},
    region::ShmRing,
    ring::{Consumer, Corrupt, Producer},
    session::{self, Command, Configuration, FromNf, IdlePolicy, ToNf},
    time::{Clock, Time},
};

/// Packets handled at once, at most.
pub(crate) const BURST: usize = 32;
/// A sleeping NF looks this often whether its manager is still there.
const MANAGER_CHECK: Duration = Duration::from_millis(200);
/// So long does an NF sleep that waits for room to send requests.
const ROOM_CHECK: Duration = Duration::from_millis(1);
/// Pause between attempts to find a manager that is gone.
const REATTACH_PAUSE: Duration = Duration::from_millis(50);
/// Bursts handed back before the worker's bell is looked at, while there is more to do. A look costs a full fence; a worker
/// that sleeps meanwhile sleeps at most 70 us.
const BURSTS_PER_BELL: u32 = 8;
/// Rounds without work after which an NF that never sleeps looks whether its manager is still there.
const IDLE_ROUNDS_PER_CHECK: u32 = 16_384;
/// Rounds between looks at the clock for ticks.
const ROUNDS_PER_CLOCK: u32 = 64;

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(
        "{} is not set: an NF is started by onvm-run, or by hand with this variable naming its nf.sock",
        session::SOCKET_VARIABLE
    )]
    NoSocket,
    #[error("{}: {source}. Is onvm-run running, and is this the socket of one of its NF instances?", path.display())]
    Connect { path: PathBuf, source: io::Error },
    #[error("the manager refused this NF: {0}")]
    Refused(String),
    #[error("the manager sent something unexpected: {0}")]
    Protocol(String),
    #[error("the session with the manager failed: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Region(#[from] RegionError),
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error("a ring is damaged: {0}")]
    Ring(#[from] Corrupt),
}

/// How a session ended without an error.
enum End {
    Stopped,
    ManagerLost,
}

/// Runs `N` as the socket in the environment says, until the manager says stop. Use as the whole of `main`.
pub fn run<N: Nf>() -> ExitCode {
    run_with(N::new)
}

/// As [`run`], with a function that builds the NF.
pub fn run_with<N: Nf>(build: impl FnMut(&mut Setup) -> Result<N, SetupError>) -> ExitCode {
    to_code(build).into()
}

/// As [`run`], for a `main` that is not Rust's: gives the exit code.
pub fn run_to_code<N: Nf>() -> u8 {
    to_code(N::new)
}

fn to_code<N: Nf>(build: impl FnMut(&mut Setup) -> Result<N, SetupError>) -> u8 {
    let Some(path) = std::env::var_os(session::SOCKET_VARIABLE) else {
        report(&RunError::NoSocket);
        return 2;
    };
    let patience = std::env::var(session::REATTACH_VARIABLE)
        .ok()
        .and_then(|s| s.parse().ok())
        .map(Duration::from_secs);
    match attach_and_run(Path::new(&path), patience, build) {
        Ok(()) => 0,
        Err(e) => {
            report(&e);
            1
        }
    }
}

/// The reader of the output is often the manager, which may be gone.
fn report(error: &RunError) {
    let _ = writeln!(io::stderr(), "error: {error}");
}

/// Attaches to the manager at `socket` and runs until it says stop. When it goes away, tries for `patience` to attach
/// again (for ever when none); the first attachment is tried once.
pub fn attach_and_run<N: Nf>(
    socket: &Path,
    patience: Option<Duration>,
    mut build: impl FnMut(&mut Setup) -> Result<N, SetupError>,
) -> Result<(), RunError> {
    let connect = || {
        session::attach(socket).map_err(|source| RunError::Connect {
            path: socket.to_path_buf(),
            source,
        })
    };
    let mut connection = connect()?;
    loop {
        match serve(&connection, &mut build)? {
            End::Stopped => return Ok(()),
            End::ManagerLost => {}
        }
        let lost = Instant::now();
        connection = loop {
            std::thread::sleep(REATTACH_PAUSE);
            match connect() {
                Ok(connection) => break connection,
                Err(e) if patience.is_some_and(|p| lost.elapsed() >= p) => return Err(e),
                Err(_) => {}
            }
        };
    }
}

/// One session, from hello to its end.
fn serve<N: Nf>(
    connection: &OwnedFd,
    build: &mut impl FnMut(&mut Setup) -> Result<N, SetupError>,
) -> Result<End, RunError> {
    let hello = FromNf::Hello {
        abi: ABI_VERSION,
        pid: std::process::id(),
    };
    if say(connection, &hello)?.is_none() {
        return Ok(End::ManagerLost);
    }
    let Some((message, fds)) = hear(connection)? else {
        return Ok(End::ManagerLost);
    };
    let (instance, geometry, idle, level) = match message {
        ToNf::Welcome {
            instance,
            geometry,
            idle,
            log,
        } => (instance, geometry, idle, log),
        ToNf::Refused { reason } => return Err(RunError::Refused(reason)),
        ToNf::Stop => return Ok(End::Stopped),
        ToNf::Reconfigure | ToNf::Flows(_) | ToNf::Message(_) | ToNf::Sent(_) => {
            return Err(RunError::Protocol("another message before the welcome".into()));
        }
    };
    // Shown by `ps -L` and `top` in place of the multi-call binary's name; a refusal changes nothing else.
    let _ = std::ffi::CString::new(instance.as_bytes()).map(|name| rustix::thread::set_name(&name));
    let level = level.and_then(|level| level.parse().ok());
    log::start(level.unwrap_or(log::LevelFilter::Info));
    let (region, packets, params) = receive_memory(fds, geometry)?;
    let mut setup = Setup::new(&instance, params, region.counters(), Clock::Monotonic);
    let nf = match build(&mut setup) {
        Ok(nf) => nf,
        Err(e) => {
            say(
                connection,
                &FromNf::Failed {
                    reason: e.to_string(),
                },
            )?;
            return Err(e.into());
        }
    };
    for message in setup.counter_messages() {
        say(connection, &message)?;
    }
    let mut session = Session::new(nf, connection, &region, packets, idle, &setup);
    if say(connection, &FromNf::Ready)?.is_none() {
        return Ok(End::ManagerLost);
    }
    match session.run()? {
        // A manager that stops in order says so and goes; whichever of the two is seen first, it means the same.
        End::ManagerLost if region.command().load(Ordering::Acquire) == Command::Stop as u32 => {
            Ok(End::Stopped)
        }
        end => Ok(end),
    }
}

fn receive_memory(fds: Vec<OwnedFd>, geometry: Geometry) -> Result<(Region, PacketFile, Params), RunError> {
    let mut fds = fds.into_iter();
    let missing = || RunError::Protocol("the welcome came without its memory files".into());
    let region = Region::open(fds.next().ok_or_else(missing)?)?;
    let packet_fd = fds.next().ok_or_else(missing)?;
    let writable = rustix::fs::fcntl_getfl(&packet_fd)
        .map_err(io::Error::from)?
        .contains(rustix::fs::OFlags::RDWR);
    let packets = PacketFile::new(Mapping::new(&packet_fd, writable)?, geometry)?;
    Ok((region, packets, Configuration::receive(fds)?))
}

/// The rings that join the NF with one worker.
struct Link {
    incoming: Consumer<ShmRing>,
    outgoing: Producer<ShmRing>,
    /// Of an NF that makes packets.
    blanks: Option<Box<Blanks>>,
    worker_bell: Bell,
    /// Bursts handed back since the bell was last looked at.
    unannounced: u32,
}

impl Link {
    /// Wakes the worker if it sleeps and there is something for it.
    #[inline(always)]
    fn announce(&mut self) {
        if self.unannounced > 0 {
            self.unannounced = 0;
            self.worker_bell.ring();
        }
    }
}

struct Session<'a, N> {
    nf: N,
    connection: &'a OwnedFd,
    region: &'a Region,
    packets: PacketFile,
    links: Vec<Link>,
    buffer: [Descriptor; BURST],
    bell: Bell,
    idle: Idle,
    tick: Option<Duration>,
    flows: Option<Flows>,
    peers: Option<Peers>,
    /// What the socket had no room for, and answers.
    unsent: VecDeque<Vec<u8>>,
    /// There may be something to send.
    talks: bool,
}

impl<'a, N: Nf> Session<'a, N> {
    fn new(
        nf: N,
        connection: &'a OwnedFd,
        region: &'a Region,
        packets: PacketFile,
        idle: IdlePolicy,
        setup: &Setup,
    ) -> Self {
        let link = |w| Link {
            incoming: region.to_nf_consumer(w),
            outgoing: region.from_nf_producer(w),
            blanks: region
                .blanks_consumer(w)
                .map(|ring| Box::new(Blanks::new(Some(ring)))),
            worker_bell: region.worker_bell(w),
            unannounced: 0,
        };
        let links = (0..region.workers()).map(link).collect();
        Self {
            nf,
            connection,
            region,
            packets,
            links,
            buffer: [Descriptor::default(); BURST],
            bell: region.nf_bell(),
            idle: Idle::new(idle),
            tick: setup.tick_period(),
            flows: setup.asked_flows(),
            peers: setup.asked_peers(),
            unsent: VecDeque::new(),
            talks: true,
        }
    }

    fn run(&mut self) -> Result<End, RunError> {
        let mut next_tick = self.tick.map(|period| Clock::Monotonic.now() + period);
        let mut rounds = 0u32;
        let mut idle_rounds = 0u32;
        loop {
            let worked = self.round()?;
            rounds = rounds.wrapping_add(1);
            if next_tick.is_some() && (!worked || rounds.is_multiple_of(ROUNDS_PER_CLOCK)) {
                self.tick_if_due(&mut next_tick);
            }
            let command = self.region.command().load(Ordering::Relaxed);
            // A message is taken between bursts; a stop waits until the rings are empty.
            if command == Command::Message as u32 || (command != Command::Run as u32 && !worked) {
                match self.obey(command)? {
                    Some(end) => return Ok(end),
                    None => continue,
                }
            }
            if self.talks && !self.send_waiting()? {
                return Ok(End::ManagerLost);
            }
            if worked {
                self.idle.reset();
                continue;
            }
            idle_rounds = idle_rounds.wrapping_add(1);
            let gone = match self.idle.rest() {
                Rest::Sleep => self.sleep(next_tick)?,
                Rest::Spun | Rest::Yielded => {
                    idle_rounds.is_multiple_of(IDLE_ROUNDS_PER_CHECK) && manager_is_gone(self.connection)?
                }
            };
            if gone {
                return Ok(End::ManagerLost);
            }
        }
    }

    /// Takes a burst from each worker; says whether there was any.
    #[inline(always)]
    fn round(&mut self) -> Result<bool, RunError> {
        let Self {
            nf,
            connection,
            packets,
            links,
            buffer,
            ..
        } = self;
        let mut worked = false;
        for link in links {
            let n = link.incoming.pop(buffer)?;
            if n > 0 {
                worked = true;
                let burst = Burst::new(&mut buffer[..n], packets, Clock::Monotonic);
                nf.process(&mut burst.with_blanks(link.blanks.as_deref_mut()));
                hand_over(link, connection)?;
                hand_back(link, connection, &buffer[..n])?;
            } else {
                link.announce();
            }
        }
        Ok(worked)
    }

    fn tick_if_due(&mut self, next: &mut Option<Time>) {
        let now = Clock::Monotonic.now();
        if let (Some(at), Some(period)) = (next.as_mut(), self.tick)
            && now >= *at
        {
            self.nf.tick(now);
            *at = now + period;
        }
    }

    /// Carries out a command. Says how the session ends, if it does.
    fn obey(&mut self, command: u32) -> Result<Option<End>, RunError> {
        if command == Command::Stop as u32 {
            return Ok(Some(End::Stopped));
        }
        // A stop that was said meanwhile stays.
        let _ = self.region.command().compare_exchange(
            command,
            Command::Run as u32,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        while readable(self.connection, Duration::ZERO)? {
            match hear(self.connection)? {
                None => return Ok(Some(End::ManagerLost)),
                Some((ToNf::Stop, _)) => return Ok(Some(End::Stopped)),
                Some((ToNf::Refused { reason }, _)) => return Err(RunError::Refused(reason)),
                Some((ToNf::Welcome { .. }, _)) => return Err(RunError::Protocol("a second welcome".into())),
                Some((ToNf::Reconfigure, fds)) => self.reconfigure(fds)?,
                Some((ToNf::Flows(news), _)) => self.nf.flow_news(&news),
                Some((ToNf::Message(delivery), _)) => self.take(delivery)?,
                Some((ToNf::Sent(sent), _)) => self.nf.sent(&sent),
            }
        }
        Ok(None)
    }

    /// Has the NF take a message. An answer waits for room like a request: a manager that hears nothing from an NF that does not read must
    /// not be waited for.
    fn take(&mut self, delivery: Delivery) -> Result<(), RunError> {
        let (number, is_asked) = (delivery.number, delivery.peer.is_none());
        let answer = self.nf.message(&delivery.into());
        if is_asked {
            self.unsent.push_back(messages::answer(number, answer)?);
            self.talks = true;
        } else if let Err(why) = answer {
            log::debug!("a message of another instance: {why}");
        }
        Ok(())
    }

    /// Sends what the NF has to say, as far as there is room; false when the manager is gone.
    fn send_waiting(&mut self) -> Result<bool, RunError> {
        loop {
            let message = match self.unsent.pop_front() {
                Some(message) => message,
                None => match self.next_said()? {
                    Some(message) => message,
                    None => break,
                },
            };
            match try_say(self.connection, &message)? {
                None => return Ok(false),
                Some(true) => {}
                Some(false) => {
                    self.unsent.push_front(message);
                    break;
                }
            }
        }
        self.talks = self.flows.is_some() || self.peers.is_some() || !self.unsent.is_empty();
        Ok(true)
    }

    /// The next of what the NF asks about flow entries and says to other instances.
    fn next_said(&self) -> Result<Option<Vec<u8>>, RunError> {
        let requests = self.flows.as_ref().and_then(Flows::take);
        let said = match requests {
            Some((first, requests)) => Some(FromNf::Flows { first, requests }),
            None => self.peers.as_ref().and_then(Peers::take),
        };
        Ok(said.map(|said| session::encode(&said)).transpose()?)
    }

    fn reconfigure(&mut self, fds: Vec<OwnedFd>) -> Result<(), RunError> {
        let params = Configuration::receive(fds)?;
        let answer = match self.nf.reconfigure(&params) {
            Ok(outcome) => FromNf::Reconfigured {
                supported: outcome == Reconfigured::Done,
                error: None,
            },
            Err(e) => FromNf::Reconfigured {
                supported: true,
                error: Some(e.to_string()),
            },
        };
        say(self.connection, &answer)?;
        Ok(())
    }

    /// Sleeps until the bell, the next tick, or the next look at the manager; says whether the manager is gone.
    fn sleep(&mut self, next_tick: Option<Time>) -> Result<bool, RunError> {
        self.bell.announce_sleep();
        // The last look, after the announcement: see the race in `bell`.
        let mut waiting = self.region.command().load(Ordering::Relaxed) != Command::Run as u32;
        for link in &mut self.links {
            waiting |= link.incoming.available()? > 0;
        }
        if waiting {
            self.bell.stay_awake();
            return Ok(false);
        }
        let until_tick = next_tick.map_or(MANAGER_CHECK, |tick| tick - Clock::Monotonic.now());
        let longest = match self.unsent.is_empty() {
            true => MANAGER_CHECK,
            false => ROOM_CHECK,
        };
        self.bell.sleep(until_tick.min(longest));
        manager_is_gone(self.connection)
    }
}

/// Hands the packets over that the NF has made, before those in whose names they are.
#[inline(always)]
fn hand_over(link: &mut Link, connection: &OwnedFd) -> Result<(), RunError> {
    while let Some(blanks) = &mut link.blanks {
        let mut made = [Descriptor::default(); BURST];
        match blanks.hand_over(&mut made) {
            0 => break,
            n => hand_back(link, connection, &made[..n])?,
        }
    }
    Ok(())
}

/// The ring has as many slots as the manager lets be under way, so waiting for room is rare and short.
#[inline(always)]
fn hand_back(link: &mut Link, connection: &OwnedFd, mut burst: &[Descriptor]) -> Result<(), RunError> {
    let mut attempts = 0u32;
    loop {
        let pushed = link.outgoing.push(burst)?;
        link.unannounced += 1;
        burst = &burst[pushed..];
        if burst.is_empty() {
            if link.unannounced >= BURSTS_PER_BELL {
                link.announce();
            }
            return Ok(());
        }
        link.announce();
        attempts += 1;
        match attempts {
            0..1000 => std::thread::yield_now(),
            _ if manager_is_gone(connection)? => return Ok(()),
            _ => std::thread::sleep(Duration::from_micros(100)),
        }
    }
}
