"""The streams of a configuration, with the model packages and references that they name."""

from __future__ import annotations

from dataclasses import dataclass

from firmware.errors import FirmwareError
from firmware.model.package import Package
from monitor.config import Config, ConfigError, StreamSettings
from monitor.stats.count.reference import Reference
from monitor.stats.errors import StatsError
from monitor.watch.detectors import make_detectors


@dataclass(frozen=True, eq=False)
class LoadedStream:
    """What a stream is: its settings, its model, and the reference without its events."""

    name: str
    settings: StreamSettings
    package: Package
    reference: Reference


def load_streams(config: Config) -> dict[str, LoadedStream]:
    """The streams by name.

    Raises:
        ConfigError: naming every package that cannot be used.
    """
    loaded, faults = {}, []
    for name, settings in config.streams.items():
        try:
            package = Package.load(settings.package)
            reference = Reference.from_bytes(package.reference).without_events()
            make_detectors(settings.detect, reference)
        except (FirmwareError, StatsError) as error:
            faults.append(f"streams.{name}: {error}")
            continue
        if package.model.name != name:
            faults.append(f"streams.{name}.package: is a model of stream {package.model.name!r}")
        loaded[name] = LoadedStream(name, settings, package, reference)
    if faults:
        raise ConfigError("model packages", faults)
    return loaded
