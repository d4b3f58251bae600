"""The one exception tree of the firmware package: every error that it raises on purpose is here."""


class FirmwareError(Exception):
    """Anything that goes wrong between a model and its registers."""


class FixedPointError(FirmwareError, ValueError):
    """A fixed-point type that cannot be spelt, or a number that it cannot hold."""


class ModelError(FirmwareError):
    """A network whose shapes or types do not fit together, or events that it cannot take."""


class PayloadError(FirmwareError):
    """Register words that do not fit their layout."""


class ForestError(PayloadError):
    """Nodes of decision trees that are no forest, or one that is not to be walked: a walk might not end."""


class PackageError(FirmwareError):
    """A model package that is damaged, incomplete or of an unknown format."""


class SpecificationError(FirmwareError):
    """A model that cannot be imported: a specification with faults, or a project with what no model here has."""


class PatternError(FirmwareError):
    """A pattern file that cannot be read, or frames that its format cannot hold."""


class AddressTableError(FirmwareError):
    """An address table that cannot be read or lacks what a board must offer."""


class CompilerMissing(FirmwareError):
    """No C++ compiler for the compiled datapath."""


class VerilatorMissing(FirmwareError):
    """No Verilator for the RTL."""


class YosysMissing(FirmwareError):
    """No Yosys to synthesise the RTL with."""


class RtlMissing(FirmwareError):
    """A model of which there is no RTL."""


class SynthesisError(FirmwareError):
    """Yosys could not synthesise the RTL, or made cells of it that are of no known size."""


class CompilationError(FirmwareError):
    """The C++ of a datapath could not be built."""


class OutOfStep(FirmwareError):
    """The verilated datapath answered at another clock, or for another bank, than it was asked for."""


class BoardError(FirmwareError):
    """Talking to a board failed: the state of the board is unknown."""


class BoardUnreachable(BoardError):
    """The board did not answer within the deadline."""


class ProcessError(FirmwareError):
    """The process gave no answer that can be used; what it had begun is unknown."""


class DeadlineExceeded(ProcessError):
    """No answer within the deadline: the process was killed."""


class ProcessDied(ProcessError):
    """The process ended, or was closed, before it answered."""


class BoardSettingsError(FirmwareError):
    """A simulated board cannot run so."""


class BusError(FirmwareError):
    """No register there, or not one that may be read or written so."""


class WorldError(FirmwareError, ValueError):
    """A drift or a fill of the simulated world that cannot be."""


class IdentityError(FirmwareError):
    """The board runs another model or layout than the payload was made for."""


class ValidationError(FirmwareError):
    """A payload does not give its golden vectors the codes that it must give."""


class JournalError(FirmwareError):
    """The journal of a transaction cannot be written or read: the step was not taken."""


class TransactionError(FirmwareError):
    """A payload transaction stopped at `step`."""

    def __init__(self, step: str, why: str) -> None:
        super().__init__(f"{step}: {why}")
        self.step = step
        self.why = why


class WireError(FirmwareError):
    """A message that is not a batch; `cause` is a short label out of a bounded set.

    `source` is the sender, where the message let itself be read that far.
    """

    source = ""

    def __init__(self, cause: str, why: str) -> None:
        super().__init__(f"{cause}: {why}")
        self.cause = cause
        self.why = why
