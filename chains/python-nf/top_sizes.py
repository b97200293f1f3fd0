#!/usr/bin/python3
"""top_sizes: drops packets that are longer than a limit, and says now and then which sizes are frequent.

A prototype of an NF: the standard library of Python is at hand, and packets are looked at without copying them."""

from collections import Counter

from onvm_nf import INFO, Nf, Refused, log, run


class TopSizes(Nf):
    def __init__(self, setup):
        self.read(setup.params)
        self.long = setup.counter("long")
        self.seen = setup.gauge("sizes")
        self.sizes = Counter()
        setup.tick_every(setup.params["every"])

    def read(self, params):
        self.longest = params["longest"]
        self.only = params.get("port")

    def process(self, burst):
        for packet in burst:
            headers = packet.headers()
            if self.only is not None and self.only not in (headers.source_port, headers.destination_port):
                continue
            self.sizes[len(packet)] += 1
            if len(packet) > self.longest:
                self.long.add()
                packet.drop()

    def tick(self, now):
        self.seen.set(len(self.sizes))
        if self.sizes:
            top = ", ".join(f"{count} of {size} bytes" for size, count in self.sizes.most_common(3))
            log(INFO, f"most frequent: {top}")

    def message(self, message):
        if message.kind != "top":
            return NotImplemented
        count = message.fields["count"]
        return {"sizes": [[size, packets] for size, packets in self.sizes.most_common(count)]}

    def reconfigure(self, params):
        if params["every"] < 10_000_000:
            raise Refused("`every` must be 10 ms or more")
        self.read(params)


run(TopSizes)
