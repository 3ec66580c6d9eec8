"""Compile a Triton kernel for a GPU that isn't here, and read from the machine code what it takes."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

POINTERS_TO_INTEGERS = {"layout"}
NUMBERS = {"count": "i32", "copies": "i32", "radius": "fp32"}
ALIGNED = [["tt.divisibility", 16]]  # as torch allocates


@dataclass(frozen=True)
class Compiled:
    """Registers and bytes of stack of a thread, bytes of shared memory of a program."""

    registers: int
    stack: int
    shared: int
    ptx: str

    def spelt(self, instruction: str) -> bool:
        return instruction in self.ptx

    def __repr__(self) -> str:
        return f"{self.registers} registers, {self.stack} bytes of stack, {self.shared} of shared memory"


def compiled(
    kernel, constants: dict, arch: int, options: dict, types: dict[str, str] | None = None, multiples: tuple[str, ...] = ()
) -> Compiled:
    """What a kernel takes.

    Args:
        constants: values of constexpr arguments, and None for arguments that are left out.
        options: of the compiler.
        types: of arguments that aren't pointers to float32.
        multiples: integers that are multiples of 16.
    """
    types = NUMBERS | {name: "*i32" for name in POINTERS_TO_INTEGERS} | (types or {})
    constants = {name: value for name, value in constants.items() if name in kernel.arg_names}
    signature = {name: "constexpr" if name in constants else types.get(name, "*fp32") for name in kernel.arg_names}
    aligned = [kind.startswith("*") or name in multiples for name, kind in signature.items()]
    attributes = {(place,): ALIGNED for place, yes in enumerate(aligned) if yes}
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=attributes)
    done = triton.compile(source, target=GPUTarget("cuda", arch, 32), options=options)
    registers, stack = _usage(done.asm["cubin"])
    return Compiled(registers, stack, done.metadata.shared, done.asm["ptx"])


def _usage(cubin: bytes) -> tuple[int, int]:
    """By the tool that comes with triton."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    file = Path(triton.knobs.cache.dir) / "usage.cubin"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(cubin)
    text = subprocess.run([str(tool), "-res-usage", str(file)], capture_output=True, text=True, check=True, timeout=60).stdout
    return tuple(map(int, re.search(r"REG:(\d+) STACK:(\d+)", text).groups()))
