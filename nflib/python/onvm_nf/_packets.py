"""Packets of a burst: memory views without copies, verdicts, headers, sizes."""

import ctypes
import gc
import ipaddress
import sys
from ctypes import byref, c_uint8, c_uint32

from ._library import NONE, OVER, NfError, RawHeaders, check, library

NEXT, OUTPUT, DROP, STEER, OUT, LOOKUP = range(6)

# One for all calls: there is one thread.
_number = c_uint32()
# References to a packet's memory where only the function that asks and the question have one.
_OWN_REFERENCES = 2


class Headers:
    """What stands in a packet's headers, as `onvm_packet_headers` reads it; None where the packet does not have it."""

    __slots__ = ("raw",)

    def __init__(self, raw):
        self.raw = raw

    def __getattr__(self, name):
        value = getattr(self.raw, name)
        return None if value == NONE and name in ("vlan", "inner_vlan", "protocol", "ttl", "dscp") else value

    @property
    def source(self):
        return self._address(self.raw.source)

    @property
    def destination(self):
        return self._address(self.raw.destination)

    def _address(self, octets):
        length = {4: 4, 6: 16}.get(self.raw.ip)
        return length and ipaddress.ip_address(bytes(octets[:length]))


class Packet:
    """One packet, valid until `process` returns."""

    __slots__ = ("burst", "number")

    def __init__(self, burst, number):
        self.burst, self.number = burst, number

    @property
    def data(self):
        """The packet from its first Ethernet byte, as a read-only memoryview of the shared memory."""
        return self.burst._view(self.number, library.onvm_packet_data)

    @property
    def data_mut(self):
        """The same for writing. NfError where the manifest declares no write."""
        return self.burst._view(self.number, library.onvm_packet_data_mut)

    def __len__(self):
        if not library.onvm_packet_data(self.burst._alive(), self.number, byref(_number)):
            check_over(self.burst)
        return _number.value

    @property
    def hash(self):
        """Symmetric flow hash: both directions of a flow have the same."""
        return library.onvm_packet_hash(self.burst._alive(), self.number)

    def headers(self):
        raw = RawHeaders()
        check(library.onvm_packet_headers(self.burst._alive(), self.number, byref(raw)))
        return Headers(raw)

    def verdict(self, verdict, argument=0):
        """NEXT, OUTPUT, DROP, STEER, OUT or LOOKUP."""
        check(library.onvm_set_verdict(self.burst._alive(), self.number, verdict, argument))

    def drop(self):
        self.verdict(DROP)

    def output(self, output):
        """Leaves by an output that `params.output` has found."""
        self.verdict(OUTPUT, output)

    def matches(self, filter):
        return library.onvm_packet_matches(self.burst._alive(), self.number, filter._handle)

    def first(self, rules):
        """The number of the first of the rules that takes the packet, or None."""
        first = library.onvm_packet_first(self.burst._alive(), self.number, rules._handle)
        return None if first < 0 else first

    @property
    def headroom(self):
        return library.onvm_packet_headroom(self.burst._alive(), self.number)

    @property
    def tailroom(self):
        return library.onvm_packet_tailroom(self.burst._alive(), self.number)

    def push(self, count):
        """Adds zeroes in front. Views of the packet keep its former bounds: take a new one."""
        check(library.onvm_packet_push(self.burst._alive(), self.number, count))

    def pull(self, count):
        check(library.onvm_packet_pull(self.burst._alive(), self.number, count))

    def extend(self, count):
        check(library.onvm_packet_extend(self.burst._alive(), self.number, count))

    def truncate(self, length):
        check(library.onvm_packet_truncate(self.burst._alive(), self.number, length))

    # Each writes one field, with the checksums over it.

    def set_ttl(self, ttl):
        self._set(1, ttl)

    def set_dscp(self, dscp):
        self._set(2, dscp)

    def set_source_port(self, port):
        self._set(3, port)

    def set_destination_port(self, port):
        self._set(4, port)

    def set_vlan(self, number):
        self._set(5, number)

    def set_inner_vlan(self, number):
        self._set(6, number)

    def set_icmp_id(self, number):
        self._set(7, number)

    def set_source(self, address):
        octets = ipaddress.ip_address(address).packed
        check(library.onvm_set_source(self.burst._alive(), self.number, octets, len(octets)))

    def set_destination(self, address):
        octets = ipaddress.ip_address(address).packed
        check(library.onvm_set_destination(self.burst._alive(), self.number, octets, len(octets)))

    def set_source_mac(self, mac):
        check(library.onvm_set_source_mac(self.burst._alive(), self.number, _mac(mac)))

    def set_destination_mac(self, mac):
        check(library.onvm_set_destination_mac(self.burst._alive(), self.number, _mac(mac)))

    def _set(self, field, value):
        if not 0 <= value <= 0xFFFF:
            raise ValueError(f"expected 0 to 65535, found {value}")
        check(library.onvm_set_field(self.burst._alive(), self.number, field, value))


def _mac(mac):
    octets = bytes.fromhex(mac.replace(":", "")) if isinstance(mac, str) else bytes(mac)
    if len(octets) != 6:
        raise ValueError(f"expected a MAC address of 6 bytes, found {len(octets)}")
    return octets


def check_over(burst):
    raise NfError(OVER, library.onvm_error_text().decode(errors="replace"))


class Burst:
    """The packets that the NF holds while `process` runs."""

    __slots__ = ("_handle", "_views")

    def __init__(self, handle):
        self._handle = handle
        # The memory of each view, and the view.
        self._views = []

    def __len__(self):
        return library.onvm_burst_length(self._alive())

    def __getitem__(self, number):
        if not 0 <= number < len(self):
            raise IndexError(number)
        return Packet(self, number)

    def __iter__(self):
        for number in range(len(self)):
            yield Packet(self, number)

    @property
    def bytes(self):
        return library.onvm_burst_bytes(self._alive())

    def now(self):
        """Nanoseconds since a point that differs between processes."""
        return library.onvm_burst_now(self._alive())

    def generate(self, of, data):
        """Makes a packet of these bytes in the name of packet number `of`."""
        data = bytes(data)
        check(library.onvm_generate(self._alive(), of, data, len(data), byref(_number)))
        return Packet(self, _number.value)

    def copy(self, of):
        """Makes a copy of packet number `of` in its name."""
        check(library.onvm_copy(self._alive(), of, byref(_number)))
        return Packet(self, _number.value)

    def _alive(self):
        if self._handle is None:
            raise NfError(OVER, "the burst is over: its packets belong to the NF only until `process` returns")
        return self._handle

    def _view(self, number, getter):
        address = getter(self._alive(), number, byref(_number))
        if not address:
            # The library knows why.
            text = library.onvm_error_text().decode(errors="replace")
            raise NfError(OVER, text)
        memory = (c_uint8 * _number.value).from_address(address)
        view = memoryview(memory).cast("B")
        if getter is library.onvm_packet_data:
            view = view.toreadonly()
        self._views.append((memory, view))
        return view

    def _end(self):
        """Sees to it that nothing that is kept can read or write what comes into these buffers later."""
        self._handle = None
        views, self._views = self._views, []
        if not views:
            return
        if not _let_go(views):
            # Rings of objects that nobody holds hold some, too.
            gc.collect()
            if not _let_go(views):
                raise BufferError("a view of a packet was kept beyond `process`: copy what is needed later by bytes()")


def _let_go(views):
    """Releases views, and takes those off the list that nothing else leads to."""
    while views:
        memory, view = views.pop()
        try:
            view.release()
        except BufferError:
            # An array was made of it.
            views.append((memory, view))
            return False
        if sys.getrefcount(memory) > _OWN_REFERENCES:
            # By a slice.
            views.append((memory, view))
            return False
    return True
