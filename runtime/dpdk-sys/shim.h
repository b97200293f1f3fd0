/*
 * What Rust cannot reach in DPDK: inline functions, bit masks, a thread-local errno and a FILE stream.
 * Functions of the packet path take a burst, so that the call costs once per burst and not per packet.
 */
#ifndef ONVM_SHIM_H
#define ONVM_SHIM_H

#include <stddef.h>
#include <stdint.h>

struct rte_mbuf;
struct rte_mempool;

/* Packets per call, at most. */
#define ONVM_MAX_BURST 64

/* Bytes that every driver leaves free before a received packet; fixed when libdpdk was built. */
extern const uint16_t ONVM_HEADROOM;

extern const uint64_t ONVM_RSS_ANY_FLOW;

#define ONVM_RX_VLAN_RESTORED 2u /* the driver had taken the VLAN tag off; it was put back */

struct onvm_rx_desc {
	uint32_t index; /* buffer */
	uint32_t hash;  /* 0: receivers fill it in */
	uint16_t off;   /* of the first byte, from the start of the buffer */
	uint16_t len;   /* bytes */
	uint32_t flags; /* ONVM_RX_* */
};

struct onvm_tx_desc {
	uint32_t index;
	uint16_t off;
	uint16_t len;
};

/*
 * A pool of pinned external buffers: buffer `i` is the `stride` bytes at `base + i * stride`. Several pools that share
 * `base`, `mbufs`, `count` and `stride` have buffers of different indices: `own` of them from `first` on.
 * `stride = odd << shift`, and `inverse` is the inverse of `odd` modulo 2^64: as a buffer's address is an exact
 * multiple, `((address - base) >> shift) * inverse` is its index without a division
 * (Granlund and Montgomery, "Division by invariant integers using multiplication", 1994, section 9).
 */
struct onvm_pool {
	struct rte_mempool *mp;
	struct rte_mbuf **mbufs; /* `count` slots, those of the pool filled by onvm_pool_bind, null without a buffer */
	uintptr_t base;
	uint64_t inverse;
	uint32_t shift;
	uint32_t count;
	uint32_t stride;
	uint32_t first;
	uint32_t own;
};

struct onvm_tx_limits {
	uint16_t min_len;
	uint16_t max_len;
};

/* Fills `mbufs`. 0, or -1 when buffers and mbufs are not one to one. */
int onvm_pool_bind(struct onvm_pool *pool);
/* All of `n` or fewer: the number of indices written. `n` <= ONVM_MAX_BURST. */
uint32_t onvm_pool_alloc(const struct onvm_pool *pool, uint32_t *out, uint32_t n);
/* Frees buffers of this pool and of those beside it, and returns how many there are. `n` <= ONVM_MAX_BURST. */
uint32_t onvm_pool_free(const struct onvm_pool *pool, const uint32_t *in, uint32_t n);
/*
 * Copies `n` <= ONVM_MAX_BURST packets, also those of pools beside this one, into buffers of this pool and returns how many
 * found one. One that does not fit behind the headroom begins further in front; one that does not lie in a buffer becomes an
 * empty packet. Nothing but the packets' bytes is copied.
 */
uint32_t onvm_pool_copy(const struct onvm_pool *pool, const struct onvm_tx_desc *from, struct onvm_rx_desc *out,
			uint32_t n);

/*
 * Receives up to `limit` <= ONVM_MAX_BURST packets. Those outside the pool (af_xdp, net_ring) are copied into it.
 * Their bytes are added to `bytes`. What is longer than a buffer has room for is freed and added to `oversized`; what should have been copied while
 * the pool had no buffer is freed and added to `foreign`.
 */
uint16_t onvm_rx_burst(const struct onvm_pool *pool, uint16_t port, uint16_t queue, struct onvm_rx_desc *out,
		       uint16_t limit, uint64_t *bytes, uint64_t *oversized, uint64_t *foreign);
/*
 * Sends `n` <= ONVM_MAX_BURST packets, up to the first malformed one (then `*malformed` becomes 1).
 * Returns how many the driver took; the rest stay the caller's.
 */
uint16_t onvm_tx_burst(const struct onvm_pool *pool, uint16_t port, uint16_t queue, const struct onvm_tx_desc *in,
		       uint16_t n, const struct onvm_tx_limits *limits, uint8_t *malformed);

/* Lets pools made from now on hand out the buffer that was freed last, where this DPDK has the handler for it. */
void onvm_prefer_lifo_pools(void);

int onvm_errno(void);
int onvm_lcore_id(void); /* -1 for a thread that DPDK does not know */
/* Gives the calling thread's caches back to all pools, then unregisters it. DPDK alone would keep the buffers. */
void onvm_lcore_release(void);

/* Sends DPDK's log to a ring in memory. 0 or -1. May be called once, before rte_eal_init. */
int onvm_log_capture(void);
/* The number of bytes logged so far. */
uint64_t onvm_log_position(void);
/* Copies what was logged from byte `from` on, the newest `cap` bytes of it, and returns the length. */
size_t onvm_log_read(uint64_t from, char *out, size_t cap);

#endif
