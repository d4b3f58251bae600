"""Off a terminal every line is one JSON object, whoever says it."""

import json
import subprocess
import sys

PROGRAM = """
import logging, sys, threading, warnings
import structlog
from monitor import logs as log

log.configure("info")
log.take_over()
ours = structlog.get_logger(stream="axol1tl")
ours.debug("not said")
ours.info("two\\nlines", run=1, ls=2)
try:
    1 / 0
except ZeroDivisionError:
    ours.exception("broke", what=object())
logging.getLogger("uvicorn.error").info("not said")
logging.getLogger("uvicorn.error").warning("of %s", "another")
try:
    [][1]
except IndexError:
    logging.getLogger("asyncio").exception("theirs")
warnings.warn("old")
log.configure("debug")
ours.debug("said now")

def in_thread():
    raise KeyError("thread")

thread = threading.Thread(target=in_thread)
thread.start()
thread.join()
raise RuntimeError("nobody caught it")
"""


def test_ours_and_theirs_warnings_and_traces_are_all_objects_of_one_line() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    said = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(line["event"].split("\n")[0], line["level"]) for line in said if line.get("logger") != "py.warnings"] == [
        ("two", "info"),
        ("broke", "error"),
        ("of another", "warning"),
        ("theirs", "error"),
        ("said now", "debug"),
        ("uncaught", "critical"),
        ("uncaught", "critical"),
    ]
    assert (said[0]["stream"], said[0]["run"], said[0]["ls"]) == ("axol1tl", 1, 2)
    traces = [line["exception"][0]["exc_type"] for line in said if "exception" in line]
    assert traces == ["ZeroDivisionError", "IndexError", "KeyError", "RuntimeError"]
    assert all(frame.keys() >= {"filename", "lineno", "name"} for frame in said[1]["exception"][0]["frames"])
    (warning,) = [line for line in said if line.get("logger") == "py.warnings"]
    assert "UserWarning: old" in warning["event"]
