"""Everything surfrecon raises on purpose; each error carries the exit code that the command line ends with."""

OUT_OF_MEMORY_TEXTS = ("out of memory", "can't allocate memory", "not enough memory")  # torch on GPU, CPU (Linux), CPU (Windows)


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
    """Whether an error of Python's, numpy's or torch's says that memory ran out."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(text in str(error).lower() for text in OUT_OF_MEMORY_TEXTS)
    )
