"""Everything surfrecon raises on purpose; each error carries the exit code that the command line ends with."""

import errno

OUT_OF_MEMORY_TEXTS = (
    "out of memory",  # torch on GPU
    "can't allocate memory",  # torch on CPU, Linux
    "not enough memory",  # torch on CPU, Windows
    "cannot allocate memory",  # the loader of libraries
    "failed to map segment",  # the same
    "can't start new thread",  # Python
)


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


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python's, numpy's, torch's or the loader's says that memory ran out."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, (RuntimeError, ImportError)):
        return any(text in str(error).lower() for text in OUT_OF_MEMORY_TEXTS)
    return isinstance(error, MemoryError)
