#define _GNU_SOURCE
#define ALLOW_EXPERIMENTAL_API /* rte_pktmbuf_pool_create_extbuf and friends, unchanged since 20.02 */
#include <rte_config.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <rte_byteorder.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_memcpy.h>
#include <rte_mempool.h>
#include <rte_prefetch.h>

#include "shim.h"

/* Distance of prefetching: mbuf headers of four packets are one or two memory latencies of work. */
#define AHEAD 4

const uint16_t ONVM_HEADROOM = RTE_PKTMBUF_HEADROOM;
const uint64_t ONVM_RSS_ANY_FLOW = RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_SCTP;

/* ---- pool ---- */

static inline uint32_t index_of(const struct onvm_pool *pool, const struct rte_mbuf *m)
{
	return (uint32_t)((((uintptr_t)m->buf_addr - pool->base) >> pool->shift) * pool->inverse);
}

struct binding {
	struct onvm_pool *pool;
	uint32_t bound;
	int broken;
};

static void bind_one(struct rte_mempool *mp, void *opaque, void *object, unsigned int position)
{
	struct binding *binding = opaque;
	struct onvm_pool *pool = binding->pool;
	struct rte_mbuf *m = object;
	const uintptr_t offset = (uintptr_t)m->buf_addr - pool->base;
	const uint64_t index = offset / pool->stride;

	RTE_SET_USED(mp);
	RTE_SET_USED(position);
	if (offset % pool->stride != 0 || index < pool->first || index - pool->first >= pool->own ||
	    index >= pool->count || pool->mbufs[index] != NULL ||
	    index_of(pool, m) != index) {
		binding->broken = 1;
		return;
	}
	/*
	 * The mbuf passes for a direct one from here on. Its buffer is pinned for life, which is what "direct"
	 * means to drivers; the EXTERNAL flag would only send rte_vlan_insert (af_packet) into an error and every
	 * free through the slow path, and many NIC drivers overwrite it at the first packet anyway.
	 */
	m->ol_flags = 0;
	pool->mbufs[index] = m;
	binding->bound++;
}

int onvm_pool_bind(struct onvm_pool *pool)
{
	struct binding binding = { .pool = pool };

	rte_mempool_obj_iter(pool->mp, bind_one, &binding);
	return binding.broken || binding.bound != pool->own ? -1 : 0;
}

uint32_t onvm_pool_alloc(const struct onvm_pool *pool, uint32_t *out, uint32_t n)
{
	void *taken[ONVM_MAX_BURST];
	uint32_t i;

	n = RTE_MIN(n, (uint32_t)ONVM_MAX_BURST);
	if (unlikely(rte_mempool_get_bulk(pool->mp, taken, n) != 0)) {
		/* A bulk is all or nothing; near the end single ones are still to be had. */
		for (i = 0; i < n && rte_mempool_get(pool->mp, &taken[i]) == 0; i++)
			;
		n = i;
	}
	for (i = 0; i < n && i < AHEAD; i++)
		rte_prefetch0(taken[i]);
	for (i = 0; i < n; i++) {
		if (i + AHEAD < n)
			rte_prefetch0(taken[i + AHEAD]);
		out[i] = index_of(pool, taken[i]);
	}
	return n;
}

/* Frees buffers of several pools, those of one at a time. */
static __rte_noinline uint32_t free_others(const struct onvm_pool *pool, const uint32_t *in, uint32_t n)
{
	void *freed[ONVM_MAX_BURST];
	struct rte_mempool *of = pool->mp;
	uint32_t i, run = 0, kept = 0;

	for (i = 0; i < n; i++) {
		struct rte_mbuf *const m = in[i] < pool->count ? pool->mbufs[in[i]] : NULL;

		if (m == NULL)
			continue;
		if (m->pool != of && run != 0) {
			rte_mempool_put_bulk(of, freed, run);
			run = 0;
		}
		of = m->pool;
		freed[run++] = m;
		kept++;
	}
	if (run != 0)
		rte_mempool_put_bulk(of, freed, run);
	return kept;
}

uint32_t onvm_pool_free(const struct onvm_pool *pool, const uint32_t *in, uint32_t n)
{
	void *freed[ONVM_MAX_BURST];
	uint32_t others[ONVM_MAX_BURST];
	uint32_t i, kept = 0, away = 0;

	n = RTE_MIN(n, (uint32_t)ONVM_MAX_BURST);
	for (i = 0; i < n; i++) {
		if (likely(in[i] - pool->first < pool->own))
			freed[kept++] = pool->mbufs[in[i]];
		else
			others[away++] = in[i];
	}
	/* Raw: every mbuf whose index left this file has one segment, no next and a count of one. */
	if (kept != 0)
		rte_mempool_put_bulk(pool->mp, freed, kept);
	return unlikely(away != 0) ? kept + free_others(pool, others, away) : kept;
}

uint32_t onvm_pool_copy(const struct onvm_pool *pool, const struct onvm_tx_desc *from, struct onvm_rx_desc *out,
			uint32_t n)
{
	uint32_t indices[ONVM_MAX_BURST];
	char *const base = (char *)pool->base;
	uint32_t i;

	n = onvm_pool_alloc(pool, indices, n);
	for (i = 0; i < n; i++) {
		const struct onvm_tx_desc d = from[i];
		const int sound = d.index < pool->count && pool->mbufs[d.index] != NULL &&
				  (uint32_t)d.off + d.len <= pool->stride;
		const uint32_t room = sound ? pool->stride - d.len : pool->stride;

		out[i].index = indices[i];
		out[i].hash = 0;
		out[i].off = RTE_MIN(room, (uint32_t)RTE_PKTMBUF_HEADROOM);
		out[i].len = sound ? d.len : 0;
		out[i].flags = 0;
		if (likely(sound))
			rte_memcpy(base + (size_t)indices[i] * pool->stride + out[i].off,
				   base + (size_t)d.index * pool->stride + d.off, d.len);
	}
	return n;
}

/* ---- port ---- */

/* Puts the tag back that the kernel (af_packet) or a NIC took off: NFs see packets as they were on the wire. */
static __rte_noinline int restore_vlan(struct rte_mbuf *m)
{
	char *data;
	const uint16_t tag[2] = { rte_cpu_to_be_16(RTE_ETHER_TYPE_VLAN), rte_cpu_to_be_16(m->vlan_tci) };

	if (m->data_off < sizeof(tag) || m->data_len < 2 * RTE_ETHER_ADDR_LEN)
		return 0;
	m->data_off -= sizeof(tag);
	m->data_len += sizeof(tag);
	m->pkt_len += sizeof(tag);
	data = rte_pktmbuf_mtod(m, char *);
	memmove(data, data + sizeof(tag), 2 * RTE_ETHER_ADDR_LEN);
	memcpy(data + 2 * RTE_ETHER_ADDR_LEN, tag, sizeof(tag));
	return 1;
}

/* Takes a packet that is not in one buffer of the pool: the packet in one, or NULL. What is left over is freed. */
static __rte_noinline struct rte_mbuf *take_in(const struct onvm_pool *pool, struct rte_mbuf *from,
					       uint64_t *oversized, uint64_t *foreign)
{
	const uint32_t len = rte_pktmbuf_pkt_len(from);
	void *object = NULL;
	struct rte_mbuf *to;
	const void *source;

	/* Some NICs fill a part of a buffer only, in kilobytes or powers of two, and go on in the next. */
	if (from->pool == pool->mp && len <= pool->stride - RTE_PKTMBUF_HEADROOM && rte_pktmbuf_linearize(from) == 0)
		return from;
	if (from->pool == pool->mp || len > pool->stride - RTE_PKTMBUF_HEADROOM)
		*oversized += 1;
	else if (rte_mempool_get(pool->mp, &object) != 0)
		*foreign += 1;
	to = object;
	if (to != NULL) {
		to->data_off = RTE_PKTMBUF_HEADROOM;
		to->data_len = len;
		to->pkt_len = len;
		to->ol_flags = from->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED;
		to->vlan_tci = from->vlan_tci;
		source = rte_pktmbuf_read(from, 0, len, rte_pktmbuf_mtod(to, void *));
		if (source != NULL && source != rte_pktmbuf_mtod(to, void *))
			memcpy(rte_pktmbuf_mtod(to, void *), source, len);
	}
	rte_pktmbuf_free(from);
	return to;
}

/* Half of a struct onvm_rx_desc, with its fields from the lowest bit on. */
typedef uint64_t __attribute__((may_alias, aligned(4))) rx_words;
_Static_assert(sizeof(struct onvm_rx_desc) == 2 * sizeof(rx_words), "two words make a descriptor");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "fields stand in words from the lowest bit on");

uint16_t onvm_rx_burst(const struct onvm_pool *pool, uint16_t port, uint16_t queue, struct onvm_rx_desc *out,
		       uint16_t limit, uint64_t *bytes, uint64_t *oversized, uint64_t *foreign)
{
	struct rte_mbuf *burst[ONVM_MAX_BURST];
	/* A copy, which the compiler knows that nobody changes. */
	const struct onvm_pool own = *pool;
	const uint16_t n = rte_eth_rx_burst(port, queue, burst, RTE_MIN(limit, (uint16_t)ONVM_MAX_BURST));
	/* Each field by itself would be a store of its own. */
	rx_words *words = (rx_words *)out;
	uint64_t sum = 0;
	uint16_t i;

	/* The driver has just written to the mbufs: nothing is gained by asking for them. */
	for (i = 0; i < n; i++) {
		struct rte_mbuf *m = burst[i];
		uint32_t flags = 0;

		if (unlikely(m->nb_segs != 1 || m->pool != own.mp)) {
			m = take_in(pool, m, oversized, foreign);
			if (m == NULL)
				continue;
		}
		if (unlikely(m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) && restore_vlan(m))
			flags = ONVM_RX_VLAN_RESTORED;
		words[0] = index_of(&own, m);
		words[1] = m->data_off | (uint32_t)m->data_len << 16 | (uint64_t)flags << 32;
		words += 2;
		sum += m->data_len;
	}
	*bytes += sum;
	return (words - (rx_words *)out) / 2;
}

/* Both lengths of an mbuf, and its tag, which nobody reads. */
typedef uint64_t __attribute__((may_alias, aligned(4))) lengths;
_Static_assert(offsetof(struct rte_mbuf, data_len) == offsetof(struct rte_mbuf, pkt_len) + 4 &&
		       offsetof(struct rte_mbuf, vlan_tci) == offsetof(struct rte_mbuf, pkt_len) + 6,
	       "the lengths and the tag are neighbours");

uint16_t onvm_tx_burst(const struct onvm_pool *pool, uint16_t port, uint16_t queue, const struct onvm_tx_desc *in,
		       uint16_t n, const struct onvm_tx_limits *limits, uint8_t *malformed)
{
	struct rte_mbuf *burst[ONVM_MAX_BURST];
	struct rte_mbuf *const *const mbufs = pool->mbufs;
	const uint32_t count = pool->count, stride = pool->stride;
	const uint32_t least = limits->min_len, span = limits->max_len - least;
	uint16_t i;

	n = RTE_MIN(n, (uint16_t)ONVM_MAX_BURST);
	for (i = 0; i < n; i++) {
		const struct onvm_tx_desc d = in[i];
		struct rte_mbuf *m;

		/* A length below the least one wraps around. */
		if (unlikely(d.index >= count || (uint32_t)d.len - least > span ||
			     (uint32_t)d.off + d.len > stride)) {
			*malformed = 1;
			n = i;
			break;
		}
		burst[i] = m = mbufs[d.index];
		/* Between the buffers of two pools there are indices without one. */
		if (unlikely(m == NULL)) {
			*malformed = 1;
			n = i;
			break;
		}
		/* One segment, no next and a count of one hold since the mbuf was received or allocated. */
		m->data_off = d.off;
		*(lengths *)&m->pkt_len = (lengths)d.len * (1 | 1ull << 32);
		m->ol_flags = 0;
	}
	return n == 0 ? 0 : rte_eth_tx_burst(port, queue, burst, n);
}

/* ---- process ---- */

void onvm_prefer_lifo_pools(void)
{
	for (unsigned int i = 0; i < rte_mempool_ops_table.num_ops; i++)
		if (strcmp(rte_mempool_ops_table.ops[i].name, "stack") == 0)
			rte_mbuf_set_user_mempool_ops("stack");
}

int onvm_errno(void)
{
	return rte_errno;
}

int onvm_lcore_id(void)
{
	const unsigned int id = rte_lcore_id();

	return id == LCORE_ID_ANY ? -1 : (int)id;
}

static void flush_cache(struct rte_mempool *mp, void *opaque)
{
	struct rte_mempool_cache *cache = rte_mempool_default_cache(mp, rte_lcore_id());

	RTE_SET_USED(opaque);
	if (cache != NULL)
		rte_mempool_cache_flush(cache, mp);
}

void onvm_lcore_release(void)
{
	rte_mempool_walk(flush_cache, NULL);
	rte_thread_unregister();
}

/* ---- log ---- */

#define LOG_BYTES 32768u

static struct {
	pthread_mutex_t lock;
	uint64_t written;
	char bytes[LOG_BYTES];
} log_ring = { .lock = PTHREAD_MUTEX_INITIALIZER };

static ssize_t log_write(void *cookie, const char *text, size_t size)
{
	size_t i;

	RTE_SET_USED(cookie);
	pthread_mutex_lock(&log_ring.lock);
	for (i = 0; i < size; i++)
		log_ring.bytes[log_ring.written++ % LOG_BYTES] = text[i];
	pthread_mutex_unlock(&log_ring.lock);
	return (ssize_t)size;
}

int onvm_log_capture(void)
{
	const cookie_io_functions_t functions = { .write = log_write };
	FILE *stream = fopencookie(NULL, "w", functions);

	/* The stream lives as long as the process: threads of DPDK may log until the end. */
	return stream == NULL ? -1 : rte_openlog_stream(stream);
}

uint64_t onvm_log_position(void)
{
	uint64_t written;

	pthread_mutex_lock(&log_ring.lock);
	written = log_ring.written;
	pthread_mutex_unlock(&log_ring.lock);
	return written;
}

size_t onvm_log_read(uint64_t from, char *out, size_t cap)
{
	size_t length = 0;

	pthread_mutex_lock(&log_ring.lock);
	cap = RTE_MIN(cap, (size_t)LOG_BYTES);
	if (log_ring.written - RTE_MIN(from, log_ring.written) > cap)
		from = log_ring.written - cap;
	for (; from < log_ring.written; from++)
		out[length++] = log_ring.bytes[from % LOG_BYTES];
	pthread_mutex_unlock(&log_ring.lock);
	return length;
}
