"""The one exception tree of the recalibration."""


class RecalibError(Exception):
    """Anything that keeps a recalibration from being computed."""


class SampleError(RecalibError, ValueError):
    """Event arrays that do not fit together, or an inclusion probability outside (0, 1]."""


class Unfit(RecalibError):
    """A knob or a sample with which no fit is possible; the text is the reason given to a human."""


class Abandoned(RecalibError):
    """A fit whose result nobody waits for any more."""


class TrainingError(RecalibError):
    """A model that could not be trained or packed."""
