"""The C library that the package carries, by ctypes: types and functions as in onvm_nf.h."""

import ctypes
import os
from ctypes import (
    CFUNCTYPE, POINTER, Structure, c_bool, c_char_p, c_double, c_int, c_int64, c_size_t, c_uint8, c_uint16,
    c_uint32, c_uint64, c_void_p,
)

ABI = 1
NONE = 0xFFFF

OK, UNSUPPORTED, FAILED, ARGUMENT, MISSING, VALUE, READ_ONLY, NO_ROOM, UNDECLARED, OVER = range(10)

START = CFUNCTYPE(c_int, c_void_p, POINTER(c_void_p))
PROCESS = CFUNCTYPE(None, c_void_p, c_void_p)
TICK = CFUNCTYPE(None, c_void_p, c_uint64)
MESSAGE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p)
SENT = CFUNCTYPE(None, c_void_p, c_void_p)
RECONFIGURE = CFUNCTYPE(c_int, c_void_p, c_void_p)
FLOW_NEWS = CFUNCTYPE(None, c_void_p, c_void_p)
STOP = CFUNCTYPE(None, c_void_p)


class Ops(Structure):
    _fields_ = [
        ("abi", c_uint32),
        ("size", c_uint32),
        ("start", START),
        ("process", PROCESS),
        ("tick", TICK),
        ("message", MESSAGE),
        ("sent", SENT),
        ("reconfigure", RECONFIGURE),
        ("flow_news", FLOW_NEWS),
        ("stop", STOP),
    ]


class FlowEntry(Structure):
    _fields_ = [
        ("target", c_uint16),
        ("priority", c_uint16),
        ("idle", c_uint64),
        ("hard", c_uint64),
        ("cookie", c_uint64),
        ("keep", c_bool),
    ]


class FlowNews(Structure):
    _fields_ = [
        ("done", c_uint64),
        ("refused", c_size_t),
        ("refused_number", c_uint64),
        ("refused_why", c_char_p),
        ("ended", c_size_t),
        ("ended_packets", c_uint64),
        ("ended_bytes", c_uint64),
        ("missed", c_uint64),
    ]


class SentResult(Structure):
    _fields_ = [("number", c_uint64), ("reached", c_uint16), ("missed", c_uint16), ("refused", c_char_p)]


class RawHeaders(Structure):
    _fields_ = [
        (name, c_uint16)
        for name in (
            "ethertype", "vlan", "inner_vlan", "protocol", "ttl", "dscp", "source_port", "destination_port",
            "network_offset", "transport_offset", "payload_offset", "payload_length", "fragment_offset",
        )
    ] + [
        (name, c_uint8)
        for name in ("ip", "transport", "tcp_flags", "icmp_type", "icmp_code", "fragment", "faulty")
    ] + [("source", c_uint8 * 16), ("destination", c_uint8 * 16)]


# Arguments and result of each function.
_FUNCTIONS = {
    "onvm_nf_abi": ([], c_uint32),
    "onvm_error_text": ([], c_char_p),
    "onvm_fail": ([c_char_p], c_int),
    "onvm_burst_length": ([c_void_p], c_uint32),
    "onvm_burst_bytes": ([c_void_p], c_uint64),
    "onvm_burst_now": ([c_void_p], c_uint64),
    "onvm_packet_data": ([c_void_p, c_uint32, POINTER(c_uint32)], c_void_p),
    "onvm_packet_data_mut": ([c_void_p, c_uint32, POINTER(c_uint32)], c_void_p),
    "onvm_packet_hash": ([c_void_p, c_uint32], c_uint32),
    "onvm_set_verdict": ([c_void_p, c_uint32, c_uint32, c_uint16], c_int),
    "onvm_packet_headroom": ([c_void_p, c_uint32], c_uint32),
    "onvm_packet_tailroom": ([c_void_p, c_uint32], c_uint32),
    "onvm_packet_push": ([c_void_p, c_uint32, c_uint32], c_int),
    "onvm_packet_pull": ([c_void_p, c_uint32, c_uint32], c_int),
    "onvm_packet_extend": ([c_void_p, c_uint32, c_uint32], c_int),
    "onvm_packet_truncate": ([c_void_p, c_uint32, c_uint32], c_int),
    "onvm_generate": ([c_void_p, c_uint32, c_char_p, c_uint32, POINTER(c_uint32)], c_int),
    "onvm_copy": ([c_void_p, c_uint32, POINTER(c_uint32)], c_int),
    "onvm_packet_headers": ([c_void_p, c_uint32, POINTER(RawHeaders)], c_int),
    "onvm_set_field": ([c_void_p, c_uint32, c_uint32, c_uint16], c_int),
    "onvm_set_source": ([c_void_p, c_uint32, c_char_p, c_uint32], c_int),
    "onvm_set_destination": ([c_void_p, c_uint32, c_char_p, c_uint32], c_int),
    "onvm_set_source_mac": ([c_void_p, c_uint32, c_char_p], c_int),
    "onvm_set_destination_mac": ([c_void_p, c_uint32, c_char_p], c_int),
    "onvm_counter_add": ([c_void_p, c_uint64], None),
    "onvm_counter_set": ([c_void_p, c_uint64], None),
    "onvm_counter_get": ([c_void_p], c_uint64),
    "onvm_gauge_add": ([c_void_p, c_uint64], None),
    "onvm_gauge_sub": ([c_void_p, c_uint64], None),
    "onvm_gauge_set": ([c_void_p, c_uint64], None),
    "onvm_gauge_get": ([c_void_p], c_uint64),
    "onvm_histogram_record": ([c_void_p, c_uint64], None),
    "onvm_setup_instance": ([c_void_p], c_char_p),
    "onvm_setup_params": ([c_void_p], c_void_p),
    "onvm_setup_now": ([c_void_p], c_uint64),
    "onvm_setup_peers": ([c_void_p, POINTER(c_void_p)], c_int),
    "onvm_tick_every": ([c_void_p, c_uint64], c_int),
    "onvm_counter_new": ([c_void_p, c_char_p, POINTER(c_void_p)], c_int),
    "onvm_gauge_new": ([c_void_p, c_char_p, POINTER(c_void_p)], c_int),
    "onvm_histogram_new": ([c_void_p, c_char_p, POINTER(c_uint64), c_size_t, POINTER(c_void_p)], c_int),
    "onvm_params_json": ([c_void_p, POINTER(c_char_p)], c_int),
    "onvm_param_file": ([c_void_p, c_char_p, POINTER(c_void_p), POINTER(c_size_t)], c_int),
    "onvm_param_output": ([c_void_p, c_char_p, POINTER(c_uint16)], c_int),
    "onvm_param_filter": ([c_void_p, c_char_p, POINTER(c_void_p)], c_int),
    "onvm_packet_matches": ([c_void_p, c_uint32, c_void_p], c_bool),
    "onvm_filter_free": ([c_void_p], None),
    "onvm_param_rules": ([c_void_p, c_char_p, POINTER(c_char_p), c_size_t, POINTER(c_void_p)], c_int),
    "onvm_packet_first": ([c_void_p, c_uint32, c_void_p], c_int64),
    "onvm_rules_length": ([c_void_p], c_size_t),
    "onvm_rules_verdict": ([c_void_p, c_size_t], c_int64),
    "onvm_rules_name": ([c_void_p, c_size_t], c_char_p),
    "onvm_rules_free": ([c_void_p], None),
    "onvm_message_kind": ([c_void_p], c_char_p),
    "onvm_message_peer": ([c_void_p], c_char_p),
    "onvm_message_fields": ([c_void_p], c_void_p),
    "onvm_answer_json": ([c_void_p, c_char_p], c_int),
    "onvm_peers_send": ([c_void_p, c_char_p, c_char_p, POINTER(c_uint64)], c_int),
    "onvm_param_target": ([c_void_p, c_char_p, c_char_p, POINTER(c_uint16)], c_int),
    "onvm_setup_flows": ([c_void_p, POINTER(c_void_p)], c_int),
    "onvm_flows_put": ([c_void_p, c_void_p, c_uint32, POINTER(FlowEntry), POINTER(c_uint64)], c_int),
    "onvm_flows_remove": ([c_void_p, c_void_p, c_uint32, c_uint16, c_uint16, POINTER(c_uint64)], c_int),
    "onvm_log_enabled": ([c_uint32], c_bool),
    "onvm_log": ([c_uint32, c_char_p], None),
}

_PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "libonvm_nf.so")


def _load():
    # The interpreter's lock is kept during these calls, which are short.
    library = ctypes.PyDLL(_PATH)
    for name, (arguments, result) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, result
    found = library.onvm_nf_abi()
    if found != ABI:
        raise ImportError(f"{_PATH}: expected version {ABI} of the interface, found {found}: install the wheel again")
    return library


library = _load()
# Releases the lock while the NF waits, so that other threads of it can run.
run = ctypes.CDLL(_PATH).onvm_nf_run
run.argtypes, run.restype = [POINTER(Ops)], c_int


class NfError(Exception):
    """What the library refused; `status` is one of the numbers of `enum onvm_status`."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


def check(status):
    if status != OK:
        raise NfError(status, library.onvm_error_text().decode(errors="replace"))
