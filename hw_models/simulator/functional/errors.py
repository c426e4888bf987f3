"""What a simulation ends with where a tree cannot be executed."""

from __future__ import annotations

from einsum_cascades.errors import InputError, Location


class SimulationError(InputError):
    """A mapping asks for what cannot be done: a value that is not there, room that a memory lacks.

    Attributes:
        tensor, coordinates: the value that is meant, such as ``LM`` and ``LM[3, 0]``; empty where it is none.
        path: the place in the tree, outermost node first.
        step: steps in lockstep that have been made before.
    """

    def __init__(
        self,
        message: str,
        *,
        location: Location | None = None,
        hint: str = "",
        tensor: str = "",
        coordinates: str = "",
        path: str = "",
        step: int = 0,
    ) -> None:
        where = f": at '{path}', step {step:,}" if path else ""
        super().__init__(message + where, location=location, hint=hint)
        self.tensor, self.coordinates, self.path, self.step = tensor, coordinates, path, step
