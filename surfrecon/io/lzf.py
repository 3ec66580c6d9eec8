"""LZF, the compression of PCD files: runs of bytes as they are, and copies of bytes that came before.

A control byte below 32 says how many bytes follow as they are, less one. Else its upper three bits are the length of a copy, less two (7:
the next byte is to be added), its lower five and one more byte the distance back, less one. A copy may reach into itself, which repeats it.

Source: M. Lehmann, LibLZF, as described by the Ning compress project, LZFFormat.
"""

from __future__ import annotations

from surfrecon.errors import InputError

LONGEST_COPY = 264  # bytes, from 3 bytes of input: nothing inflates more
SHORTEST_INPUT = 3


def most_inflated(size: int) -> int:
    """The most bytes that so many compressed ones can hold."""
    return (size // SHORTEST_INPUT + 1) * LONGEST_COPY


def decompressed(data: bytes, size: int) -> bytearray:
    """The `size` bytes that were compressed.

    Raises:
        InputError: the data end too early, reach back too far or hold another number of bytes.
    """
    out, at, end = bytearray(), 0, len(data)
    damaged = InputError(f"its compressed points don't unpack to the {size} bytes that it promises: it was cut short or is damaged")
    try:
        while at < end and len(out) <= size:
            control = data[at]
            if control < 32:
                out += data[at + 1 : at + control + 2]
                at += control + 2
                continue
            length = control >> 5
            if length == 7:
                at += 1
                length += data[at]
            length += 2
            start = len(out) - ((control & 31) << 8) - data[at + 1] - 1
            at += 2
            if start < 0:
                raise damaged
            copy = out[start : start + length]
            out += copy if len(copy) == length else (copy * (length // len(copy) + 1))[:length]
    except IndexError:
        raise damaged from None
    if at != end or len(out) != size:
        raise damaged
    return out
