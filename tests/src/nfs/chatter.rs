//! Answers messages of operators, passes them on to its peers, or does what a message says: refuse, hang, end, answer too much.

use nflib::{
    Burst, Counter, Gauge, Message, Nf, Origin, Peers, Sent, Setup, SetupError,
    messages::{Value, json},
};

#[derive(Debug)]
pub(crate) struct Chatter {
    instance: String,
    peers: Peers,
    seen: Counter,
    /// The sum of their numbers.
    sum: Counter,
    last_from: Gauge,
    reached: Counter,
    missed: Counter,
    refused: Counter,
    why: String,
}

impl Nf for Chatter {
    fn new(setup: &mut Setup) -> Result<Self, SetupError> {
        Ok(Self {
            instance: setup.instance().to_owned(),
            peers: setup.peers(),
            seen: setup.counter("seen")?,
            sum: setup.counter("sum")?,
            last_from: setup.gauge("last_from")?,
            reached: setup.counter("reached")?,
            missed: setup.counter("missed")?,
            refused: setup.counter("refused")?,
            why: String::new(),
        })
    }

    fn process(&mut self, _: &mut Burst<'_>) {}

    fn message(&mut self, message: &Message) -> Result<Value, String> {
        let text = |name: &str| message.fields.get::<String>(name).map_err(|e| e.to_string());
        match message.kind.as_str() {
            "echo" => {
                Ok(json!({ "by": self.instance, "text": text("text")?, "wait": number(message, "wait")? }))
            }
            "seen" => {
                self.seen.add(1);
                self.sum.add(number(message, "n")?);
                if let Origin::Peer(peer) = &message.from {
                    let (_, number) = peer.rsplit_once('-').unwrap_or_default();
                    self.last_from.set(number.parse().unwrap_or(u64::MAX));
                }
                Ok(Value::Null)
            }
            "tell" => self.tell(&text("kind")?, number(message, "times")?),
            "why" => Ok(self.why.clone().into()),
            "do" => act(&text("how")?),
            _ => Err(message.unknown()),
        }
    }

    fn sent(&mut self, sent: &Sent) {
        self.reached.add(sent.reached.into());
        self.missed.add(sent.missed.into());
        if let Some(why) = &sent.refused {
            self.refused.add(1);
            self.why.clone_from(why);
        }
    }
}

impl Chatter {
    fn tell(&self, kind: &str, times: u64) -> Result<Value, String> {
        let fields = match kind {
            "seen_wrong" => json!({ "n": "many" }),
            _ => json!({ "n": 1 }),
        };
        let kind = kind.trim_end_matches("_wrong");
        let sent = (0..times).filter(|_| self.peers.send(kind, fields.clone()).is_ok());
        Ok(sent.count().into())
    }
}

fn number(message: &Message, name: &str) -> Result<u64, String> {
    message.fields.get(name).map_err(|e| e.to_string())
}

fn act(how: &str) -> Result<Value, String> {
    match how {
        "refuse" => Err("its hands are full\u{7}".to_owned()),
        "hang" => loop {
            std::thread::park();
        },
        "end" => std::process::exit(3),
        "long" => Ok("x".repeat(100_000).into()),
        "escape" => Ok(json!({ "a\u{202e}": "one\nforged line\u{1b}[2J" })),
        _ => Ok(Value::Null),
    }
}
