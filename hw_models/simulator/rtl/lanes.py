"""Lanes of a port, chains of registers, and the numbers that a test bench puts there."""

from __future__ import annotations

from collections.abc import Iterable

from amaranth.hdl import Cat, Module, Signal, Value


def lane(port: Value, index: int, bits: int) -> Value:
    """Return a lane of a port as a signed number."""
    return port[index * bits : (index + 1) * bits].as_signed()


def packed(lanes: Iterable[Value]) -> Value:
    """Return lanes as one port, lane 0 lowest."""
    return Cat(*lanes)


def delayed(m: Module, value: Value, registers: int) -> Value:
    """Return a value so many cycles later: behind a chain of registers."""
    for _ in range(registers):
        register = Signal(value.shape())
        m.d.sync += register.eq(value)
        value = register
    return value


def to_lanes(numbers: Iterable[int], bits: int) -> int:
    """Return numbers as the bits of a port."""
    mask = (1 << bits) - 1
    return sum((int(number) & mask) << (index * bits) for index, number in enumerate(numbers))


def from_lanes(port: int, lanes: int, bits: int) -> list[int]:
    """Return the signed numbers in the bits of a port."""
    half, mask = 1 << (bits - 1), (1 << bits) - 1
    return [((port >> (index * bits) & mask) ^ half) - half for index in range(lanes)]
