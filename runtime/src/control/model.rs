//! The control thread and its workers under loom: every order in which commands and reports of several workers can pass each other.
//!
//! Queues of commands and reports, generations, what is awaited of all workers, history and director are the real ones. Each operation
//! on a queue is atomic by itself; a signal of loom's goes with each command and report, and there loom chooses who goes on.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crossbeam_queue::SegQueue;
use loom::{
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};
use onvm_bundle::tables::ChainTable;
use tokio::sync::mpsc::UnboundedSender;

use super::history::{History, tests::generation};
use crate::{
    director::{Client, Director},
    generation::{Generation, HopCounters, add},
    worker::{
        Command, Event, GENERATION_SLOTS, Workers, WorkersEvent, handle, ledger::Tag, packets::Generations,
    },
};

/// Generations that are published, from 1 on.
const LAST: u64 = 3;
const PORT: u8 = 0;

/// What the control thread cannot see, for the model to compare with.
#[derive(Debug, Default)]
struct Truth {
    /// By generation: packets inside.
    inside: [AtomicU64; LAST as usize + 1],
    /// The last changes of flow entries that it obeys.
    programmed: AtomicU64,
}

/// What of a worker takes part.
struct Lane {
    id: usize,
    commands: (Arc<SegQueue<Command>>, Receiver<()>),
    events: (UnboundedSender<Event>, Sender<()>),
    generations: Box<Generations>,
    current: Option<Arc<Generation>>,
    truth: Arc<Truth>,
}

impl Lane {
    /// A packet comes with each command and stays until after the next one.
    fn run(mut self) {
        let mut inside: Option<u64> = None;
        loop {
            self.commands.1.recv().unwrap();
            let command = self.commands.0.pop().expect("a signal comes after its command");
            match command {
                Command::Publish(tables) => {
                    self.generations.publish(tables.clone());
                    self.current = Some(tables);
                }
                Command::Program(changes) => {
                    let number = changes.number;
                    self.truth.programmed.store(number, Ordering::SeqCst);
                    self.send(Event::Programmed { number });
                }
                Command::Exit => {
                    if let Some(left) = inside {
                        self.leave(left);
                    }
                    return;
                }
                other => panic!("{other:?}"),
            }
            let entered = self.enter();
            if let Some(left) = inside.replace(entered) {
                self.leave(left);
            }
        }
    }

    /// Of a packet that this generation has classified.
    fn tag(generation: u64) -> Tag {
        Tag::new(0, (generation % GENERATION_SLOTS as u64) as u8, 1, PORT)
    }

    fn enter(&mut self) -> u64 {
        let tables = self.current.as_ref().unwrap();
        self.generations.enter(Self::tag(tables.number), 1);
        self.truth.inside[tables.number as usize].fetch_add(1, Ordering::SeqCst);
        add(&tables.counters[self.id].arrived[0], 1);
        tables.number
    }

    /// As `Worker::retire`, too.
    fn leave(&mut self, generation: u64) {
        self.truth.inside[generation as usize].fetch_sub(1, Ordering::SeqCst);
        self.generations.leave(Self::tag(generation), 1);
        for generation in self.generations.retire() {
            self.send(Event::Drained { generation });
        }
    }

    fn send(&self, event: Event) {
        self.events.0.send(event).unwrap();
        self.events.1.send(()).unwrap();
    }
}

/// Made where there is room for it: stacks are small under loom.
fn generations() -> Box<Generations> {
    let made = std::thread::spawn(|| Box::new(Generations::new()));
    made.join().unwrap()
}

/// With one hop, at which packets are counted.
fn tables(number: u64, workers: usize) -> Arc<Generation> {
    let chains = vec![ChainTable {
        name: "main".to_owned(),
        first: 0,
        length: 1,
        places: vec!["nf".to_owned()],
    }];
    let counters = (0..workers).map(|_| HopCounters::new(1, &[])).collect();
    Arc::new(Generation {
        chains,
        counters,
        ..generation(number)
    })
}

/// Edits and a request about flow entries between them: an old generation's counts are final, and the NF hears that its request is in force,
/// once that is true of each worker, and both happen once.
fn edits_and_requests(count: usize) {
    let (mut workers, events) = handle::tests::workers(count);
    let (reported, reports) = channel();
    let truths: Vec<Arc<Truth>> = (0..count).map(|_| Arc::default()).collect();
    let lanes = workers.commands().into_iter().zip(&truths).enumerate();
    let (signals, threads): (Vec<_>, Vec<_>) = lanes
        .map(|(id, (commands, truth))| {
            let (signal, signals) = channel();
            let lane = Lane {
                id,
                commands: (commands, signals),
                events: (events.clone(), reported.clone()),
                generations: generations(),
                current: None,
                truth: truth.clone(),
            };
            (signal, thread::spawn(move || lane.run()))
        })
        .unzip();
    let send_all = |workers: &Workers, command: &dyn Fn() -> Command| {
        workers.send_all(command);
        signals.iter().for_each(|signal| signal.send(()).unwrap());
    };

    let mut director = Director::new(count);
    let mut history = History::default();
    let mut current = tables(1, count);
    send_all(&workers, &|| Command::Publish(current.clone()));
    let client = Client {
        instance: 0,
        life: 0,
        nf: "nf",
        targets: &[],
    };
    let changes = director.take(&client, 0, Vec::new(), std::time::Instant::now());
    send_all(&workers, &|| Command::Program(changes.clone()));
    while current.number < LAST {
        let next = tables(history.next_number(current.number), count);
        send_all(&workers, &|| Command::Publish(next.clone()));
        history.retire(std::mem::replace(&mut current, next));
    }
    send_all(&workers, &|| Command::Exit);

    let mut heard = Vec::new();
    while history.draining() > 0 || heard.is_empty() {
        reports.recv().unwrap();
        match workers.next_event() {
            // The others have not all reported it yet.
            None => {}
            Some(WorkersEvent::Drained { generation }) => {
                assert!(!history.is_drained(generation), "{generation} once");
                for truth in &truths {
                    assert_eq!(truth.inside[generation as usize].load(Ordering::SeqCst), 0);
                }
                history.drained(generation);
            }
            Some(WorkersEvent::Programmed { number }) => {
                for truth in &truths {
                    assert!(truth.programmed.load(Ordering::SeqCst) >= number);
                }
                heard.extend(director.carried_out(number));
            }
            Some(other) => panic!("{other:?}"),
        }
    }
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(workers.next_event().is_none());
    assert_eq!(heard.len(), 1, "{heard:?}");
    // A packet with each command but the last.
    let arrived = history.up_to(&current).arrived();
    assert_eq!(arrived, (LAST + 1) * count as u64);
}

#[test]
fn what_all_workers_are_to_do_is_done_when_the_last_of_them_has_done_it() {
    for count in [2, 3] {
        let mut model = loom::model::Builder::new();
        // Of three, those orders in which no thread is interrupted more often.
        model.preemption_bound = (count > 2).then_some(2);
        model.check(move || edits_and_requests(count));
    }
}
