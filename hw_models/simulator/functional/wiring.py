"""Who serves whom in a tree: through which holds an operand comes and goes, and who still wants what a hold made."""

from __future__ import annotations

from functools import cached_property
from itertools import product
from typing import NamedTuple

from einsum_cascades.loops.levels import Levels
from einsum_cascades.loops.space import PRIME, Operand, Space, Step
from einsum_cascades.loops.tree import Compute, Hold, Late, Loop, parts_of
from hw_models.simulator.functional.layout import Ranks
from hw_models.simulator.functional.once import once
from hw_models.simulator.functional.places import Place


class Use(NamedTuple):
    """A compute that touches a tensor: as which operand, and whether it writes it."""

    place: Place
    operand: Operand
    writes: bool


class Wiring:
    """The tree below a root, resolved."""

    def __init__(self, root: Place, space: Space, levels: Levels, ranks: Ranks) -> None:
        self.root, self.space, self.levels, self.ranks = root, space, levels, ranks
        self.sites = [p for p in root.all() if p.number >= 0]
        self.computes = [p for p in self.sites if isinstance(p.node, Compute)]
        self.uses = [
            Use(place, operand, writes)
            for place in self.computes
            for step in [self.step(place)]
            for operand, writes in (*((o, False) for o in step.inputs), (step.output, True))
        ]
        self.tensors = tuple(dict.fromkeys(use.operand.tensor for use in self.uses))

    def step(self, place: Place) -> Step:
        """Return the Einsum of a compute."""
        assert isinstance(place.node, Compute)
        return self.space.steps[place.node.einsum]

    def outside(self, hold: Place) -> bool:
        """Whether a hold stands outside the loop along which its tensor is carried, or is its state."""
        rank = self.ranks.carried.get(tensor_of(hold))
        return hold.hold.state or all(loop.loop.rank != rank for loop in hold.loops)

    def serves(self, hold: Place, operand: Operand, where: str) -> bool:
        """Whether an operand comes through a hold on its way to a unit or memory."""
        if not self.levels.inside(where, hold.hold.memory):
            return False
        kept = hold.hold.tensor
        return kept == operand.name or (operand.carried and kept == operand.tensor and self.outside(hold))

    @once
    def chain(self, place: Place, operand: Operand) -> list[Place]:
        """Return the holds through which an operand comes or goes, outermost first."""
        return [hold for hold in place.holds if self.serves(hold, operand, place.where)]

    @once
    def outer(self, hold: Place) -> Place | None:
        """Return the next hold further out that fills a hold; None if its home does."""
        around = self.chain(hold, Operand(hold.hold.tensor, ()))
        return around[-1] if around else None

    @once
    def used_in(self, hold: Place) -> list[Use]:
        """Return what a hold serves, directly or through others."""
        tensor = tensor_of(hold)
        return [
            use
            for use in self.uses
            if use.operand.tensor == tensor
            and hold.encloses(use.place)
            and self.serves(hold, use.operand, use.place.where)
        ]

    @once
    def writes(self, hold: Place) -> bool:
        """Whether what a hold keeps is made in it."""
        return any(use.writes for use in self.used_in(hold))

    def makers(self, tensor: str) -> list[Place]:
        """Return the computes that make a tensor."""
        return [use.place for use in self.uses if use.writes and use.operand.tensor == tensor]

    @once
    def made_in(self, place: Place, operand: Operand) -> Place | None:
        """Return the innermost hold of a reader in which what it reads is made."""
        for hold in reversed(self.chain(place, operand)):
            if hold.hold.tensor == operand.tensor and any(
                use.writes and (use.place is not place or operand.carried) for use in self.used_in(hold)
            ):
                return hold
        return None

    @cached_property
    def at_home(self) -> set[str]:
        """Tensors that the outermost memory has."""
        cascade = self.space.cascade
        found = {*cascade.inputs, *cascade.outputs, *self._unread}
        for place, operand, writes in self.uses:
            if (writes and not self.chain(place, operand)) or (not writes and self.made_in(place, operand) is None):
                found.add(operand.tensor)
        return found

    @cached_property
    def _unread(self) -> set[str]:
        """What is made and not read, which may be wanted by what the tree is a part of."""
        return {o.tensor for _, o, writes in self.uses if writes} - {o.tensor for _, o, w in self.uses if not w}

    @once
    def kept_outside(self, hold: Place) -> bool:
        """Whether there is a place further out for what a hold keeps."""
        return self.outer(hold) is not None or tensor_of(hold) in self.at_home

    @once
    def wanted(self, hold: Place) -> bool:
        """Whether something outside a hold wants what is made in it."""
        tensor = hold.hold.tensor
        if tensor in self.space.cascade.outputs or tensor in self._unread:
            return True
        return bool(self._wanted_by(hold)) or self._goes_on(hold)

    def _wanted_by(self, hold: Place) -> list[Operand]:
        """What computes outside a hold read that is made in it, and not again where they stand."""
        used = [(use.place, use.operand) for use in self.used_in(hold)]
        found = []
        for place, operand, writes in self.uses:
            if writes or operand.tensor != hold.hold.tensor or (place, operand) in used:
                continue
            made = self.made_in(place, operand)
            if made is None or made.encloses(hold):
                found.append(operand)
        return found

    @once
    def begins_with_what_is_made(self, hold: Place) -> bool:
        """Whether an Einsum that reads something gives a tensor's first values, outside a hold."""
        inside = {use.place for use in self.used_in(hold)}
        init = {e for e in self.space.cascade.init if e.inputs}
        return any(self.step(p).einsum in init and p not in inside for p in self.makers(tensor_of(hold)))

    @once
    def each_wanted(self, hold: Place) -> bool:
        """Whether something outside a state wants its value of each iteration, so that each is written."""
        tensor = hold.hold.tensor
        own = self.space.cascade.ranks_of[tensor]
        return any(set(o.ranks) >= set(own) for o in self._wanted_by(hold)) or tensor in self.space.cascade.outputs

    def _goes_on(self, hold: Place) -> bool:
        """Whether a sum or a state goes on when a hold is entered again."""
        makers = [use.place for use in self.used_in(hold) if use.writes]
        for loop in hold.loops:
            if hold.hold.state and loop.loop.rank == self.ranks.carried.get(hold.hold.tensor):
                return True
            for maker, part in product(makers, parts_of(loop.loop.rank)):
                step = self.step(maker)
                own = self.ranks.grains(step.ranks).get(part)
                out = self.ranks.grains(step.output.ranks).get(part)
                if own is not None and (out is None or (own < out and int(loop.loop.tile) < out)):
                    return True
        return False

    @once
    def writes_through(self, hold: Place) -> bool:
        """Whether what a hold keeps is read inside it from further out, and so is written on once it is complete."""
        if not (self.kept_outside(hold) and self.writes(hold)):
            return False
        used = [(use.place, use.operand) for use in self.used_in(hold)]
        along = self.ranks.carried.get(hold.hold.tensor)
        return any(
            hold.encloses(place)
            and (made is None or made.encloses(hold))
            and (not operand.carried or any(hold.encloses(loop) and loop.loop.rank == along for loop in place.loops))
            for place, operand, writes in self.uses
            if not writes and operand.tensor == hold.hold.tensor and (place, operand) not in used
            for made in [self.made_in(place, operand)]
        )

    @once
    def is_spread(self, hold: Place) -> bool:
        """Whether spatial loops inside a hold run over dimensions of its own memory."""
        fan = self.levels.fan_out(hold.where)
        return any(
            loop.loop.over in fan for use in self.used_in(hold) for loop in use.place.loops if hold.encloses(loop)
        )

    @once
    def lateness(self, hold: Place) -> tuple[int, int]:
        """Return the earliest and latest stage in which something uses a hold, in the pipeline around or in it."""
        found = [self._late(use.place, hold) for use in self.used_in(hold)] or [0]
        return min(found), max(found)

    def span(self, hold: Place) -> tuple[int, int]:
        """Return the earliest and latest stage in which something uses a hold, or what it takes the place of."""
        place = self.place_of(hold)
        if place is None:
            return self.lateness(hold)
        found = [self._late(use.place, place) for use in (*self.used_in(place), *self.used_in(hold))]
        return min(found), max(found)

    @staticmethod
    def _late(place: Place, hold: Place) -> int:
        late = 0
        for above in reversed(place.around):
            if above is hold:
                return late
            if isinstance(above.node, Late):
                late += above.node.by
            elif isinstance(above.node, Loop) and above.node.over is None:
                late = 0
        raise AssertionError

    @once
    def place_of(self, hold: Place) -> Place | None:
        """Return the hold around whose room one takes."""
        if not isinstance(hold.node, Hold) or hold.hold.place is None:
            return None
        same = [h for h in hold.holds if h.hold.tensor == hold.hold.place and h.where == hold.where]
        return same[-1] if same else None

    @once
    def longest(self, hold: Place) -> int:
        """Return by how many iterations a state may have gone on when something reads it there."""
        return max((self.lag(use.place, use.operand) for use in self.used_in(hold) if not use.writes), default=0)

    @once
    def lag(self, reader: Place, operand: Operand) -> int:
        """By how many iterations a state may have gone on when a reader comes: it is late, or wants the one before."""
        if operand.tensor not in self.ranks.carried:
            return 0
        late = [_total_late(reader) - _total_late(maker) for maker in self.makers(operand.tensor)]
        return max(0, *late) + operand.carried


def _total_late(place: Place) -> int:
    return sum(above.node.by for above in place.around if isinstance(above.node, Late))


def tensor_of(hold: Place) -> str:
    """Return the tensor that a hold keeps, without a prime."""
    return hold.hold.tensor.removesuffix(PRIME)
