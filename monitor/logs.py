"""Structured logs: readable on a terminal, JSON elsewhere; what other libraries say goes the same way."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.tracebacks import ExceptionDictTransformer

_said: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]


def configure(level: str) -> None:
    """Log at ``level`` and above to standard error: one line each, an exception as an object within it."""
    structlog.configure(
        processors=[*_said, *_rendered()],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def take_over() -> None:
    """Have what other libraries log and warn about, and what nobody caught, said in the same way."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[*_said, structlog.stdlib.add_logger_name],
            processors=[ProcessorFormatter.remove_processors_meta, *_rendered()],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def logged(factory: Callable[..., Any], *args: object) -> Any:
    """What the factory makes, in a process of its own that says what it says as the daemon does."""
    configure("warning")
    take_over()
    return factory(*args)


def _rendered() -> list[structlog.typing.Processor]:
    if sys.stderr.isatty():
        return [structlog.dev.ConsoleRenderer()]
    exceptions = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
    return [exceptions, structlog.processors.JSONRenderer(default=str)]


def _uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    structlog.get_logger().critical("uncaught", exc_info=error)
