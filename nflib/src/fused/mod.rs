//! Several NFs in one process: a packet goes from one to the next by a call, and between the manager and the process once for
//! all of them.
//!
//! The manager says of each packet which NFs are to handle it, as a [`Run`] in its descriptor; it alone knows chains. Each NF of
//! the run gets the packets to which those before it have said [`Next`](crate::Verdict::Next). A packet goes back with the last
//! verdict, and with the step of the run at which it was given.

use std::{path::Path, process::ExitCode, time::Duration};

use crate::{
    Burst, Descriptor, Nf, Setup, SetupError, VERDICT_NEXT,
    descriptor::Run,
    memory::PacketFile,
    messages::{Message, Sent, Value},
    run::{BURST, run, run_with},
    time::{Clock, Time},
};

/// The argument by which a program runs several of its NFs at once.
pub const FUSED: &str = "fused";

/// An NF that is fused with others.
pub trait Member {
    fn process(&mut self, burst: &mut Burst<'_>);
    fn tick(&mut self, now: Time);
    fn message(&mut self, message: &Message) -> Result<Value, String>;
    fn sent(&mut self, sent: &Sent);
}

impl<N: Nf> Member for N {
    fn process(&mut self, burst: &mut Burst<'_>) {
        Nf::process(self, burst);
    }

    fn tick(&mut self, now: Time) {
        Nf::tick(self, now);
    }

    fn message(&mut self, message: &Message) -> Result<Value, String> {
        Nf::message(self, message)
    }

    fn sent(&mut self, sent: &Sent) {
        Nf::sent(self, sent);
    }
}

/// One of the NFs that a program offers.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// What `args` of its manifest names: one word.
    pub name: &'static str,
    /// Runs it alone.
    pub run: fn() -> ExitCode,
    build: fn(&mut Setup) -> Result<Box<dyn Member>, SetupError>,
}

impl Program {
    pub const fn of<N: Nf + 'static>(name: &'static str) -> Self {
        Self {
            name,
            run: run::<N>,
            build: |setup| Ok(Box::new(N::new(setup)?)),
        }
    }
}

/// The `main` of a program with several NFs. Each runs alone by its name as the only argument, and any of them together where
/// the manager fuses them; their manifests say `fuses = true` for that.
///
/// ```no_run
/// # use nflib::{Burst, Nf, Setup, SetupError};
/// struct Count;
/// struct Mark;
/// # impl Nf for Count {
/// #     fn new(_: &mut Setup) -> Result<Self, SetupError> { Ok(Self) }
/// #     fn process(&mut self, _: &mut Burst<'_>) {}
/// # }
/// # impl Nf for Mark {
/// #     fn new(_: &mut Setup) -> Result<Self, SetupError> { Ok(Self) }
/// #     fn process(&mut self, _: &mut Burst<'_>) {}
/// # }
/// nflib::programs! { "count" => Count, "mark" => Mark }
/// ```
#[macro_export]
macro_rules! programs {
    ($($name:literal => $nf:ty),+ $(,)?) => {
        fn main() -> ::std::process::ExitCode {
            $crate::run_programs(&[$($crate::Program::of::<$nf>($name)),+])
        }
    };
}

/// Runs the program that the only argument names, or those that the manager says where it is [`FUSED`].
pub fn run_programs(programs: &[Program]) -> ExitCode {
    let mut arguments = std::env::args_os();
    let called_as = arguments.next().unwrap_or_default();
    let arguments: Vec<_> = arguments.collect();
    let named = |name: &std::ffi::OsStr| programs.iter().find(|program| name == program.name);
    match arguments.as_slice() {
        [name] if name == FUSED => run_fused(|name| programs.iter().find(|p| p.name == name).copied()),
        [name] if named(name).is_some() => named(name).map_or(ExitCode::FAILURE, |program| (program.run)()),
        _ => {
            let names: Vec<&str> = programs.iter().map(|program| program.name).collect();
            let called_as = Path::new(&called_as).display();
            eprintln!("usage: {called_as} {}|{FUSED}", names.join("|"));
            ExitCode::from(2)
        }
    }
}

/// Runs the NFs that the manager says, each as `find` knows it.
pub fn run_fused(find: impl Fn(&str) -> Option<Program>) -> ExitCode {
    run_with(|setup| Fused::new(setup, &find))
}

/// All NFs of a process.
struct Fused {
    members: Vec<Built>,
}

struct Built {
    nf: Box<dyn Member>,
    /// Its period, and when the next one is due.
    tick: Option<(Duration, Time)>,
}

impl Fused {
    fn new(setup: &mut Setup, find: impl Fn(&str) -> Option<Program>) -> Result<Self, SetupError> {
        let given = setup.params.take_members();
        if given.is_empty() || given.len() > Run::MEMBERS {
            let reason = format!(
                "expected 1 to {} NFs to run together, got {}",
                Run::MEMBERS,
                given.len()
            );
            return Err(SetupError::Other(reason));
        }
        let mut members = Vec::new();
        for (place, member) in (0..).zip(given) {
            let Some(program) = find(&member.program) else {
                let reason = format!("{}: this program has no NF `{}`", member.name, member.program);
                return Err(SetupError::Other(reason));
            };
            let (nf, period) = setup.member(place, member, program.build)?;
            let tick = period.map(|period| (period, setup.now() + period));
            members.push(Built { nf, tick });
        }
        let periods = members.iter().filter_map(|member| member.tick);
        if let Some(shortest) = periods.map(|(period, _)| period).min() {
            setup.tick_every(shortest);
        }
        Ok(Self { members })
    }

    /// Lets the NFs of a run handle packets, and leaves in each the verdict and its step.
    fn handle(&mut self, run: Run, packets: &mut [Descriptor], file: &PacketFile, clock: Clock) {
        for packet in packets.iter_mut() {
            (packet.verdict, packet.destination) = (VERDICT_NEXT, 0);
        }
        let mut step = 0;
        while step < run.steps() {
            if let Some(member) = self.member(run, step) {
                member.process(&mut Burst::new(packets, file, clock));
            }
            if packets.iter().any(|packet| packet.verdict != VERDICT_NEXT) {
                break;
            }
            step += 1;
        }
        if step < run.steps() {
            return self.handle_apart(run, step, packets, file, clock);
        }
        let last = run.steps().saturating_sub(1);
        packets.iter_mut().for_each(|packet| packet.flags = last);
    }

    /// The same from a step on at which not all packets go on. They stay in their order, whose places are kept meanwhile.
    fn handle_apart(
        &mut self,
        run: Run,
        from: u8,
        packets: &mut [Descriptor],
        file: &PacketFile,
        clock: Clock,
    ) {
        let mut on = [Descriptor::default(); BURST];
        let mut places = [0; BURST];
        let mut n = packets.len();
        for (place, packet) in packets.iter().enumerate() {
            (on[place], places[place]) = (*packet, place);
        }
        for step in from..run.steps() {
            if let Some(member) = self.member(run, step).filter(|_| step > from && n > 0) {
                member.process(&mut Burst::new(&mut on[..n], file, clock));
            }
            let mut stay = 0;
            for at in 0..n {
                match on[at].verdict == VERDICT_NEXT && step + 1 < run.steps() {
                    true => {
                        (on[stay], places[stay]) = (on[at], places[at]);
                        stay += 1;
                    }
                    false => {
                        packets[places[at]] = Descriptor {
                            flags: step,
                            ..on[at]
                        }
                    }
                }
            }
            n = stay;
        }
    }

    fn member(&mut self, run: Run, step: u8) -> Option<&mut Box<dyn Member>> {
        Some(&mut self.members.get_mut(run.member(step)?)?.nf)
    }
}

impl Nf for Fused {
    /// Without programs to choose from there is nothing to run.
    fn new(_: &mut Setup) -> Result<Self, SetupError> {
        Err(SetupError::Other("no NF to run".to_owned()))
    }

    fn process(&mut self, burst: &mut Burst<'_>) {
        let (mut rest, file, clock) = burst.parts();
        while let Some(run) = rest.first().map(Run::of) {
            let alike = rest.iter().take_while(|packet| Run::of(packet) == run).count();
            let (now, later) = rest.split_at_mut(alike);
            self.handle(run, now, file, clock);
            rest = later;
        }
    }

    fn tick(&mut self, now: Time) {
        for Built { nf, tick } in &mut self.members {
            if let Some((period, due)) = tick
                && now >= *due
            {
                nf.tick(now);
                *due = now + *period;
            }
        }
    }

    fn message(&mut self, message: &Message) -> Result<Value, String> {
        match self.members.get_mut(usize::from(message.member)) {
            Some(member) => member.nf.message(message),
            None => Err(message.unknown()),
        }
    }

    fn sent(&mut self, sent: &Sent) {
        if let Some(member) = self.members.get_mut(usize::from(sent.member)) {
            member.nf.sent(sent);
        }
    }
}

#[cfg(test)]
mod tests;
