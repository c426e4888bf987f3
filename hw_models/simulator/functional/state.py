"""What the parts of a simulation share: the tree resolved, the home of all tensors, and what has been counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any, NamedTuple

from einsum_cascades.ir import Const, Einsum
from einsum_cascades.loops.levels import Levels
from einsum_cascades.loops.space import Space
from hw_models.simulator.functional.errors import SimulationError
from hw_models.simulator.functional.expression import Function, constant
from hw_models.simulator.functional.layout import Ranks
from hw_models.simulator.functional.masks import Folded
from hw_models.simulator.functional.once import once
from hw_models.simulator.functional.places import Place
from hw_models.simulator.functional.regions import Regions
from hw_models.simulator.functional.rooms import Rooms
from hw_models.simulator.functional.stores import COMPLETE, Store, Thread, Value
from hw_models.simulator.functional.wiring import Wiring


class Way(NamedTuple):
    """The links between a memory and what is further in.

    Attributes:
        memory: the outer one.
        levels: names of the inner ends of the links, outermost first.
        apart: dimensions that tell accesses apart at the outer memory and behind each link, by slot.
    """

    memory: str
    levels: tuple[str, ...]
    apart: tuple[tuple[int, ...], ...]


class State:
    """One run of a tree.

    Attributes:
        rows: accesses by node, tensor and action.
        here: the place that is at work.
        step: steps in lockstep so far.
        checked: reads that were checked.
    """

    def __init__(
        self, root: Place, space: Space, levels: Levels, bits: Callable[[str], int], unlimited: Iterable[str] = ()
    ) -> None:
        self.space, self.levels = space, levels
        self.ranks = Ranks(space)
        self.wiring = Wiring(root, space, levels, self.ranks)
        self.rooms = Rooms(self.wiring, levels, bits, unlimited)
        self.regions = Regions(self.wiring, space, self.ranks)
        self.layouts = self.regions.layouts
        self.dimensions = {name: slot for slot, name in enumerate(levels.dimensions)}
        self.home = {tensor: Store(None) for tensor in self.layouts}
        self.made: dict[str, set[int]] = {tensor: set() for tensor in self.layouts}
        self.rows: Counter[tuple[str, str, str]] = Counter()
        self.here = root
        self.step = self.checked = 0
        self.inputs = frozenset(space.cascade.inputs)
        self.by_step = {
            name: Folded(step, self.layouts[step.output.tensor], self.ranks) for name, step in space.steps.items()
        }
        self.functions = {name: Function(step.einsum, self.ranks) for name, step in space.steps.items()}
        self._made_by: dict[str, list[Folded]] = {}
        for folded in self.by_step.values():
            self._made_by.setdefault(folded.step.output.tensor, []).append(folded)

    # Errors.

    def fault(
        self, message: str, tensor: str = "", key: int = -1, *, hint: str = "", ahead: int = 0
    ) -> SimulationError:
        """Return the error for what cannot be done here, with a value's coordinates in place of ``{}``.

        Args:
            ahead: steps of this visit before it.
        """
        said = self.layouts[tensor].text(key) if tensor else ""
        node = self.here.node
        return SimulationError(
            message.replace("{}", said),
            location=getattr(node, "location", None),
            hint=hint,
            tensor=tensor,
            coordinates=said,
            path=self.here.path,
            step=self.step + ahead,
        )

    # Values.

    def whole(self, tensor: str, key: int) -> int:
        """Return the points that are summed into a value."""
        return self.folded(tensor, key).whole(key)

    def folded(self, tensor: str, key: int) -> Folded:
        """Return the ranks that the Einsum folds which makes a value."""
        first, *others = self._made_by[tensor]
        return first if not others else next((one for one in (first, *others) if one.makes(key)), others[-1])

    def fold(self, tensor: str, key: int, one: float, other: float) -> float:
        """Return two partial results of a value as one."""
        return self.functions[self.folded(tensor, key).step.name].fold(one, other)

    @once
    def first(self, tensor: str) -> Einsum | None:
        """Return the Einsum that gives a tensor's first values from nothing."""
        return next((e for e in self.space.cascade.init if e.name == tensor and not e.inputs), None)

    def first_value(self, tensor: str, key: int) -> Value | None:
        """Return a first value, if a constant is one."""
        einsum = self.first(tensor)
        if einsum is None:
            return None
        at = self.layouts[tensor].indices(key)[1:]
        subscripts = einsum.output.subscripts
        if any(isinstance(s, Const) and s.value != i for s, i in zip(subscripts, at, strict=True)):
            return None
        indices = {s.rank: i for s, i in zip(subscripts, at, strict=True) if not isinstance(s, Const)}
        return Value(constant(einsum, self.ranks, indices), COMPLETE)

    def read(self, store: Store, tensor: str, key: int, lag: int = 0, ahead: int = 0) -> Value:
        """Return a value that is read, which must be there and complete.

        Args:
            lag: how many iterations older than the newest a state's value may be.
        """
        self.checked += 1
        value = store.values.get(key) if store.hold is not None or tensor not in self.inputs else store.values[key]
        if value is None:
            value = self._first_of(store, tensor, key)
        if value is None:
            raise self.missing(store, tensor, key, ahead)
        if value.mask != COMPLETE:
            self.complete(store, tensor, key, value, ahead)
        if store.hold is not None and store.hold.hold.state:
            self._aged(store, tensor, key, lag, ahead)
        return value

    def plain(self, store: Store, tensor: str, key: int, ahead: int = 0) -> Value:
        """Return a value that is read, of what is carried along no rank, as ``read`` does."""
        self.checked += 1
        try:
            value = store.values[key]
        except KeyError:
            raise self.missing(store, tensor, key, ahead) from None
        if value.mask != COMPLETE:
            self.complete(store, tensor, key, value, ahead)
        return value

    def complete(self, store: Store, tensor: str, key: int, value: Value, ahead: int = 0) -> None:
        """Check that all points are summed into a value, and note that they are."""
        whole = self.whole(tensor, key)
        if value.mask != whole:
            message = (
                f"{self.reader} reads {{}} in {self.memory_of(store)}, into which {value.mask.bit_count():,} "
                f"of {whole.bit_count():,} points are summed so far"
            )
            raise self.fault(message, tensor, key, ahead=ahead)
        value.mask = COMPLETE

    def _first_of(self, store: Store, tensor: str, key: int) -> Value | None:
        if tensor not in self.ranks.carried or key % self.layouts[tensor].versions:
            return None
        if store.hold is not None and store.hold.hold.state and store.began:
            return None
        return self.first_value(tensor, key)

    def _aged(self, store: Store, tensor: str, key: int, lag: int, ahead: int) -> None:
        """Note how many iterations' values of a state are wanted at a time."""
        assert store.hold is not None
        place, version = divmod(key, self.layouts[tensor].versions)
        newest = store.newest.get(place, version)
        if newest - version > lag:
            raise self.missing(store, tensor, key, ahead)
        if newest - version >= store.planes:
            self.rooms.planes(store, newest - version + 1)

    def missing(self, store: Store, tensor: str, key: int, ahead: int = 0) -> SimulationError:
        """Return the error for a value that is not there."""
        if tensor in self.inputs:
            why = "it was not brought there"
        elif key in self.made[tensor]:
            why = "it was made, and did not stay or come there"
        else:
            why = "nothing has made it yet"
        message = f"{self.reader} reads {{}}, which is not in {self.memory_of(store)}: {why}"
        return self.fault(message, tensor, key, ahead=ahead)

    @property
    def reader(self) -> str:
        """What is at work, in words."""
        node = self.here.node
        return getattr(node, "einsum", "") or f"'keep {getattr(node, 'tensor', '')} in {getattr(node, 'memory', '')}'"

    def memory_of(self, store: Store) -> str:
        """Return the memory that a store is in."""
        return self.levels.home if store.hold is None else store.hold.where

    # Ways.

    @once
    def fan(self, memory: str) -> itemgetter[Any]:
        """Return what tells a memory's instances apart, as a function of a position."""
        return self.places_along(tuple(sorted(self.dimensions[d] for d in self.levels.fan_out(memory))))

    @once
    def places_along(self, slots: tuple[int, ...]) -> itemgetter[Any]:
        """Return the places along some dimensions, as a function of a position."""
        return itemgetter(*slots) if slots else itemgetter(slice(0, 0))

    @once
    def way(self, outer: Place | None, inner: str, inward: bool) -> Way:
        """Return the way from a hold (or home) to a memory or unit further in, or back."""
        memory = self.levels.home if outer is None else outer.where
        if memory not in self.levels.path(inner):
            raise self.fault(f"{inner} gets nothing from {memory}, which is not above it")
        levels = self.levels.between(memory, inner)
        own = [tuple(self.dimensions[f"{level.name}.{name}"] for name, _ in level.dimensions) for level in levels]
        apart = [
            () if (level.multicast if inward else level.reduction) else dims
            for level, dims in zip(levels, own, strict=True)
        ]
        found = [sum(own[:i], ()) + sum(apart[i:], ()) for i in range(len(levels) + 1)]
        return Way(memory, tuple(level.name for level in levels), tuple(found))

    def source(self, thread: Thread, hold: Place | None, tensor: str) -> Store:
        """Return the store of a hold around a thread (or home) that is at its position."""
        if hold is None:
            return self.home[tensor]
        visit = thread.visits[hold.number]
        at = visit.at(thread.position)
        if at not in visit.stores:
            raise self.fault(f"{tensor} is kept at another instance of {hold.where} than the one that is here")
        return visit.stores[at]

    def beyond(self, thread: Thread, hold: Place | None, tensor: str, key: int) -> tuple[Store, tuple[Place, ...]]:
        """Return where a value is that a hold (or home) keeps, or a part of it further out; and the holds passed by."""
        passed: tuple[Place, ...] = ()
        while True:
            store = self.source(thread, hold, tensor)
            if store.kept is None:
                return store, passed
            assert hold is not None
            if (key - key % self.layouts[tensor].versions if hold.hold.state else key) in store.kept:
                return store, passed
            passed = (*passed, hold)
            hold = self.wiring.outer(hold)

    def pass_by(self, passed: tuple[Place, ...], tensor: str, action: str, times: int = 1) -> str:
        """Note accesses that pass by holds which keep a part only; return the memory to which they go."""
        memory = self.levels.home
        for hold in passed:
            self.rows[hold.where, tensor, action] += times
            outer = self.wiring.outer(hold)
            memory = self.levels.home if outer is None else outer.where
            for level in self.levels.between(memory, hold.where):
                self.rows[level.name, tensor, "sent"] += times
                self.rows[level.name, tensor, "delivered"] += times
        return memory
