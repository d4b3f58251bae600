"""What keeps a recalibration from being done: each is a `RecalibError`."""


class RecalibError(Exception):
    """Anything that keeps a recalibration from being computed."""


class SampleError(RecalibError, ValueError):
    """Event arrays that do not fit together, or an inclusion probability outside (0, 1]."""


class SettingsError(RecalibError, ValueError):
    """A setting that means nothing, such as the name of no knob."""


class Unfit(RecalibError):
    """A knob or a sample with which no fit is possible; the text is the reason given to a human."""


class Abandoned(RecalibError):
    """A fit whose result nobody waits for any more."""


class TrainingError(RecalibError):
    """A model that could not be trained or packed."""
