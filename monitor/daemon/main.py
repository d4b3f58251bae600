"""Running the daemon until a signal."""

import asyncio
from pathlib import Path

import structlog

from monitor import logs
from monitor.config import Config, ConfigError
from monitor.daemon.http.audit import AuditError
from monitor.daemon.service import Service
from monitor.exits import EX_CONFIG

log = structlog.get_logger()


def run(config: Config, path: Path) -> int:
    """Run the daemon until a signal; the exit code. The file at ``path`` is read again at a SIGHUP."""
    logs.configure(config.log_level)
    logs.take_over()

    async def main() -> None:
        await Service(config, path).serve()

    try:
        asyncio.run(main())
    except (ConfigError, AuditError) as error:
        log.error(str(error))
        return EX_CONFIG
    return 0
