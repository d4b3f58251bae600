// The clock of a stream in which, beside what clock.cpp does, a lumi section begins while events are on their way.

#include "../../../firmware/rtl/clock.cpp"

// Let n colliding crossings in, one at every `spacing`-th clock. In clock `boundary` lumi section `ls` begins and the
// host asks for a write, which is acknowledged when the bus lets it. Everything that comes out is kept in its order.
EXPORT void driftd_cross(Stream *stream, const int32_t *events, size_t n, size_t spacing, size_t boundary, uint32_t ls,
                         uint32_t address, uint32_t word, uint32_t *codes, uint32_t *accepts, uint8_t *banks) {
    Top &top = stream->top;
    bool written = false;
    for (size_t clock = 0, in = 0, out = 0; out < n || !written; clock++) {
        top.event_valid = in < n && clock % spacing == 0;
        top.event_counted = 1;
        if (top.event_valid) drive(top.event_in, events + N_FEATURES * in++);
        top.ls_start = top.ls_end = clock == boundary;
        if (clock == boundary) {
            top.ls = ls;
            top.strobe = top.write = 1;
            top.address = address;
            top.wdata = word;
        }
        stream->tick();
        if (top.ack) {
            top.strobe = 0;
            written = true;
        }
        if (top.out_valid) {
            codes[out] = top.out_code;
            accepts[out] = top.out_accept;
            banks[out++] = top.out_bank;
        }
    }
    top.event_valid = top.ls_start = top.ls_end = 0;
    stream->tick(LATENCY);
}
