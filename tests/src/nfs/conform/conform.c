// As mod.rs beside it, in C.

#include <onvm_nf.h>
#include <stdlib.h>
#include <string.h>

struct conform {
    uint16_t side;
    char *all;
    onvm_filter *only;
    onvm_rules *rules;
    const onvm_peers *peers;
    const onvm_flows *flows;
    uint16_t fast;
    const onvm_counter *seen, *matched, *refused, *ticks, *heard, *reached;
    const onvm_gauge *value, *flows_done;
    const onvm_histogram *sizes;
};

// All parameters as JSON, by the functions of their types.
static int all_params(const onvm_params *params, char *text, size_t size)
{
    static const char *const texts[] = {"text", "mode", "key", "address", "prefix", "mac", "endpoint"};
    static const char *const numbers[] = {"pause", "room", "bits", "packets"};
    bool flag;
    int64_t offset;
    double ratio;
    const uint8_t *blob;
    size_t length, used;
    if (onvm_param_bool(params, "flag", &flag) || onvm_param_int(params, "offset", &offset) ||
        onvm_param_double(params, "ratio", &ratio) || onvm_param_file(params, "blob", &blob, &length))
        return ONVM_FAILED;
    used = (size_t)snprintf(text, size, "{\"flag\":%s,\"offset\":%lld,\"ratio\":%g,\"absent\":%s,\"blob\":[",
                            flag ? "true" : "false", (long long)offset, ratio,
                            onvm_param_given(params, "absent") ? "true" : "false");
    for (size_t n = 0; n < length; n++)
        used += (size_t)snprintf(text + used, size - used, "%s%u", n ? "," : "", blob[n]);
    used += (size_t)snprintf(text + used, size - used, "]");
    for (size_t n = 0; n < sizeof texts / sizeof *texts; n++) {
        const char *value;
        if (onvm_param_string(params, texts[n], &value))
            return ONVM_FAILED;
        used += (size_t)snprintf(text + used, size - used, ",\"%s\":\"%s\"", texts[n], value);
    }
    for (size_t n = 0; n < sizeof numbers / sizeof *numbers; n++) {
        uint64_t value;
        if (onvm_param_uint(params, numbers[n], &value))
            return ONVM_FAILED;
        used += (size_t)snprintf(text + used, size - used, ",\"%s\":%llu", numbers[n],
                                 (unsigned long long)value);
    }
    if (onvm_param_length(params, "ports", &length))
        return ONVM_FAILED;
    for (size_t n = 0; n < length; n++) {
        uint64_t value;
        if (onvm_param_uint_at(params, "ports", n, &value))
            return ONVM_FAILED;
        used += (size_t)snprintf(text + used, size - used, "%s%llu", n ? "," : ",\"ports\":[",
                                 (unsigned long long)value);
    }
    if (onvm_param_length(params, "names", &length))
        return ONVM_FAILED;
    for (size_t n = 0; n < length; n++) {
        const char *value;
        if (onvm_param_string_at(params, "names", n, &value))
            return ONVM_FAILED;
        used += (size_t)snprintf(text + used, size - used, "%s\"%s\"", n ? "," : "],\"names\":[", value);
    }
    snprintf(text + used, size - used, "]}");
    return ONVM_OK;
}

static int refuses(const onvm_params *params)
{
    const char *text;
    if (onvm_param_string(params, "text", &text))
        return ONVM_FAILED;
    if (!strcmp(text, "refuse"))
        return onvm_failf("`text` may not be `%s`", text);
    return strcmp(text, "not") ? ONVM_OK : ONVM_UNSUPPORTED;
}

static int start(onvm_setup *setup, void **nf)
{
    static const char *const verdicts[] = {"accept", "drop"};
    static const uint64_t bounds[] = {64, 128};
    const onvm_params *params = onvm_setup_params(setup);
    struct conform *c = calloc(1, sizeof *c);
    uint64_t pause, room;
    *nf = c;
    if (!c || !(c->all = malloc(4096)))
        return onvm_fail("out of memory");
    if (refuses(params) == ONVM_FAILED || all_params(params, c->all, 4096) ||
        onvm_param_output(params, "side", &c->side) || onvm_param_filter(params, "only", &c->only) ||
        onvm_param_rules(params, "rules", verdicts, 2, &c->rules) || onvm_setup_peers(setup, &c->peers) ||
        onvm_counter_new(setup, "seen", &c->seen) || onvm_counter_new(setup, "matched", &c->matched) ||
        onvm_counter_new(setup, "refused", &c->refused) || onvm_counter_new(setup, "ticks", &c->ticks) ||
        onvm_counter_new(setup, "heard", &c->heard) || onvm_counter_new(setup, "reached", &c->reached) ||
        onvm_gauge_new(setup, "value", &c->value) || onvm_gauge_new(setup, "flows_done", &c->flows_done) ||
        onvm_setup_flows(setup, &c->flows) ||
        onvm_histogram_new(setup, "sizes", bounds, 2, &c->sizes) ||
        onvm_param_uint(params, "pause", &pause) || onvm_param_uint(params, "room", &room) ||
        onvm_tick_every(setup, pause))
        return ONVM_FAILED;
    if (onvm_param_target(params, "wan", "fast", &c->fast))
        c->fast = UINT16_MAX; // It may not program any.
    onvm_gauge_set(c->value, room);
    onvm_logf(ONVM_WARN, "%s starts", onvm_setup_instance(setup));
    return ONVM_OK;
}

// 0 where it was done.
static int act(struct conform *c, onvm_burst *burst, uint32_t n)
{
    static const uint8_t source[] = {192, 0, 2, 1}, destination[] = {192, 0, 2, 2};
    static const uint8_t from[] = {2, 0, 0, 0, 0, 9}, to[] = {2, 0, 0, 0, 0, 8};
    onvm_headers headers;
    uint32_t length, made;
    uint8_t *data, bytes[60];
    int64_t rule;
    const uint8_t *seen = onvm_packet_data(burst, n, &length);
    onvm_histogram_record(c->sizes, length);
    if (onvm_packet_headers(burst, n, &headers))
        return 1;
    switch (headers.destination_port) {
    case 2:
        return onvm_drop(burst, n);
    case 3:
        return onvm_output(burst, n, c->side);
    case 4:
        return onvm_set_verdict(burst, n, ONVM_STEER, 2);
    case 5:
        return onvm_set_verdict(burst, n, ONVM_OUT, 2);
    case 6:
        return onvm_set_field(burst, n, ONVM_DESTINATION_PORT, 7001) ||
               onvm_set_verdict(burst, n, ONVM_LOOKUP, 0);
    case 7:
        if (onvm_packet_push(burst, n, 4) || !(data = onvm_packet_data_mut(burst, n, NULL)))
            return 1;
        memcpy(data, "HEAD", 4);
        return 0;
    case 8:
        return onvm_packet_pull(burst, n, 4);
    case 9:
        if (onvm_packet_extend(burst, n, 4) || !(data = onvm_packet_data_mut(burst, n, &length)))
            return 1;
        memcpy(data + length - 4, "TAIL", 4);
        return 0;
    case 10:
        return onvm_packet_truncate(burst, n, 20);
    case 11:
        memset(bytes, 0xee, sizeof bytes);
        return onvm_generate(burst, n, bytes, sizeof bytes, &made) || onvm_output(burst, made, c->side);
    case 12:
        if (onvm_copy(burst, n, &made) || !(data = onvm_packet_data_mut(burst, made, NULL)))
            return 1;
        data[0] ^= 0xff;
        return onvm_output(burst, made, c->side);
    case 13:
        return onvm_set_field(burst, n, ONVM_TTL, 7) || onvm_set_field(burst, n, ONVM_DSCP, 46) ||
               onvm_set_field(burst, n, ONVM_SOURCE_PORT, 1111) || onvm_set_source(burst, n, source, 4) ||
               onvm_set_destination(burst, n, destination, 4) || onvm_set_source_mac(burst, n, from) ||
               onvm_set_destination_mac(burst, n, to);
    case 14:
        onvm_counter_add(c->matched, onvm_packet_matches(burst, n, c->only));
        rule = onvm_packet_first(burst, n, c->rules);
        if (rule >= 0 && onvm_rules_verdict(c->rules, (size_t)rule) == 1 &&
            !strcmp(onvm_rules_name(c->rules, (size_t)rule), "rule_odd"))
            return onvm_drop(burst, n);
        return 0;
    case 15:
        return onvm_packet_push(burst, n, 60000);
    case 16:
        return onvm_packet_pull(burst, n, 5000);
    case 17:
        return onvm_set_field(burst, n, ONVM_VLAN, 3);
    case 18:
        return onvm_generate(burst, n, NULL, 0, NULL);
    case 19: {
        onvm_flow_entry entry = {0};
        entry.target = c->fast;
        entry.cookie = 7;
        return onvm_flows_put(c->flows, burst, n, &entry, NULL);
    }
    case 20:
        *(volatile uint8_t *)(uintptr_t)seen = 1;
        return 0;
    case 21:
        abort();
    default:
        return 0;
    }
}

static void process(void *nf, onvm_burst *burst)
{
    struct conform *c = nf;
    for (uint32_t n = 0; n < onvm_burst_length(burst); n++) {
        onvm_counter_add(c->seen, 1);
        if (act(c, burst, n))
            onvm_counter_add(c->refused, 1);
    }
}

static void tick(void *nf, uint64_t now)
{
    struct conform *c = nf;
    (void)now;
    onvm_counter_add(c->ticks, 1);
}

static int message(void *nf, const onvm_message *message, onvm_answer *answer)
{
    struct conform *c = nf;
    const char *kind = onvm_message_kind(message);
    uint64_t n, number;
    char text[64];
    if (!strcmp(kind, "params"))
        return onvm_answer_json(answer, c->all);
    if (!strcmp(kind, "refuse"))
        return onvm_fail("its hands are full");
    if (!strcmp(kind, "tell")) {
        if (onvm_param_uint(onvm_message_fields(message), "n", &n))
            return ONVM_FAILED;
        snprintf(text, sizeof text, "{\"n\":%llu}", (unsigned long long)n);
        if (onvm_peers_send(c->peers, "hear", text, &number))
            return ONVM_FAILED;
        snprintf(text, sizeof text, "%llu", (unsigned long long)number);
        return onvm_answer_json(answer, text);
    }
    if (!strcmp(kind, "hear")) {
        if (onvm_message_peer(message) && !onvm_param_uint(onvm_message_fields(message), "n", &n))
            onvm_counter_add(c->heard, n);
        return ONVM_OK;
    }
    if (!strcmp(kind, "say")) {
        onvm_log(ONVM_ERROR, "says error");
        onvm_log(ONVM_INFO, "says info");
        onvm_log(ONVM_DEBUG, "says debug");
        return ONVM_OK;
    }
    return ONVM_UNSUPPORTED;
}

static void sent(void *nf, const onvm_sent *sent)
{
    struct conform *c = nf;
    onvm_counter_add(c->reached, sent->reached);
}

static void flow_news(void *nf, const onvm_flow_news *news)
{
    struct conform *c = nf;
    onvm_gauge_set(c->flows_done, news->done);
}

static int reconfigure(void *nf, const onvm_params *params)
{
    struct conform *c = nf;
    uint64_t room;
    int refused = refuses(params);
    if (refused || onvm_param_uint(params, "room", &room))
        return refused ? refused : ONVM_FAILED;
    onvm_gauge_set(c->value, room);
    return ONVM_OK;
}

static void stop(void *nf)
{
    struct conform *c = nf;
    onvm_log(ONVM_INFO, "it stops");
    onvm_filter_free(c->only);
    onvm_rules_free(c->rules);
    free(c->all);
    free(c);
}

int main(void)
{
    onvm_nf_ops ops = ONVM_NF_OPS_INIT;
    ops.start = start;
    ops.process = process;
    ops.tick = tick;
    ops.message = message;
    ops.sent = sent;
    ops.flow_news = flow_news;
    ops.reconfigure = reconfigure;
    ops.stop = stop;
    return onvm_nf_run(&ops);
}
