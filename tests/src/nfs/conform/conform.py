#!/usr/bin/python3
"""As mod.rs beside it, in Python."""

import ctypes

from onvm_nf import DEBUG, ERROR, INFO, LOOKUP, OUT, STEER, WARN, Nf, NfError, Refused, log, run

VERDICTS = ["accept", "drop"]


def check(params):
    if params["text"] == "refuse":
        raise Refused("`text` may not be `refuse`")


class Conform(Nf):
    def __init__(self, setup):
        params = setup.params
        check(params)
        self.params = {name: params[name] for name in (
            "flag", "offset", "ratio", "text", "mode", "key", "pause", "room", "bits", "packets", "address", "prefix",
            "mac", "endpoint", "ports", "names")}
        self.params["blob"] = list(params.file("blob"))
        self.params["absent"] = "absent" in params
        self.side = params.output("side")
        self.only = params.filter("only")
        self.rules = params.rules("rules", VERDICTS)
        self.peers = setup.peers()
        self.flows = setup.flows()
        try:
            self.fast = params.target("wan", "fast")
        except NfError:
            self.fast = 0xFFFF  # It may not program any.
        self.flows_done = setup.gauge("flows_done")
        self.seen = setup.counter("seen")
        self.matched = setup.counter("matched")
        self.refused = setup.counter("refused")
        self.ticks = setup.counter("ticks")
        self.heard = setup.counter("heard")
        self.reached = setup.counter("reached")
        self.value = setup.gauge("value")
        self.sizes = setup.histogram("sizes", [64, 128])
        self.value.set(params["room"])
        setup.tick_every(params["pause"])
        self.kept = None
        log(WARN, f"{setup.instance} starts")

    def process(self, burst):
        for packet in burst:
            self.seen.add()
            try:
                self.act(burst, packet)
            except NfError:
                self.refused.add()

    def act(self, burst, packet):
        self.sizes.record(len(packet))
        port = packet.headers().destination_port
        if port == 2:
            packet.drop()
        elif port == 3:
            packet.output(self.side)
        elif port == 4:
            packet.verdict(STEER, 2)
        elif port == 5:
            packet.verdict(OUT, 2)
        elif port == 6:
            packet.set_destination_port(7001)
            packet.verdict(LOOKUP)
        elif port == 7:
            packet.push(4)
            packet.data_mut[:4] = b"HEAD"
        elif port == 8:
            packet.pull(4)
        elif port == 9:
            packet.extend(4)
            packet.data_mut[-4:] = b"TAIL"
        elif port == 10:
            packet.truncate(20)
        elif port == 11:
            burst.generate(packet.number, b"\xee" * 60).output(self.side)
        elif port == 12:
            copy = burst.copy(packet.number)
            copy.data_mut[0] ^= 0xFF
            copy.output(self.side)
        elif port == 13:
            packet.set_ttl(7)
            packet.set_dscp(46)
            packet.set_source_port(1111)
            packet.set_source("192.0.2.1")
            packet.set_destination("192.0.2.2")
            packet.set_source_mac("02:00:00:00:00:09")
            packet.set_destination_mac(b"\x02\0\0\0\0\x08")
        elif port == 14:
            self.matched.add(int(packet.matches(self.only)))
            rule = packet.first(self.rules)
            if rule is not None and VERDICTS[self.rules.verdict(rule)] == "drop" and self.rules.name(rule) == "rule_odd":
                packet.drop()
        elif port == 15:
            packet.push(60_000)
        elif port == 16:
            packet.pull(5000)
        elif port == 17:
            packet.set_vlan(3)
        elif port == 18:
            burst.generate(packet.number, b"")
        elif port == 19:
            self.flows.put(packet, self.fast, cookie=7)
        elif port == 20:
            # There is no other way in Python to write what may only be read.
            address = self.address(burst, packet)
            ctypes.memset(address, 1, 1)
        elif port == 21:
            raise RuntimeError("a defect")
        elif port == 22:
            # A slice outlives the view that it was made of.
            self.kept = packet.data[10:20]
        elif port == 23:
            self.kept = packet.data
        elif port == 24:
            # In a ring of objects, and gone.
            ring = [packet.data[:4]]
            ring.append(ring)
            try:
                self.kept[0]
            except ValueError as e:
                log(WARN, f"kept: {e}")
            try:
                packet.data[0] = 1
            except TypeError as e:
                log(WARN, f"written: {e}")

    @staticmethod
    def address(burst, packet):
        from onvm_nf import library

        return library.onvm_packet_data(burst._handle, packet.number, None)

    def tick(self, now):
        self.ticks.add()

    def message(self, message):
        if message.kind == "params":
            return self.params
        if message.kind == "refuse":
            raise Refused("its hands are full")
        if message.kind == "tell":
            return self.peers.send("hear", {"n": message.fields["n"]})
        if message.kind == "hear":
            if message.peer is not None:
                self.heard.add(message.fields["n"])
            return None
        if message.kind == "say":
            log(ERROR, "says error")
            log(INFO, "says info")
            log(DEBUG, "says debug")
            return None
        return NotImplemented

    def sent(self, sent):
        self.reached.add(sent.reached)

    def flow_news(self, news):
        self.flows_done.set(news.done)

    def reconfigure(self, params):
        check(params)
        if params["text"] == "not":
            return NotImplemented
        self.value.set(params["room"])

    def stop(self):
        log(INFO, "it stops")


run(Conform)
