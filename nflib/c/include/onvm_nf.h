// onvm_nf.h: network functions (NFs) for onvm in C and C++. Generated; SPDX-License-Identifier: Apache-2.0 OR MIT
//
// An NF is a table of callbacks, onvm_nf_ops, that onvm_nf_run drives until the manager says stop:
//
//     #include <onvm_nf.h>
//
//     static int start(onvm_setup *setup, void **nf) { (void)setup; *nf = NULL; return ONVM_OK; }
//
//     static void process(void *nf, onvm_burst *burst)
//     {
//         (void)nf;
//         for (uint32_t n = 0; n < onvm_burst_length(burst); n++)
//             onvm_drop(burst, n);
//     }
//
//     int main(void)
//     {
//         onvm_nf_ops ops = ONVM_NF_OPS_INIT;
//         ops.start = start;
//         ops.process = process;
//         return onvm_nf_run(&ops);
//     }
//
// Link it with `pkg-config --cflags --libs onvm-nf`; docs/nf-in-c.md has the whole story.
//
// Functions return ONVM_OK (0) or another status, and leave their result in the last argument;
// onvm_error_text() says in words what went wrong. Null pointers, numbers out of range, texts that are
// not UTF-8, and a burst that is over are refused that way. The rest is up to the caller:
// - pointers are null, or valid for what their type says; texts end with a zero byte
// - handles are used within the lifetime that stands at the function that gives them, and by the thread
//   that runs the callbacks; only onvm_log, onvm_fail and onvm_error_text may be called by others
// - callbacks return; they are not left by longjmp or an exception
// A defect of the library ends the process with a message, and the manager starts the NF again.

#ifndef ONVM_NF_H
#define ONVM_NF_H


#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#if defined(__GNUC__)
#define ONVM_FORMAT(text, first) __attribute__((format(printf, text, first)))
#else
#define ONVM_FORMAT(text, first)
#endif

// A table without callbacks, of this header's version.
#define ONVM_NF_OPS_INIT {ONVM_NF_ABI, (uint32_t)sizeof(onvm_nf_ops), 0, 0, 0, 0, 0, 0, 0, 0}

// No value: of `vlan`, `inner_vlan`, `protocol`, `ttl` and `dscp` in `onvm_headers`.
#define ONVM_NONE 65535

// Of `ip` in `onvm_headers`, beside 4 and 6: ARP.
#define ONVM_ARP 1

// The version of this interface. It changes when a program that was compiled with an earlier header would not run with this
// library; what is only added does not change it.
#define ONVM_NF_ABI 1

// What functions return, and callbacks.
typedef enum onvm_status {
    ONVM_OK = 0,
    // Of the callbacks `reconfigure` and `message` only: this NF does not do that.
    ONVM_UNSUPPORTED = 1,
    // Failed; `onvm_error_text` says why. A callback says it by `onvm_fail`.
    ONVM_FAILED = 2,
    // A null pointer, a number out of range, or a text that is not UTF-8.
    ONVM_ARGUMENT = 3,
    // There is no such parameter, output, header field or packet.
    ONVM_MISSING = 4,
    // The parameter has another type, or the value does not fit.
    ONVM_VALUE = 5,
    // The manifest declares no write (`effects.writes`).
    ONVM_READ_ONLY = 6,
    // No room: in the buffer, for more counters, among blank buffers, or in a queue to the manager.
    ONVM_NO_ROOM = 7,
    // The manifest does not declare that the NF makes packets (`effects.generates`).
    ONVM_UNDECLARED = 8,
    // The handle's time is over, e.g. that of a burst after `process` has returned.
    ONVM_OVER = 9,
} onvm_status;

// What to do with a packet, for `onvm_set_verdict`.
typedef enum onvm_verdict {
    // Follow the chain; the verdict of a packet of which nothing is said.
    ONVM_NEXT = 0,
    // Leave by an output of the manifest: the argument is what `onvm_param_output` has given, or the index in its list.
    ONVM_OUTPUT = 1,
    // Counted as `nf_verdict`.
    ONVM_DROP = 2,
    // Visit the service whose id is the argument; needs `allow NF to steer` in the operator's source.
    ONVM_STEER = 3,
    // Leave by the port whose id is the argument; needs `allow NF to steer`.
    ONVM_OUT = 4,
    // Be classified again by its present headers; needs `allow NF to lookup`.
    ONVM_LOOKUP = 5,
} onvm_verdict;

// How important a message is.
typedef enum onvm_level {
    ONVM_ERROR = 1,
    ONVM_WARN = 2,
    ONVM_INFO = 3,
    ONVM_DEBUG = 4,
    ONVM_TRACE = 5,
} onvm_level;

// The transport header in `onvm_headers`.
typedef enum onvm_transport {
    // Another protocol, a later fragment, or too few bytes.
    ONVM_NO_TRANSPORT = 0,
    ONVM_TCP = 6,
    ONVM_UDP = 17,
    ONVM_SCTP = 132,
    ONVM_ICMP = 1,
    ONVM_ICMPV6 = 58,
} onvm_transport;

// A field to be written by `onvm_set_field`.
typedef enum onvm_field {
    // Time to live, in IPv6 hop limit: 0 to 255. `ip.ttl` in the manifest.
    ONVM_TTL = 1,
    // Differentiated services code point, 0 to 63; the bits of congestion notification stay. `ip.dscp`.
    ONVM_DSCP = 2,
    // Of TCP or UDP: 0 to 65535. `tcp.src_port`, `udp.src_port`.
    ONVM_SOURCE_PORT = 3,
    // Of TCP or UDP: 0 to 65535. `tcp.dst_port`, `udp.dst_port`.
    ONVM_DESTINATION_PORT = 4,
    // The VLAN number of the outer tag, 0 to 4095; priority and drop eligibility stay. `vlan.id`.
    ONVM_VLAN = 5,
    // That of the inner tag of two. `vlan.id`.
    ONVM_INNER_VLAN = 6,
    // The identifier of ICMP echo and the other queries: 0 to 65535. `icmp.id`.
    ONVM_ICMP_ID = 7,
} onvm_field;

// The answer to a message. Over when `message` returns.
typedef struct onvm_answer onvm_answer;

// The packets that the NF holds while `process` runs. Packets are named by number: those that came from 0 on, in order, and
// behind them those that the NF has made of this burst.
typedef struct onvm_burst onvm_burst;

// A counter of the NF, by `onvm_counter_new`. Valid until `stop` has returned. Adding costs a load and a store.
typedef struct onvm_counter onvm_counter;

// A parameter of type `filter`. Valid until `onvm_filter_free`.
typedef struct onvm_filter onvm_filter;

// The way to program flows, by `onvm_setup_flows`. Valid until `stop` has returned.
typedef struct onvm_flows onvm_flows;

// A value that goes up and down, by `onvm_gauge_new`. Valid until `stop` has returned.
typedef struct onvm_gauge onvm_gauge;

// Values by range, by `onvm_histogram_new`. Valid until `stop` has returned.
typedef struct onvm_histogram onvm_histogram;

// A message to the NF, of a kind and with fields that its manifest declares. Over when `message` returns.
typedef struct onvm_message onvm_message;

// Parameters, or the fields of a message, by name. The compiler has checked types and ranges and filled in defaults by the
// manifest. Over when the callback that got them returns, with every text and byte that they gave.
typedef struct onvm_params onvm_params;

// The way to the other instances of the service.
typedef struct onvm_peers onvm_peers;

// A parameter of type `rules`. Valid until `onvm_rules_free`.
typedef struct onvm_rules onvm_rules;

// The start-up data of an NF. Over when `start` returns.
typedef struct onvm_setup onvm_setup;

// An entry: packets of a flow, in both directions, that come in by the target's port enter the target's chain, in place of what
// the port's rules say.
typedef struct onvm_flow_entry {
    // As `onvm_param_target` has given it.
    uint16_t target;
    // Of several entries that take a packet the one with the highest priority decides.
    uint16_t priority;
    // Nanoseconds without a packet after which it ends, in steps of 1 ms; 0: it does not end thereby.
    uint64_t idle;
    // Nanoseconds after which it ends, whatever comes; 0: it does not end thereby.
    uint64_t hard;
    // The NF's own mark, which `onvmc flows` shows.
    uint64_t cookie;
    // It stays when the last instance of the service has ended.
    bool keep;
} onvm_flow_entry;

// What stands in a packet's headers, up to two VLAN tags and all IPv6 extension headers included. A packet that is cut short or
// contradicts itself is read as far as that goes: every field that is set was read from bytes that are there. Numbers are in the
// byte order of this machine, offsets in bytes from the start of the packet, checksums are not verified.
typedef struct onvm_headers {
    // The EtherType behind the VLAN tags that were read, or the length of an 802.3 frame (below 0x600); 0: cut.
    uint16_t ethertype;
    // VLAN number of the outer tag, 0 to 4095, or `ONVM_NONE`.
    uint16_t vlan;
    // VLAN number of the inner tag of two, or `ONVM_NONE`.
    uint16_t inner_vlan;
    // The IP protocol behind all extension headers, 0 to 255, or `ONVM_NONE`.
    uint16_t protocol;
    // Time to live, in IPv6 hop limit, 0 to 255, or `ONVM_NONE`.
    uint16_t ttl;
    // Differentiated services code point, 0 to 63, or `ONVM_NONE`.
    uint16_t dscp;
    // Of TCP, UDP and SCTP; otherwise 0.
    uint16_t source_port;
    uint16_t destination_port;
    // Where the network header starts.
    uint16_t network_offset;
    // Where the transport header, or whatever follows the IP headers, starts; 0 where the packet is not IP.
    uint16_t transport_offset;
    // The innermost payload that was reached; it ends where the headers say, before Ethernet padding.
    uint16_t payload_offset;
    uint16_t payload_length;
    // Of a later fragment: bytes into the datagram.
    uint16_t fragment_offset;
    // 4, 6, `ONVM_ARP`, or 0: neither, or a header of these that cannot be read.
    uint8_t ip;
    // One of `enum onvm_transport`.
    uint8_t transport;
    // The flags byte of a TCP header: FIN 0x01, SYN 0x02, RST 0x04, PSH 0x08, ACK 0x10, URG 0x20.
    uint8_t tcp_flags;
    // Of ICMP and ICMPv6.
    uint8_t icmp_type;
    uint8_t icmp_code;
    // 0: a whole datagram; 1: the first of several fragments; 2: a later one, which has no transport header.
    uint8_t fragment;
    // Not 0: the packet is cut or malformed somewhere.
    uint8_t faulty;
    // In network order; of IPv4 the first four bytes.
    uint8_t source[16];
    uint8_t destination[16];
} onvm_headers;

// What has become of a message to the other instances. Over when `sent` returns.
typedef struct onvm_sent {
    // As `onvm_peers_send` gave it.
    uint64_t number;
    // Instances for which it is on its way.
    uint16_t reached;
    // Instances that do not get it, since too many wait for them already.
    uint16_t missed;
    // Why nobody gets it, e.g. that the manifest does not declare it; null where some may.
    const char *refused;
} onvm_sent;

// What has become of requests and entries. Over when `flow_news` returns.
typedef struct onvm_flow_news {
    // Every worker obeys the requests with numbers below this one, except for those that were refused.
    uint64_t done;
    // How many requests were refused since the last call, and of the first of them its number and why.
    size_t refused;
    uint64_t refused_number;
    const char *refused_why;
    // How many entries have ended since the last call, and the packets and bytes that they took together.
    size_t ended;
    uint64_t ended_packets;
    uint64_t ended_bytes;
    // News that were left out, since the instance did not read those before.
    uint64_t missed;
} onvm_flow_news;

// An NF: its callbacks. All are called by the thread that called `onvm_nf_run`, never two at a time. Those that may be null are
// marked so. None of them may block for long: an instance that holds packets and hands none back for 2 s is killed and restarted.
// None may be left by `longjmp` or an exception.
//
// Initialise it with `ONVM_NF_OPS_INIT` and then by name, so that callbacks that a later version adds are null.
typedef struct onvm_nf_ops {
    // `ONVM_NF_ABI` of the header that the program was compiled with.
    uint32_t abi;
    // `sizeof(onvm_nf_ops)` of that header.
    uint32_t size;
    // Builds the NF from its parameters, within 10 s of the start of the process. What it leaves in `nf` is passed to the other
    // callbacks. After an error, whose text is shown to the operator, no other callback is called. It is called again, after `stop`,
    // when a manager that went away has come back.
    int (*start)(struct onvm_setup *setup, void **nf);
    // Handles a burst of 1 to 32 packets. Each packet goes on by `ONVM_NEXT` where nothing else is said. The burst, and all
    // pointers into its packets, are over when it returns.
    void (*process)(void *nf, struct onvm_burst *burst);
    // May be null. Called about as often as `onvm_tick_every` asked for, between bursts, with the time in nanoseconds.
    void (*tick)(void *nf, uint64_t now);
    // May be null. Takes a message of a kind that the manifest declares. `ONVM_OK`, or an error whose text goes to the operator
    // who sent it; the answer is set by `onvm_answer_json`. `message` and `answer` are over when it returns.
    int (*message)(void *nf, const struct onvm_message *message, struct onvm_answer *answer);
    // May be null. What has become of a message to the other instances of the service.
    void (*sent)(void *nf, const struct onvm_sent *sent);
    // May be null. Takes new parameters while packets flow, where the manifest says `reconfigure = true`. Either all of them or
    // none: after an error, whose text is shown to the operator, or `ONVM_UNSUPPORTED`, which has the manager replace the
    // instance, the former ones are in force. `params` is over when it returns.
    int (*reconfigure)(void *nf, const struct onvm_params *params);
    // May be null. What has become of requests about flow entries, and of entries.
    void (*flow_news)(void *nf, const struct onvm_flow_news *news);
    // May be null. The last call: frees what `start` made. Not called where the process is killed.
    void (*stop)(void *nf);
} onvm_nf_ops;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Packets that came, 1 to 32; 0 when the burst is over.
uint32_t onvm_burst_length(const struct onvm_burst *burst);

// Bytes of all packets that came.
uint64_t onvm_burst_bytes(const struct onvm_burst *burst);

// The time, in nanoseconds since a point that differs between processes; it never goes back. Each call reads the clock, which
// takes some 20 ns: call it once a burst, and only if it is needed. 0 when the burst is over.
uint64_t onvm_burst_now(const struct onvm_burst *burst);

// The packet from its first Ethernet byte, without frame check sequence, and its length in bytes, of which there is at least one.
// `length` may be null. Null, with a length of 0, on an error. The pointer is over when `process` returns, and when the packet
// gets another size. Packets may be cut, malformed and hostile: look at the length before each index.
const uint8_t *onvm_packet_data(struct onvm_burst *burst,
                                uint32_t n,
                                uint32_t *length);

// As `onvm_packet_data`, for writing. Null where the manifest declares no write (`ONVM_READ_ONLY`); there, a write by any other
// way ends the process by SIGSEGV. Every header field that an NF ever writes belongs into `effects.writes` of its manifest.
uint8_t *onvm_packet_data_mut(struct onvm_burst *burst,
                              uint32_t n,
                              uint32_t *length);

// The symmetric flow hash: both directions of a flow have the same; 0 where the packet is not IP, and on an error.
uint32_t onvm_packet_hash(const struct onvm_burst *burst,
                          uint32_t n);

// Gives a packet a verdict, one of `enum onvm_verdict`, in place of the one that it has. One that the bundle does not permit is
// overruled: the packet follows the chain, and `onvmc status` counts it.
enum onvm_status onvm_set_verdict(struct onvm_burst *burst,
                                  uint32_t n,
                                  uint32_t verdict,
                                  uint16_t argument);

// Drops a packet: `ONVM_DROP` as its verdict.
enum onvm_status onvm_drop(struct onvm_burst *burst, uint32_t n);

// Sends a packet to an output that `onvm_param_output` has given: `ONVM_OUTPUT` as its verdict.
enum onvm_status onvm_output(struct onvm_burst *burst, uint32_t n, uint16_t output);

// Bytes that `onvm_packet_push` has room for: at least 128 in a packet that no NF has changed.
uint32_t onvm_packet_headroom(const struct onvm_burst *burst, uint32_t n);

// Bytes that `onvm_packet_extend` has room for.
uint32_t onvm_packet_tailroom(const struct onvm_burst *burst, uint32_t n);

// Adds so many bytes of zero in front. Needs `payload = "write"` in the manifest, as all changes of size.
enum onvm_status onvm_packet_push(struct onvm_burst *burst,
                                  uint32_t n,
                                  uint32_t bytes);

// Removes the first so many bytes. At least one must stay.
enum onvm_status onvm_packet_pull(struct onvm_burst *burst, uint32_t n, uint32_t bytes);

// Adds so many bytes of zero at the end.
enum onvm_status onvm_packet_extend(struct onvm_burst *burst, uint32_t n, uint32_t bytes);

// Removes what stands behind the first `length` bytes, 1 or more; a packet that is not longer stays as it is.
enum onvm_status onvm_packet_truncate(struct onvm_burst *burst,
                                      uint32_t n,
                                      uint32_t length);

// Makes a packet of these bytes in the name of the packet `of` that came, and leaves its number in `made`, under which it can be
// written, resized and given a verdict; `made` may be null. It goes where its verdict says, at first `ONVM_NEXT`, from the hop at
// which that packet is, and leaves the NF before it. Needs `effects.generates` in the manifest (`ONVM_UNDECLARED`).
// `ONVM_NO_ROOM`: no blank buffer is left for now; go on without.
enum onvm_status onvm_generate(struct onvm_burst *burst,
                               uint32_t of,
                               const uint8_t *bytes,
                               uint32_t length,
                               uint32_t *made);

// Makes a copy of the packet `of` that came, as it is by now, in its name: see `onvm_generate`.
enum onvm_status onvm_copy(struct onvm_burst *burst, uint32_t of, uint32_t *made);

// Counts so many more. Null is ignored.
void onvm_counter_add(const struct onvm_counter *counter, uint64_t n);

// Begins again from another value. Null is ignored.
void onvm_counter_set(const struct onvm_counter *counter, uint64_t n);

// The present value; 0 of null.
uint64_t onvm_counter_get(const struct onvm_counter *counter);

// Null is ignored.
void onvm_gauge_set(const struct onvm_gauge *gauge, uint64_t value);

// Null is ignored.
void onvm_gauge_add(const struct onvm_gauge *gauge, uint64_t n);

// Down to zero at most. Null is ignored.
void onvm_gauge_sub(const struct onvm_gauge *gauge, uint64_t n);

// The present value; 0 of null.
uint64_t onvm_gauge_get(const struct onvm_gauge *gauge);

// Counts a value in its range. Null is ignored.
void onvm_histogram_record(const struct onvm_histogram *histogram, uint64_t value);

// The text of the last error of this thread, in English, without a line end; empty where there was none. Valid until the next
// call of a function of this library by this thread.
const char *onvm_error_text(void);

// Sets the text of the error that a callback returns, and gives `ONVM_FAILED`: `return onvm_fail("no such route");`. An operator
// reads it: say what is wrong, and what would be right.
enum onvm_status onvm_fail(const char *text);

// The target of flow entries of a port that lead to a chain, or to `drop`. Only what the operator's source permits (`allow NF to
// program PORT`) can be named; the error says what that is.
enum onvm_status onvm_param_target(const struct onvm_params *params,
                                   const char *port,
                                   const char *chain,
                                   uint16_t *target);

// The way to program flows, where the manifest says `effects.programs`.
enum onvm_status onvm_setup_flows(struct onvm_setup *setup, const struct onvm_flows **flows);

// Adds an entry for the flow of a packet, by its headers as they are by now, or changes the one of the same port, flow and priority.
// Leaves the request's number, from 0 on, in `number`, which may be null; `flow_news` says what has become of it. `ONVM_MISSING`:
// the packet is of no flow (not IP, cut, fragments of IPv6). `ONVM_NO_ROOM`: 8192 requests wait; ask again with the flow's next
// packet.
enum onvm_status onvm_flows_put(const struct onvm_flows *flows,
                                const struct onvm_burst *burst,
                                uint32_t n,
                                const struct onvm_flow_entry *entry,
                                uint64_t *number);

// Removes the entry for the flow of a packet with this priority from the port of the target, whichever target it has. See
// `onvm_flows_put`.
enum onvm_status onvm_flows_remove(const struct onvm_flows *flows,
                                   const struct onvm_burst *burst,
                                   uint32_t n,
                                   uint16_t target,
                                   uint16_t priority,
                                   uint64_t *number);

// Reads the packet's headers.
enum onvm_status onvm_packet_headers(const struct onvm_burst *burst,
                                     uint32_t n,
                                     struct onvm_headers *headers);

// Writes a header field, one of `enum onvm_field`, and brings the checksums over it up to date by what changed (RFC 1624): of IPv4,
// TCP, UDP, ICMP and ICMPv6. A checksum that was wrong stays wrong, so that damage remains visible; a UDP checksum of 0 (none)
// stays 0. On an error nothing is written; `ONVM_MISSING`: the packet has no such field.
enum onvm_status onvm_set_field(struct onvm_burst *burst,
                                uint32_t n,
                                uint32_t field,
                                uint16_t value);

// Writes the source address, and the checksums over it; see `onvm_set_field`. `length` is 4 or 16 bytes, as the packet's own IP
// version has them. `ip.src` in the manifest.
enum onvm_status onvm_set_source(struct onvm_burst *burst,
                                 uint32_t n,
                                 const uint8_t *address,
                                 uint32_t length);

// Writes the destination address, and the checksums over it; see `onvm_set_source`. `ip.dst` in the manifest.
enum onvm_status onvm_set_destination(struct onvm_burst *burst,
                                      uint32_t n,
                                      const uint8_t *address,
                                      uint32_t length);

// Writes the source MAC address, of six bytes. `ether.src` in the manifest.
enum onvm_status onvm_set_source_mac(struct onvm_burst *burst, uint32_t n, const uint8_t *mac);

// Writes the destination MAC address, of six bytes. `ether.dst` in the manifest.
enum onvm_status onvm_set_destination_mac(struct onvm_burst *burst, uint32_t n, const uint8_t *mac);

// The Internet checksum (RFC 1071) of a header after the covered bytes `old` have become `new`, by what changed (RFC 1624): for
// fields that `onvm_set_field` does not know. All are in network order; both begin at an even offset from the start of what the
// checksum covers. The old one where a pointer is null.
uint16_t onvm_checksum_updated(uint16_t checksum,
                               const uint8_t *old,
                               const uint8_t *new_,
                               size_t length);

// Whether a message of this level, one of `enum onvm_level`, would be shown: to be asked before it is put together. The manager
// shows `ONVM_INFO` and above unless its operator asks for more.
bool onvm_log_enabled(uint32_t level);

// Writes a message into the manager's log, under the instance's name. Null and other levels are ignored. Lines beyond 200 a second
// are left out and counted.
void onvm_log(uint32_t level,
              const char *text);

// The kind of a message. Null of null.
const char *onvm_message_kind(const struct onvm_message *message);

// The instance that sent it; null: an operator, who waits 2 s for the answer.
const char *onvm_message_peer(const struct onvm_message *message);

// The fields, read as parameters are. Null of null.
const struct onvm_params *onvm_message_fields(const struct onvm_message *message);

// Sets the answer: any JSON of at most 64 KiB. Without it the answer is `null`, which says that it is done. An answer to another
// instance goes nowhere.
enum onvm_status onvm_answer_json(struct onvm_answer *answer,
                                  const char *json);

// Sends a message to all other instances of the service that run, and leaves its number, from 0 on, in `number`, which may be
// null; `sent` says what has become of it. `fields` is a JSON object in the units of parameters, of at most 16 KiB. 256 messages
// may wait for the manager (`ONVM_NO_ROOM`).
enum onvm_status onvm_peers_send(const struct onvm_peers *peers,
                                 const char *kind,
                                 const char *fields,
                                 uint64_t *number);

// `ONVM_NF_ABI` of the library, for programs that load it by name.
uint32_t onvm_nf_abi(void);

// The version of the library, e.g. `0.1.0`. Always valid.
const char *onvm_nf_version(void);

// Runs the NF as the environment variable `ONVM_NF_SOCKET` says, which the manager sets, until the manager says stop. Use as
// the whole of `main`: gives its exit code. What goes wrong is written to standard error.
//
// Ends with exit code 2 where the table is of another version of this interface, or a callback is missing that must be there.
int onvm_nf_run(const struct onvm_nf_ops *ops);

// Whether the parameter is there. One that is `optional` in the manifest may not be.
bool onvm_param_given(const struct onvm_params *params, const char *name);

// A `bool`.
enum onvm_status onvm_param_bool(const struct onvm_params *params, const char *name, bool *value);

// An `int` that is not negative, a `time` in nanoseconds, a `size` in bytes, a `bit_rate` in bits a second, a `packet_rate` in
// packets a second.
enum onvm_status onvm_param_uint(const struct onvm_params *params,
                                 const char *name,
                                 uint64_t *value);

// An `int`.
enum onvm_status onvm_param_int(const struct onvm_params *params, const char *name, int64_t *value);

// A `decimal`.
enum onvm_status onvm_param_double(const struct onvm_params *params,
                                   const char *name,
                                   double *value);

// The text of a `string`, `enum`, `secret`, `address`, `prefix`, `mac` or `endpoint`.
enum onvm_status onvm_param_string(const struct onvm_params *params,
                                   const char *name,
                                   const char **value);

// The content of a `file`, which may have zero bytes, and how many bytes it has.
enum onvm_status onvm_param_file(const struct onvm_params *params,
                                 const char *name,
                                 const uint8_t **content,
                                 size_t *length);

// How many values a parameter with `list = true` has.
enum onvm_status onvm_param_length(const struct onvm_params *params,
                                   const char *name,
                                   size_t *length);

// As `onvm_param_uint`, of a list, by the place in it from 0 on.
enum onvm_status onvm_param_uint_at(const struct onvm_params *params,
                                    const char *name,
                                    size_t index,
                                    uint64_t *value);

// As `onvm_param_int`, of a list, by the place in it from 0 on.
enum onvm_status onvm_param_int_at(const struct onvm_params *params,
                                   const char *name,
                                   size_t index,
                                   int64_t *value);

// As `onvm_param_double`, of a list, by the place in it from 0 on.
enum onvm_status onvm_param_double_at(const struct onvm_params *params,
                                      const char *name,
                                      size_t index,
                                      double *value);

// As `onvm_param_string`, of a list, by the place in it from 0 on.
enum onvm_status onvm_param_string_at(const struct onvm_params *params,
                                      const char *name,
                                      size_t index,
                                      const char **value);

// The output that the manifest has under this name. Ask at the start, and keep the number.
enum onvm_status onvm_param_output(const struct onvm_params *params,
                                   const char *name,
                                   uint16_t *output);

// All parameters as one JSON object, for languages that read JSON more easily. A file is an object with its name.
enum onvm_status onvm_params_json(const struct onvm_params *params,
                                  const char **text);

// The filter that a parameter of type `filter` is. It belongs to the NF, which frees it by `onvm_filter_free`.
enum onvm_status onvm_param_filter(const struct onvm_params *params,
                                   const char *name,
                                   struct onvm_filter **filter);

// Whether a filter takes the packet, as the port that it came from sees it. False on an error.
bool onvm_packet_matches(const struct onvm_burst *burst,
                         uint32_t n,
                         const struct onvm_filter *filter);

// Frees a filter. Null is ignored.
void onvm_filter_free(struct onvm_filter *filter);

// The rules that a parameter of type `rules` holds. `verdicts` are the words of the manifest's `values`, in order. They belong to
// the NF, which frees them by `onvm_rules_free`.
enum onvm_status onvm_param_rules(const struct onvm_params *params,
                                  const char *name,
                                  const char *const *verdicts,
                                  size_t count,
                                  struct onvm_rules **rules);

// The number of the first rule that takes the packet, from 0 on; -1: none does, or an error.
int64_t onvm_packet_first(const struct onvm_burst *burst, uint32_t n, struct onvm_rules *rules);

// How many rules there are; 0 of null.
size_t onvm_rules_length(const struct onvm_rules *rules);

// The verdict of a rule, as an index among the words; -1 where there is no such rule.
int64_t onvm_rules_verdict(const struct onvm_rules *rules, size_t rule);

// The name of a rule's counter; null where there is no such rule. Valid as long as the rules.
const char *onvm_rules_name(const struct onvm_rules *rules, size_t rule);

// Frees rules. Null is ignored.
void onvm_rules_free(struct onvm_rules *rules);

// The instance's name, e.g. `fw-0`. Valid until `start` returns; null of null.
const char *onvm_setup_instance(const struct onvm_setup *setup);

// The parameters. Valid until `start` returns; null of null.
const struct onvm_params *onvm_setup_params(const struct onvm_setup *setup);

// The time, in nanoseconds, as `onvm_burst_now` gives it.
uint64_t onvm_setup_now(struct onvm_setup *setup);

// Asks for `tick` about every so many nanoseconds; without it there are no ticks.
enum onvm_status onvm_tick_every(struct onvm_setup *setup, uint64_t period);

// Makes a counter, which `onvmc status` and `/metrics` show under this name: at most 256 bytes without control characters. There is
// room for 4096 counters and gauges (`ONVM_NO_ROOM`).
enum onvm_status onvm_counter_new(struct onvm_setup *setup,
                                  const char *name,
                                  const struct onvm_counter **counter);

// Makes a gauge, which is shown as counters are and takes the room of one.
enum onvm_status onvm_gauge_new(struct onvm_setup *setup,
                                const char *name,
                                const struct onvm_gauge **gauge);

// Makes a histogram of the values up to each of the bounds, which ascend, and of those above the last. It is shown as counters:
// for the name `wait_ns` and the bounds 100 and 1000 as `wait_ns_to_100`, `wait_ns_to_1000`, `wait_ns_above_1000` and
// `wait_ns_sum`. It takes their room.
enum onvm_status onvm_histogram_new(struct onvm_setup *setup,
                                    const char *name,
                                    const uint64_t *bounds,
                                    size_t count,
                                    const struct onvm_histogram **histogram);

// The way to the other instances of the service. Valid until `stop` has returned; see `onvm_peers_send`.
enum onvm_status onvm_setup_peers(struct onvm_setup *setup,
                                  const struct onvm_peers **peers);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

// As onvm_log, with a format as printf has it, and arguments. Texts are cut at 1023 bytes.
ONVM_FORMAT(2, 3) static inline void onvm_logf(uint32_t level, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    if (!onvm_log_enabled(level))
        return;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    onvm_log(level, text);
}

// As onvm_fail, with a format as printf has it, and arguments: return onvm_failf("port %u is taken", port);
ONVM_FORMAT(1, 2) static inline int onvm_failf(const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return (int)onvm_fail(text);
}

#endif /* ONVM_NF_H */
