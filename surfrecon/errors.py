"""Everything surfrecon raises on purpose; each error carries the exit code that the command line ends with."""


class SurfreconError(Exception):
    """A run that failed for a reason we can name."""

    exit_code = 1


class InputError(SurfreconError, ValueError):
    """A file, an array or an option that cannot be used as given."""

    exit_code = 2


class ResourceError(SurfreconError):
    """Memory or disk ran out."""

    exit_code = 3


class MissingDependencyError(SurfreconError, ImportError):
    """An optional package is needed and absent; the text holds the install line."""

    exit_code = 4
