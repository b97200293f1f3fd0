"""Network functions for onvm in Python, for prototypes: see docs/nf-in-python.md.

    from onvm_nf import Nf, run

    class DropAll(Nf):
        def process(self, burst):
            for packet in burst:
                packet.drop()

    run(DropAll)
"""

import ctypes
import json
import os
import traceback
from ctypes import POINTER, byref, c_char_p, c_size_t, c_uint16, c_uint64, c_void_p

from . import _library as lib
from ._library import NfError, check, library
from ._packets import DROP, LOOKUP, NEXT, OUT, OUTPUT, STEER, Burst, Headers, Packet

__all__ = [
    "Nf", "run", "Refused", "NfError", "Burst", "Packet", "Headers", "Params", "Setup", "Message", "Sent",
    "NEXT", "OUTPUT", "DROP", "STEER", "OUT", "LOOKUP", "log", "ERROR", "WARN", "INFO", "DEBUG", "TRACE",
]

ERROR, WARN, INFO, DEBUG, TRACE = range(1, 6)
# What a process ends with after a defect of the NF; sysexits.h calls it EX_SOFTWARE.
_DEFECT = 70


class Refused(Exception):
    """Raised in `__init__`, `reconfigure` or `message`: the operator reads its text. Other exceptions are defects of the NF."""


def log(level, text):
    """Writes into the manager's log."""
    library.onvm_log(level, str(text).encode().replace(b"\0", b"\\0"))


class Params:
    """Parameters by name, as the manifest declares them: times in ns, sizes in bytes, rates a second, addresses as text."""

    def __init__(self, handle):
        text = c_char_p()
        check(library.onvm_params_json(handle, byref(text)))
        self._values = json.loads(text.value)
        self._handle = handle

    def __getitem__(self, name):
        try:
            return self._values[name]
        except KeyError:
            raise NfError(lib.MISSING, f"parameter `{name}` is missing") from None

    def __contains__(self, name):
        return name in self._values

    def get(self, name, default=None):
        return self._values.get(name, default)

    def file(self, name):
        """The content of a file parameter, as bytes."""
        content, length = c_void_p(), c_size_t()
        check(library.onvm_param_file(self._alive(), name.encode(), byref(content), byref(length)))
        return ctypes.string_at(content.value, length.value) if length.value else b""

    def output(self, name):
        """The output of the manifest, for `packet.output`."""
        output = c_uint16()
        check(library.onvm_param_output(self._alive(), name.encode(), byref(output)))
        return output.value

    def target(self, port, chain):
        """Where flow entries of a port may lead; only what the operator's source permits."""
        target = c_uint16()
        check(library.onvm_param_target(self._alive(), port.encode(), chain.encode(), byref(target)))
        return target.value

    def filter(self, name):
        return _Filter(self._alive(), name)

    def rules(self, name, verdicts):
        """The rules of a parameter; `verdicts` are the words of the manifest."""
        return _Rules(self._alive(), name, verdicts)

    def _alive(self):
        if self._handle is None:
            raise NfError(lib.OVER, "files, outputs, filters and rules are read in the call that gives the parameters")
        return self._handle

    def _end(self):
        self._handle = None


class _Filter:
    def __init__(self, params, name):
        self._handle = c_void_p()
        check(library.onvm_param_filter(params, name.encode(), byref(self._handle)))

    def __del__(self):
        library.onvm_filter_free(self._handle)


class _Rules:
    def __init__(self, params, name, verdicts):
        self._handle = c_void_p()
        words = (c_char_p * len(verdicts))(*(word.encode() for word in verdicts))
        check(library.onvm_param_rules(params, name.encode(), words, len(verdicts), byref(self._handle)))

    def __len__(self):
        return library.onvm_rules_length(self._handle)

    def verdict(self, rule):
        """Its index among the verdicts."""
        return library.onvm_rules_verdict(self._handle, rule)

    def name(self, rule):
        return library.onvm_rules_name(self._handle, rule).decode()

    def __del__(self):
        library.onvm_rules_free(self._handle)


class _Counter:
    def __init__(self, handle):
        self._handle = handle

    def add(self, n=1):
        library.onvm_counter_add(self._handle, n)

    def set(self, n):
        library.onvm_counter_set(self._handle, n)

    def get(self):
        return library.onvm_counter_get(self._handle)


class _Gauge:
    def __init__(self, handle):
        self._handle = handle

    def add(self, n=1):
        library.onvm_gauge_add(self._handle, n)

    def sub(self, n=1):
        library.onvm_gauge_sub(self._handle, n)

    def set(self, n):
        library.onvm_gauge_set(self._handle, n)

    def get(self):
        return library.onvm_gauge_get(self._handle)


class _Histogram:
    def __init__(self, handle):
        self._handle = handle

    def record(self, value):
        library.onvm_histogram_record(self._handle, value)


class _Peers:
    def __init__(self, handle):
        self._handle = handle

    def send(self, kind, fields):
        """Sends a message to the other instances; gives its number."""
        number = c_uint64()
        check(library.onvm_peers_send(self._handle, kind.encode(), json.dumps(fields).encode(), byref(number)))
        return number.value


class _Flows:
    def __init__(self, handle):
        self._handle = handle

    def put(self, packet, target, priority=0, idle=0, hard=0, cookie=0, keep=False):
        """Sends the flow of a packet, both directions, to a target from now on; times in ns. Gives the request's number."""
        number = c_uint64()
        entry = lib.FlowEntry(target, priority, idle, hard, cookie, keep)
        burst = packet.burst._alive()
        check(library.onvm_flows_put(self._handle, burst, packet.number, byref(entry), byref(number)))
        return number.value

    def remove(self, packet, target, priority=0):
        number = c_uint64()
        burst = packet.burst._alive()
        check(library.onvm_flows_remove(self._handle, burst, packet.number, target, priority, byref(number)))
        return number.value


class Setup:
    """What an NF gets at its start."""

    def __init__(self, handle):
        self._handle = handle
        self.params = Params(library.onvm_setup_params(handle))
        self.instance = library.onvm_setup_instance(handle).decode()

    def counter(self, name):
        return _Counter(self._made(library.onvm_counter_new, name.encode()))

    def gauge(self, name):
        return _Gauge(self._made(library.onvm_gauge_new, name.encode()))

    def histogram(self, name, bounds):
        bounds = (c_uint64 * len(bounds))(*bounds)
        return _Histogram(self._made(library.onvm_histogram_new, name.encode(), bounds, len(bounds)))

    def peers(self):
        return _Peers(self._made(library.onvm_setup_peers))

    def flows(self):
        return _Flows(self._made(library.onvm_setup_flows))

    def now(self):
        return library.onvm_setup_now(self._handle)

    def tick_every(self, nanoseconds):
        check(library.onvm_tick_every(self._handle, nanoseconds))

    def _made(self, make, *arguments):
        made = c_void_p()
        check(make(self._handle, *arguments, byref(made)))
        return made


class Message:
    """A message: its `kind`, `peer` (the instance that sent it; None: an operator) and `fields`."""

    def __init__(self, handle):
        self.kind = library.onvm_message_kind(handle).decode()
        peer = library.onvm_message_peer(handle)
        self.peer = peer and peer.decode()
        self.fields = Params(library.onvm_message_fields(handle))


class Sent:
    """What has become of a message: its `number`, how many it `reached` and `missed`, or why it was `refused`."""

    def __init__(self, raw):
        self.number, self.reached, self.missed = raw.number, raw.reached, raw.missed
        self.refused = raw.refused and raw.refused.decode()


class Nf:
    """An NF: overrides what it needs. `__init__` takes a Setup; all methods are called by one thread."""

    def __init__(self, setup):
        pass

    def process(self, burst):
        """Handles 1 to 32 packets. Each goes on by NEXT where nothing else is said."""
        raise NotImplementedError

    def tick(self, now):
        pass

    def message(self, message):
        """Gives the answer, as what JSON can express. Refused is an error for the operator."""
        return NotImplemented

    def sent(self, sent):
        pass

    def flow_news(self, news):
        """What has become of requests about flow entries, as `onvm_flow_news` has it."""

    def reconfigure(self, params):
        """Takes new parameters, all or none. Without it the manager replaces the instance."""
        return NotImplemented

    def stop(self):
        pass


def _ends(defect):
    """The process ends: what state the NF is in after a defect is not known. The manager starts it again."""
    lines = "".join(traceback.format_exception(defect)).rstrip()
    log(ERROR, f"the NF failed:\n{lines}")
    os._exit(_DEFECT)


def _fail(text):
    return library.onvm_fail(str(text).encode().replace(b"\0", b"\\0"))


def _callbacks(make):
    nf = None

    def start(handle, _):
        nonlocal nf
        try:
            setup = Setup(handle)
            nf = make(setup)
            setup.params._end()
            return lib.OK
        except (Refused, NfError) as e:
            return _fail(e)
        except BaseException as e:
            log(ERROR, "the NF failed:\n" + "".join(traceback.format_exception(e)).rstrip())
            return _fail(f"{type(e).__name__}: {e}")

    def process(_, handle):
        burst = Burst(handle)
        try:
            nf.process(burst)
            burst._end()
        except BaseException as e:
            _ends(e)

    def tick(_, now):
        try:
            nf.tick(now)
        except BaseException as e:
            _ends(e)

    def message(_, handle, answer):
        try:
            message = Message(handle)
            given = nf.message(message)
            message.fields._end()
            if given is NotImplemented:
                return lib.UNSUPPORTED
            check(library.onvm_answer_json(answer, json.dumps(given).encode()))
            return lib.OK
        except Refused as e:
            return _fail(e)
        except BaseException as e:
            _ends(e)

    def sent(_, handle):
        try:
            nf.sent(Sent(ctypes.cast(handle, POINTER(lib.SentResult)).contents))
        except BaseException as e:
            _ends(e)

    def flow_news(_, handle):
        try:
            nf.flow_news(ctypes.cast(handle, POINTER(lib.FlowNews)).contents)
        except BaseException as e:
            _ends(e)

    def reconfigure(_, handle):
        try:
            params = Params(handle)
            taken = nf.reconfigure(params)
            params._end()
            return lib.UNSUPPORTED if taken is NotImplemented else lib.OK
        except (Refused, NfError) as e:
            return _fail(e)
        except BaseException as e:
            _ends(e)

    def stop(_):
        nonlocal nf
        try:
            nf.stop()
            nf = None
        except BaseException as e:
            _ends(e)

    return start, process, tick, message, sent, reconfigure, flow_news, stop


def run(make):
    """Runs the NF that `make(setup)` gives until the manager says stop, and ends the process. Use as the last line."""
    types = (lib.START, lib.PROCESS, lib.TICK, lib.MESSAGE, lib.SENT, lib.RECONFIGURE, lib.FLOW_NEWS, lib.STOP)
    # They live until the process ends.
    callbacks = [of(function) for of, function in zip(types, _callbacks(make))]
    ops = lib.Ops(lib.ABI, ctypes.sizeof(lib.Ops), *callbacks)
    raise SystemExit(lib.run(byref(ops)))
