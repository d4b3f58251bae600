"""The words of a board's address space: where its registers lie, and what their values mean.

A board has an info block, then `STREAM_SPAN` words for each stream. All offsets below the info block's are from the
stream's base.
"""

from enum import IntEnum

MAGIC = 0x44524654
MAP_VERSION = 2
INFO = ("magic", "version", "epoch", "run", "ls", "orbit", "ls_orbits", "n_streams")
"""The words of the info block, from word 0 on."""

STREAM_SPAN = 0x20000
SHADOW, ACTIVE = 0x1000, 0x8000
"""Where the banks lie; the second begins where the first must have ended."""

MODEL_ID = 0x00
STATE = 0x08
STATE_WORDS = ("n_words", "active_bank", "generation", "latched_ls", "active_crc", "shadow_crc")
GENERATION = STATE + STATE_WORDS.index("generation")

ARM_GENERATION, ARM_TARGET, ARM_CRC, ARM_COMMAND, ARM_STATUS = range(0x10, 0x15)
ARM, DISARM = 1, 2

PREVIEW_PRESCALE, PREVIEW_EVENTS, PREVIEW_CLEAR = range(0x18, 0x1B)
PREVIEW_ACCEPTS = 0x20

COUNTERS, COUNTERS_ACCEPTS = 0x40, 0x50
MAX_CUTS = 32

PLAYBACK, PLAYBACK_CODES, PLAYBACK_EVENTS = 0x10000, 0x10100, 0x10800
PLAYBACK_CAPACITY = 64
PLAY_COUNT, PLAY_COMMAND, PLAY_STATUS = range(PLAYBACK + 1, PLAYBACK + 4)
PLAY_SHADOW, PLAY_ACTIVE = 1, 2
PLAYED, PLAY_RUNNING, PLAY_REFUSED = 0, 1, 2


class ArmStatus(IntEnum):
    """What the board made of the last arm command."""

    IDLE = 0
    ARMED = 1
    REFUSED_CRC = 2
    REFUSED_LATE = 3
    REFUSED_GENERATION = 4


def playback_capacity(n_features: int) -> int:
    """Events of so many features that the playback memory of this map holds."""
    return min(PLAYBACK_CAPACITY, (STREAM_SPAN - PLAYBACK_EVENTS) // n_features)
