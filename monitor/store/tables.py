"""The tables of the ledger, and the triggers that let history only grow."""

SCHEMA_VERSION = 1
APPLICATION_ID = 0x44524654

_TABLES = """
CREATE TABLE IF NOT EXISTS payloads (
    stream TEXT NOT NULL, id TEXT NOT NULL, model_id TEXT NOT NULL, words BLOB NOT NULL,
    created INTEGER NOT NULL, origin TEXT NOT NULL, PRIMARY KEY (stream, id));
CREATE TABLE IF NOT EXISTS iovs (
    id INTEGER PRIMARY KEY, stream TEXT NOT NULL, tag TEXT NOT NULL,
    run INTEGER NOT NULL, ls INTEGER NOT NULL, payload_id TEXT NOT NULL,
    generation INTEGER NOT NULL, epoch INTEGER NOT NULL, recorded INTEGER NOT NULL,
    FOREIGN KEY (stream, payload_id) REFERENCES payloads (stream, id));
CREATE INDEX IF NOT EXISTS iovs_since ON iovs (stream, tag, run, ls, id);
CREATE TABLE IF NOT EXISTS steps (
    id INTEGER PRIMARY KEY, stream TEXT NOT NULL, generation INTEGER NOT NULL, payload_id TEXT NOT NULL,
    step TEXT NOT NULL, status TEXT NOT NULL CHECK (status IN ('begun', 'done', 'failed')),
    detail TEXT NOT NULL, time INTEGER NOT NULL,
    FOREIGN KEY (stream, payload_id) REFERENCES payloads (stream, id));
CREATE INDEX IF NOT EXISTS steps_of ON steps (stream, generation, id);
CREATE TABLE IF NOT EXISTS proposals (
    id TEXT PRIMARY KEY, stream TEXT NOT NULL, data TEXT NOT NULL, created INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS decisions (
    id INTEGER PRIMARY KEY, proposal_id TEXT NOT NULL REFERENCES proposals (id), decision TEXT NOT NULL,
    by TEXT NOT NULL, reason TEXT NOT NULL, time INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY, time INTEGER NOT NULL, stream TEXT, kind TEXT NOT NULL, level TEXT NOT NULL,
    text TEXT NOT NULL, data TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS events_time ON events (time);
"""
_TRIGGERS = "".join(
    f"CREATE TRIGGER IF NOT EXISTS {table}_{verb} BEFORE {verb} ON {table} "
    f"BEGIN SELECT RAISE(ABORT, '{table} can only be added to'); END;\n"
    for table in ("payloads", "iovs", "steps", "proposals", "decisions")
    for verb in ("UPDATE", "DELETE")
)
_MARKS = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
SCHEMA = f"BEGIN IMMEDIATE; {_TABLES}{_TRIGGERS}{_MARKS} COMMIT;"
