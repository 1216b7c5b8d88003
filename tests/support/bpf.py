"""An interpreter of classic BPF as seccomp runs it (networking/filter.rst)."""

import struct

MAX_INSTRUCTIONS = 4096


def decode(program: bytes) -> list[tuple[int, int, int, int]]:
    """(code, jt, jf, k) of every struct sock_filter."""
    return list(struct.iter_unpack("=HBBI", program))


def seccomp_data(number: int, arch: int, arguments: tuple[int, ...] = ()) -> bytes:
    """struct seccomp_data of a call."""
    padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    return struct.pack("=IIQ6Q", number & 0xFFFFFFFF, arch, 0, *padded)


def run(program: list[tuple[int, int, int, int]], data: bytes) -> tuple[int, int]:
    """(returned word, instructions executed). Anything the kernel's checker refuses is an AssertionError."""
    accumulator = position = steps = 0
    while True:
        code, jt, jf, k = program[position]
        position += 1
        steps += 1
        if code == 0x20:  # BPF_LD | BPF_W | BPF_ABS
            assert k % 4 == 0
            assert k < 64
            accumulator = struct.unpack_from("=I", data, k)[0]
        elif code == 0x06:  # BPF_RET | BPF_K
            return k, steps
        elif code == 0x05:  # BPF_JMP | BPF_JA
            position += k
        elif code == 0x15:  # JEQ
            position += jt if accumulator == k else jf
        elif code == 0x25:  # JGT
            position += jt if accumulator > k else jf
        elif code == 0x35:  # JGE
            position += jt if accumulator >= k else jf
        elif code == 0x45:  # JSET
            position += jt if accumulator & k else jf
        elif code == 0x54:  # BPF_ALU | BPF_AND | BPF_K
            accumulator &= k
        elif code == 0x02 or code == 0x60:
            raise AssertionError("scratch memory is not used by pyctr")
        else:
            raise AssertionError(f"instruction {code:#x} is not known here")
