// Streams events through the verilated datapath, with its LUT in a RAM of one clock.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

#include "Top.h"
#include "verilated.h"

namespace {

constexpr size_t words_of(size_t bits) { return (bits + 31) / 32; }

template <size_t BITS> struct Vector {
    uint32_t word[words_of(BITS) + 2] = {};

    void put(size_t at, int width, uint64_t value) {
        value &= ~uint64_t(0) >> (64 - width);
        for (int done = 0; done < width;) {
            size_t word_at = (at + done) / 32, shift = (at + done) % 32;
            word[word_at] |= uint32_t(value >> done) << shift;
            done += 32 - shift;
        }
    }

    uint64_t get(size_t at, int width) const {
        size_t shift = at % 32;
        const uint32_t *from = word + at / 32;
        uint64_t low = from[0] | uint64_t(from[1]) << 32;
        uint64_t value = shift ? low >> shift | uint64_t(from[2]) << (64 - shift) : low;
        return value & (~uint64_t(0) >> (64 - width));
    }
};

template <class Port, class Bits> void drive(Port &port, const Bits &bits) {
    std::memcpy(&port, bits.word, sizeof(port));
}

template <class Bits, class Port> void sample(Bits &bits, const Port &port) {
    std::memcpy(bits.word, &port, sizeof(port));
}

} // namespace

// Slot i holds the event i of bank banks[i], or nothing where that is negative; its answer is written to i.
// `words` are the payloads of both banks. Returns the number of clocks at which `valid_out` or `bank_out` was not
// that of the slot LATENCY clocks before.
extern "C" __attribute__((visibility("default"))) size_t
driftd_run(const int64_t *events, const int8_t *banks, size_t n, const uint32_t *words, uint32_t *codes,
           uint32_t *core_codes, int64_t *latents, uint8_t *accepts) {
    constexpr size_t N_WORDS = N_REGISTERS + (size_t(1) << LUT_BITS);
    VerilatedContext context;
    auto top = std::make_unique<Top>(&context, "top");
    Vector<2 * N_REGISTERS * 32> registers;
    for (size_t b = 0; b < 2; b++)
        std::memcpy(registers.word + b * N_REGISTERS, words + b * N_WORDS, 4 * N_REGISTERS);
    drive(top->registers, registers);

    size_t out_of_step = 0;
    const auto clock = [&] {
        size_t bank = top->lut_address >> LUT_BITS;
        size_t code = top->lut_address & ((size_t(1) << LUT_BITS) - 1);
        uint32_t answer = words[bank * N_WORDS + N_REGISTERS + code];
        top->clk = 1;
        top->eval();
        top->clk = 0;
        top->lut_data = answer;
        top->eval();
    };

    top->valid_in = 0;
    for (int i = 0; i < LATENCY; i++)
        clock();
    for (size_t t = 0; t < n + LATENCY; t++) {
        if (t >= LATENCY) {
            size_t i = t - LATENCY;
            bool valid = banks[i] >= 0;
            out_of_step += top->valid_out != valid || (valid && top->bank_out != banks[i]);
            Vector<N_LATENT * LATENT_WIDTH> latent;
            Vector<N_CUTS> accept;
            sample(latent, top->latent_out);
            sample(accept, top->accept_out);
            codes[i] = top->code_out;
            core_codes[i] = top->core_code_out;
            for (size_t j = 0; j < N_LATENT; j++) {
                uint64_t raw = latent.get(j * LATENT_WIDTH, LATENT_WIDTH);
                uint64_t sign = LATENT_SIGNED ? uint64_t(1) << (LATENT_WIDTH - 1) : 0;
                latents[i * N_LATENT + j] = int64_t(raw ^ sign) - int64_t(sign);
            }
            for (size_t k = 0; k < N_CUTS; k++)
                accepts[i * N_CUTS + k] = accept.get(k, 1);
        }
        top->valid_in = t < n && banks[t] >= 0;
        if (t < n) {
            top->bank_in = banks[t] == 1;
            Vector<N_FEATURES * INPUT_WIDTH> event;
            for (size_t j = 0; j < N_FEATURES; j++)
                event.put(j * INPUT_WIDTH, INPUT_WIDTH, events[t * N_FEATURES + j]);
            drive(top->event_in, event);
        }
        clock();
    }
    return out_of_step;
}
