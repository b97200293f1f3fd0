// ttl_guard: packets that have come too far leave by the output `denied`; the others are marked.
//
// A neighbour's packets arrive with a time to live of 255, since no router was on their way (RFC 5082). A minimum for it keeps out
// what claims to be from nearby and is not, and packets that are about to die in a loop.

#include <onvm_nf.h>
#include <stdlib.h>

struct guard {
    uint8_t min_ttl;
    bool marks;
    uint8_t mark;
    uint16_t denied;
    const onvm_counter *far, *marked, *unknown;
};

// Takes all parameters or none.
static int read_params(struct guard *guard, const onvm_params *params)
{
    uint64_t min_ttl, mark = 0;
    bool marks = onvm_param_given(params, "mark");
    if (onvm_param_uint(params, "min_ttl", &min_ttl) || (marks && onvm_param_uint(params, "mark", &mark)))
        return ONVM_FAILED; // The text says which.
    guard->min_ttl = (uint8_t)min_ttl;
    guard->marks = marks;
    guard->mark = (uint8_t)mark;
    return ONVM_OK;
}

static int start(onvm_setup *setup, void **nf)
{
    const onvm_params *params = onvm_setup_params(setup);
    struct guard *guard = calloc(1, sizeof *guard);
    if (!guard)
        return onvm_fail("out of memory");
    *nf = guard;
    if (read_params(guard, params) || onvm_param_output(params, "denied", &guard->denied) ||
        onvm_counter_new(setup, "far", &guard->far) || onvm_counter_new(setup, "marked", &guard->marked) ||
        onvm_counter_new(setup, "unknown", &guard->unknown)) {
        free(guard);
        return ONVM_FAILED;
    }
    onvm_logf(ONVM_DEBUG, "packets need a TTL of %u", guard->min_ttl);
    return ONVM_OK;
}

static void process(void *nf, onvm_burst *burst)
{
    struct guard *guard = nf;
    uint64_t far = 0, marked = 0, unknown = 0;
    for (uint32_t n = 0; n < onvm_burst_length(burst); n++) {
        onvm_headers headers;
        if (onvm_packet_headers(burst, n, &headers) || headers.ttl == ONVM_NONE) {
            unknown++; // Not IP: ARP must pass.
        } else if (headers.ttl < guard->min_ttl) {
            far++;
            onvm_output(burst, n, guard->denied);
        } else if (guard->marks && headers.dscp != guard->mark &&
                   onvm_set_field(burst, n, ONVM_DSCP, guard->mark) == ONVM_OK) {
            marked++; // The IPv4 checksum is up to date, too.
        }
    }
    onvm_counter_add(guard->far, far);
    onvm_counter_add(guard->marked, marked);
    onvm_counter_add(guard->unknown, unknown);
}

static int reconfigure(void *nf, const onvm_params *params)
{
    return read_params(nf, params);
}

static void stop(void *nf)
{
    free(nf);
}

int main(void)
{
    onvm_nf_ops ops = ONVM_NF_OPS_INIT;
    ops.start = start;
    ops.process = process;
    ops.reconfigure = reconfigure;
    ops.stop = stop;
    return onvm_nf_run(&ops);
}
