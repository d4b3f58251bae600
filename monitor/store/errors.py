"""The exceptions of the store."""

from firmware.errors import JournalError


class StoreError(Exception):
    """What is stored cannot be used."""


class LedgerError(StoreError, JournalError):
    """The ledger cannot be used, or holds nothing that answers the question.

    It is a JournalError too, as firmware writes its transactions to the ledger.
    """
