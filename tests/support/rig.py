"""A board on the bench: its registers behind a real IPbus port, and a machine clock that the test turns."""

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache
from typing import Self

import numpy as np

from firmware.board.addresses import address_table
from firmware.board.board import RemoteBoard
from firmware.board.uhal import UhalBoard
from firmware.datapath.validation import Validation
from firmware.model import axol1tl
from firmware.model.model import Model
from firmware.model.payload import Payload
from firmware.sim.bank import Bank
from firmware.sim.ipbus import Server
from firmware.sim.registers import BoardRegisters

STREAM = "axol1tl"
RUN = 7


@cache
def small_model(seed: int = 5) -> Model:
    random = np.random.default_rng(seed)
    shapes = ((57, 28), (28, 15), (15, 8))
    return axol1tl.model(
        STREAM,
        [random.normal(0, 0.3, shape) for shape in shapes],
        [random.normal(0, 0.3, shape[1]) for shape in shapes],
        np.full(57, 4),
        np.zeros(57),
        lut_bits=9,
        n_cuts=2,
    )


@cache
def tiny_model(weight: int = 0) -> Model:
    """Three inputs, and a bank that takes more than one packet; `weight` more in each of the last layer's."""
    model = small_model()
    shift, offset = model.normalisation.shift[:3], model.normalisation.offset[:3]
    first, middle, last = model.layers
    layers = (replace(first, weight=first.weight[:3]), middle, replace(last, weight=last.weight + weight))
    return replace(
        model,
        features=model.features[:3],
        rings=(),
        normalisation=replace(model.normalisation, shift=shift, offset=offset),
        layers=layers,
    )


@cache
def validation(model: Model) -> Validation:
    """A few golden events, and NumPy integers alone."""
    low, high = model.limits
    events = np.random.default_rng(8).integers(low, high + 1, (20, model.n_features))
    return Validation(model, events, cache=None)


class Rig:
    """One stream; `begin_ls` is the clock. `before_read` and `before_write` are called by the bus."""

    def __init__(self, model: Model | None = None) -> None:
        self.model = model or small_model()
        self.nominal = Payload.nominal(self.model, [100, 200])
        self.payload = self.nominal.replace(cuts=[90, 190], latent_offset=np.arange(self.model.n_latent) - 4)
        self.validation = validation(self.model)
        self.table = address_table([(STREAM, self.model.layout, self.model.n_cuts)])
        self.before_read: Callable[[], object]
        self.before_write: Callable[[int], object]
        self.power_on()
        self.server = Server(self)
        self.uri = self.server.uri

    def new_bank(self) -> Bank:
        return Bank(self.model, self.nominal)

    def power_on(self) -> None:
        """The board as new: nominal registers, run 7, lumi section 10."""
        self.bank = self.new_bank()
        self.registers = BoardRegisters([self.bank], RUN, ls_orbits=40)
        self.registers.begin_ls(10)
        self.before_read = lambda: None
        self.before_write = lambda address: None

    def begin_ls(self, n: int = 1) -> int:
        """Let n lumi sections begin; the last one's number."""
        for _ in range(n):
            self.registers.begin_ls(self.registers.ls + 1)
        return self.registers.ls

    def collide(self, n: int, rates: Sequence[float]) -> None:
        """n colliding crossings, of which the shadow bank would accept these shares."""
        with self.registers.lock:
            if (trial := self.bank.trial(n)) is not None:
                tried = np.arange(n)[trial.picks].size
                accepts = np.arange(tried)[:, None] < np.rint(np.multiply(rates, tried))
                self.bank.count_trial(trial, accepts)

    def read(self, address: int, n: int) -> Sequence[int]:
        self.before_read()
        return self.registers.read(address, n)

    def write(self, address: int, words: Sequence[int]) -> None:
        self.before_write(address)
        self.registers.write(address, words)

    def close(self) -> None:
        self.server.close()


Bench = tuple[Rig, RemoteBoard]


@contextmanager
def reached(rig: Rig) -> Iterator[Bench]:
    """The rig, and the real client that talks to it."""
    board = RemoteBoard(UhalBoard, rig.uri, rig.table, deadline=10)
    yield rig, board
    board.close()
    rig.close()


class Wire:
    """A network cable between client and board that loses, repeats or holds back replies as told."""

    def __init__(self, board: tuple[str, int]) -> None:
        self._front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._front.bind(("127.0.0.1", 0))
        self._back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._back.connect(board)
        self.uri = "ipbusudp-2.0://{}:{}".format(*self._front.getsockname())
        self.lose = self.repeat = 0
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def _carry(self) -> None:
        while True:
            request, client = self._front.recvfrom(1 << 16)
            if not request:
                return
            self._back.send(request)
            reply = self._back.recv(1 << 16)
            if self.lose:
                self.lose -= 1
                continue
            self._front.sendto(reply, client)
            if self.repeat:
                self.repeat -= 1
                self._front.sendto(reply, client)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._front.sendto(b"", self._front.getsockname())
        self._thread.join()
        self._front.close()
        self._back.close()
