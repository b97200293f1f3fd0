//! `conform`, once in Rust, once in C (`conform.c`) and once in Python (`conform.py`): the same NF, so that one suite can ask the
//! same of all. A packet's destination port says what becomes of it; see [`Conform::act`].

#![allow(unsafe_code, reason = "it writes where it must not")]

use std::net::{IpAddr, Ipv4Addr};

use nflib::{
    Burst, Counter, Gauge, Histogram, Message, Nf, Origin, Output, Params, Peers, Reconfigured, Sent, Setup,
    SetupError, Verdict,
    filter::{Expr, FlowRules},
    flows::{FlowEntry, FlowMatch, FlowNews, Flows, Target},
    log,
    messages::{Value, json},
};

const VERDICTS: [&str; 2] = ["accept", "drop"];

#[derive(Debug)]
pub(crate) struct Conform {
    params: Params,
    side: Output,
    only: Expr,
    rules: FlowRules,
    peers: Peers,
    flows: Flows,
    /// None: it may not program any.
    fast: Option<Target>,
    flows_done: Gauge,
    seen: Counter,
    matched: Counter,
    refused: Counter,
    ticks: Counter,
    heard: Counter,
    reached: Counter,
    value: Gauge,
    sizes: Histogram,
}

impl Nf for Conform {
    fn new(setup: &mut Setup) -> Result<Self, SetupError> {
        let params = setup.params.clone();
        if params.get::<String>("text")? == "refuse" {
            return Err(SetupError::Other("`text` may not be `refuse`".to_owned()));
        }
        let conform = Self {
            side: params.output("side")?,
            only: params.filter("only")?,
            rules: FlowRules::new(params.rules("rules", &VERDICTS)?),
            peers: setup.peers(),
            flows: setup.flows(),
            fast: params.target("wan", "fast").ok(),
            flows_done: setup.gauge("flows_done")?,
            seen: setup.counter("seen")?,
            matched: setup.counter("matched")?,
            refused: setup.counter("refused")?,
            ticks: setup.counter("ticks")?,
            heard: setup.counter("heard")?,
            reached: setup.counter("reached")?,
            value: setup.gauge("value")?,
            sizes: setup.histogram("sizes", &[64, 128])?,
            params,
        };
        conform.value.set(conform.params.get("room")?);
        setup.tick_every(conform.params.duration("pause")?);
        log::warn!("{} starts", setup.instance());
        Ok(conform)
    }

    fn process(&mut self, burst: &mut Burst<'_>) {
        for n in 0..burst.len() {
            self.seen.add(1);
            if !self.act(burst, n).unwrap_or(false) {
                self.refused.add(1);
            }
        }
    }

    fn tick(&mut self, _: nflib::Time) {
        self.ticks.add(1);
    }

    fn message(&mut self, message: &Message) -> Result<Value, String> {
        match message.kind.as_str() {
            "params" => self.all().map_err(|e| e.to_string()),
            "refuse" => Err("its hands are full".to_owned()),
            "tell" => {
                let n: u64 = message.fields.get("n").map_err(|e| e.to_string())?;
                let sent = self.peers.send("hear", json!({ "n": n }));
                sent.map(Value::from).map_err(|e| e.to_string())
            }
            "hear" => {
                if message.from != Origin::Operator {
                    self.heard.add(message.fields.get("n").unwrap_or(0));
                }
                Ok(Value::Null)
            }
            "say" => {
                log::error!("says error");
                log::info!("says info");
                log::debug!("says debug");
                Ok(Value::Null)
            }
            _ => Err(message.unknown()),
        }
    }

    fn sent(&mut self, sent: &Sent) {
        self.reached.add(sent.reached.into());
    }

    fn flow_news(&mut self, news: &FlowNews) {
        self.flows_done.set(news.done);
    }

    fn reconfigure(&mut self, params: &Params) -> Result<Reconfigured, SetupError> {
        match params.get::<String>("text")?.as_str() {
            "refuse" => Err(SetupError::Other("`text` may not be `refuse`".to_owned())),
            "not" => Ok(Reconfigured::Unsupported),
            _ => {
                self.value.set(params.get("room")?);
                Ok(Reconfigured::Done)
            }
        }
    }
}

impl Drop for Conform {
    fn drop(&mut self) {
        log::info!("it stops");
    }
}

impl Conform {
    /// Whether it was done; none where the library refused it.
    fn act(&mut self, burst: &mut Burst<'_>, n: usize) -> Option<bool> {
        let mut packet = burst.packet(n)?;
        self.sizes.record(packet.len() as u64);
        let port = packet.headers().ports()?.1;
        match port {
            2 => packet.drop(),
            3 => packet.output(self.side),
            4 => packet.set_verdict(Verdict::Steer(2)),
            5 => packet.set_verdict(Verdict::Out(2)),
            6 => {
                packet.headers_mut().ok()?.set_destination_port(7001).ok()?;
                packet.set_verdict(Verdict::Lookup);
            }
            7 => packet.push(4).ok()?.copy_from_slice(b"HEAD"),
            8 => packet.pull(4).ok()?,
            9 => packet.extend(4).ok()?.copy_from_slice(b"TAIL"),
            10 => packet.truncate(20).ok()?,
            11 => burst.generate(n, &[0xee; 60]).ok()?.output(self.side),
            12 => {
                let mut copy = burst.copy(n).ok()?;
                copy.data_mut().ok()?[0] ^= 0xff;
                copy.output(self.side);
            }
            13 => {
                let mut headers = packet.headers_mut().ok()?;
                headers.set_ttl(7).ok()?;
                headers.set_dscp(46).ok()?;
                headers.set_source_port(1111).ok()?;
                headers
                    .set_source(IpAddr::from(Ipv4Addr::new(192, 0, 2, 1)))
                    .ok()?;
                headers
                    .set_destination(IpAddr::from(Ipv4Addr::new(192, 0, 2, 2)))
                    .ok()?;
                headers.set_source_mac([2, 0, 0, 0, 0, 9]).ok()?;
                headers.set_destination_mac([2, 0, 0, 0, 0, 8]).ok()?;
            }
            14 => {
                self.matched.add(packet.matches(&self.only).into());
                let first = packet.first(&mut self.rules);
                let rule = first.and_then(|rule| self.rules.rules().get(rule));
                if rule.is_some_and(|rule| rule.verdict == 1 && rule.name == "rule_odd") {
                    packet.drop();
                }
            }
            // What the library must refuse.
            15 => drop(packet.push(60_000).ok()?),
            16 => packet.pull(5000).ok()?,
            17 => packet.headers_mut().ok()?.set_vlan(3).ok()?,
            18 => burst.generate(n, &[]).ok()?.drop(),
            19 => {
                let entry = FlowEntry::new(self.fast?, FlowMatch::BothWays(packet.flow()?));
                self.flows.put(entry.cookie(7)).ok()?;
            }
            20 => {
                // SAFETY: there is no reason why this would be right: the packet may be mapped read-only, which is what is tried.
                unsafe { packet.data().as_ptr().cast_mut().write_volatile(1) };
            }
            21 => std::process::abort(),
            _ => {}
        }
        Some(true)
    }

    fn all(&self) -> Result<Value, SetupError> {
        let params = &self.params;
        let text = |name: &str| params.get::<String>(name);
        Ok(json!({
            "flag": params.get::<bool>("flag")?,
            "offset": params.get::<i64>("offset")?,
            "ratio": params.get::<f64>("ratio")?,
            "text": text("text")?,
            "mode": text("mode")?,
            "blob": params.file("blob")?,
            "key": text("key")?,
            "pause": params.get::<u64>("pause")?,
            "room": params.get::<u64>("room")?,
            "bits": params.get::<u64>("bits")?,
            "packets": params.get::<u64>("packets")?,
            "address": text("address")?,
            "prefix": text("prefix")?,
            "mac": text("mac")?,
            "endpoint": text("endpoint")?,
            "ports": params.get::<Vec<u16>>("ports")?,
            "names": params.get::<Vec<String>>("names")?,
            "absent": params.optional::<u64>("absent")?.is_some(),
        }))
    }
}
