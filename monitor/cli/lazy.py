"""A group of commands that imports the module of a command when it is called, not to list it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import Any

import click

Listed = tuple[str, str]
"""Where a command is, as ``module:attribute``, and the line that lists it."""


class LazyCommands(MutableMapping[str, click.Command]):
    """Commands by name; one that is only known by its place is imported when it is looked up."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = dict(places)
        self._loaded: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._loaded:
            module, _, attribute = self._places[name].partition(":")
            self._loaded[name] = getattr(import_module(module), attribute)
        return self._loaded[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._places.setdefault(name, "")
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._places[name]
        self._loaded.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class LazyGroup(click.Group):
    """A group that lists its commands, under headings and in the order given, without importing them.

    Args:
        name: how it is called.
        sections: by heading, the commands under it: name, place, and the line that lists it.
    """

    def __init__(self, name: str | None = None, *, sections: Mapping[str, Mapping[str, Listed]], **kwargs: Any) -> None:
        places = {name: place for listed in sections.values() for name, (place, _) in listed.items()}
        super().__init__(name, commands=LazyCommands(places), **kwargs)
        self.sections = sections

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the sections."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list for ``--help``."""
        # One column for all sections: the names stand below each other.
        width = max(map(len, self.commands))
        for heading, listed in self.sections.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), text) for name, (_, text) in listed.items()])
