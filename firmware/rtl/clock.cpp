// Turns the clock of a verilated `top`: resets it, carries its bus, and lets lumi sections and events in.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "Top.h"
#include "verilated.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

struct Stream {
    VerilatedContext context;
    Top top{&context, "top"};

    void tick(size_t clocks = 1) {
        while (clocks--) {
            top.clk = 0;
            top.eval();
            top.clk = 1;
            top.eval();
        }
    }
};

template <class Port> void drive(Port &port, const int32_t *event) {
    uint32_t words[sizeof(Port) / 4 + 2] = {};
    for (size_t j = 0; j < N_FEATURES; j++) {
        size_t bit = j * INPUT_WIDTH;
        uint64_t feature = (event[j] & ~uint32_t(0) >> (32 - INPUT_WIDTH)) * uint64_t(1) << bit % 32;
        words[bit / 32] |= uint32_t(feature);
        words[bit / 32 + 1] |= uint32_t(feature >> 32);
    }
    std::memcpy(&port, words, sizeof port);
}

} // namespace

EXPORT Stream *driftd_create() { return new Stream; }

EXPORT void driftd_destroy(Stream *stream) { delete stream; }

EXPORT void driftd_boot(Stream *stream) {
    stream->top.reset = 1;
    stream->tick(LATENCY);
    stream->top.reset = 0;
    while (!stream->top.ready) stream->tick();
}

// Read or write consecutive words, until the bus answers with an error: how many there were. What the last of
// them started has come to its end.
EXPORT size_t driftd_access(Stream *stream, bool write, uint32_t address, uint32_t *words, size_t n) {
    Top &top = stream->top;
    size_t done = 0;
    for (bool refused = false; done < n && !refused; done += !refused) {
        top.strobe = 1;
        top.write = write;
        top.address = address + done;
        top.wdata = words[done];
        do stream->tick();
        while (!top.ack && !top.err);
        refused = top.err;
        if (!write) words[done] = top.rdata;
    }
    top.strobe = 0;
    do stream->tick();
    while (top.playing);
    return done;
}

EXPORT void driftd_begin_ls(Stream *stream, uint32_t ls) {
    stream->top.ls = ls;
    stream->top.ls_start = 1;
    stream->tick();
    stream->top.ls_start = 0;
    stream->tick(LATENCY);
}

EXPORT void driftd_end_ls(Stream *stream, uint32_t dropped) {
    stream->top.dropped = dropped;
    stream->top.ls_end = 1;
    stream->tick();
    stream->top.ls_end = 0;
    stream->tick(LATENCY);
}

// Decide on n events, of which the first `counted` are colliding crossings, as fast as they are taken.
EXPORT void driftd_decide(Stream *stream, const int32_t *events, size_t n, size_t counted, uint32_t *codes,
                          uint32_t *accepts) {
    Top &top = stream->top;
    for (size_t in = 0, out = 0; out < n;) {
        top.event_valid = in < n && top.event_ready;
        if (top.event_valid) {
            top.event_counted = in < counted;
            drive(top.event_in, events + in * N_FEATURES);
            in++;
        }
        stream->tick();
        if (top.out_valid) {
            codes[out] = top.out_code;
            accepts[out] = top.out_accept;
            out++;
        }
    }
    top.event_valid = 0;
}
