"""What reading archives and live streams raises."""


class ArchiveError(Exception):
    """A sample of scores, events or histograms cannot be read, or nothing can be made of it."""


class FileFault(ArchiveError):
    """The same, and the message begins with the file at fault: nobody needs to name it again."""
