"""The error of every reader of data files."""


class DataError(ValueError):
    """A data file is missing, damaged, or not what its name says."""
