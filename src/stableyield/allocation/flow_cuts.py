"""Flow cuts: inequalities that every plan obeys and the linear relaxation does not.

At a place (`stableyield.allocation.flows`) what some moves O take is covered by what is at hand and
what others bring. Of a move that brings at most M, of which at most ``missing`` can be needed, the
amount is at most ``min(M, missing)`` times its binary. So, for any set C of moves whose largest
amounts are counted as if they were at hand, and any choice for the rest,

    amount of O <= (at hand + C) * binary of O + sum of min(M, missing) * binary or amount

with ``missing = largest of O - at hand - C``; the binary only where O is one move. The same holds
of what some moves bring and the others take or leave over. These are simple flow-cover
inequalities (Padberg, Van Roy and Wolsey 1985, "Valid linear inequalities for fixed charge
problems"); for each O and C the better of binary and amount is chosen term by term.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stableyield.allocation.flows import Flows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

VIOLATION = 1e-3  # model units: a dollar of AUM 1e6 USD
FLOWING = 1e-6  # model units
COUNTED = 0.3  # moves that are on to this share may be counted as at hand
MOST_COUNTED = 3
DECIDED = 1e-4
MOST_CUTS = 60
SMALLEST_VALUE = 1e-9


@dataclass(frozen=True, eq=False)
class Rows:
    """Inequalities ``sum(value * x[column]) <= upper``; row r has ``start[r]:start[r + 1]``."""

    start: Ints
    column: Ints
    value: Floats
    upper: Floats

    @classmethod
    def of(cls, rows: Iterable[tuple[Ints, Floats, float]]) -> Rows:
        """Rows from columns, values and upper limits; equal ones are kept once."""
        unique: dict[tuple[bytes, bytes], tuple[Ints, Floats, float]] = {}
        for every_column, every_value, upper in rows:
            kept = np.flatnonzero(np.abs(every_value) > SMALLEST_VALUE)
            column, value = every_column[kept], every_value[kept]
            unique[column.tobytes(), value.tobytes()] = column, value, upper
        columns = [column for column, _, _ in unique.values()]
        return cls(
            np.cumsum([0, *map(len, columns)]),
            np.concatenate([np.zeros(0, np.int64), *columns]),
            np.concatenate([np.zeros(0), *(value for _, value, _ in unique.values())]),
            np.array([upper for _, _, upper in unique.values()]),
        )

    @classmethod
    def join(cls, parts: Sequence[Rows]) -> Rows:
        """All rows of the parts."""
        lengths = np.concatenate([np.diff(part.start) for part in parts])
        return cls(
            np.concatenate([[0], np.cumsum(lengths)]),
            np.concatenate([part.column for part in parts]),
            np.concatenate([part.value for part in parts]),
            np.concatenate([part.upper for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.upper)


@dataclass(frozen=True, eq=False)
class _Point:
    """A solution of a relaxation, by move."""

    flows: Flows
    x: Floats
    on: Floats
    amount: Floats
    largest: Floats

    @classmethod
    def of(cls, flows: Flows, x: Floats) -> _Point:
        return cls(flows, x, x[flows.binary], flows.amounts(x), flows.minimum + flows.most)


def flow_cuts(flows: Flows, x: Floats, n_most: int = MOST_CUTS) -> Rows:
    """The flow cuts that the solution ``x`` of a relaxation violates most."""
    point = _Point.of(flows, x)
    found: list[tuple[float, _Side, int, int]] = []
    undecided = (point.amount > FLOWING) & (point.on > DECIDED) & (point.on < 1.0 - DECIDED)
    # sets of a few tokens were tried: they bring less than they cost
    tokens = np.vstack([np.eye(flows.n_tokens), np.ones((1, flows.n_tokens))])
    nets = tokens @ flows.brings[: flows.n_tokens]
    at_hand = tokens @ flows.at_hand[: flows.n_tokens]
    for n in np.flatnonzero(np.any(nets[:, undecided] != 0.0, axis=1)).tolist():
        spare = flows.spare[tokens[n] > 0.0].ravel()
        found += _Side(point, nets[n], float(at_hand[n])).cuts()
        found += _Side(point, -nets[n], taken=float(at_hand[n]), spare=spare).cuts()
    for group in range(flows.n_tokens, len(flows.at_hand)):
        found += _Side(point, flows.brings[group], float(flows.at_hand[group])).cuts()
    found.sort(key=lambda cut: -cut[0])
    return Rows.of([*(side.row(k, n) for _, side, k, n in found[:n_most]), *_least(flows, x)])


def _least(flows: Flows, x: Floats) -> Iterator[tuple[Ints, Floats, float]]:
    """A move that is on has at least its least excess."""
    short = flows.least * x[flows.binary] - x[flows.excess] > VIOLATION
    for n in np.flatnonzero(short):
        columns = np.array([flows.binary[n], flows.excess[n]])
        yield columns, np.array([flows.least[n], -1.0]), 0.0


class _Side:
    """What moves with negative ``net`` take is covered by ``at_hand`` and positive ``net``.

    What is ``taken`` anyway, and what the columns ``spare`` hold, is part of it: on the side of
    what is brought, the wallet and what is left of it.
    """

    def __init__(
        self,
        point: _Point,
        net: Floats,
        at_hand: float = 0.0,
        taken: float = 0.0,
        spare: Ints | None = None,
    ) -> None:
        self.flows, self.net = point.flows, np.abs(net)
        self.at_hand, self.taken = at_hand, taken
        self.spare = np.zeros(0, np.int64) if spare is None else spare
        self.spare_amount = float(point.x[self.spare].sum())
        # inside a set of tokens a conversion takes its fee: too little to be worth a cut
        self.takes = ((net < -0.05) & (point.amount > FLOWING)).nonzero()[0]
        self.brings = (net > 0.0).nonzero()[0]
        amount, largest = self.net * point.amount, self.net * point.largest
        # the last of what takes is what is taken anyway
        self.amount = np.append(amount[self.takes], taken)
        self.largest = np.append(largest[self.takes], taken)
        self.on = np.append(point.on[self.takes], 1.0)
        self.brought, self.most_brought = amount[self.brings], largest[self.brings]
        self.bringing = point.on[self.brings]
        self.together = self._together()
        self.usable = self._usable()
        self.order = self._order()

    def cuts(self) -> list[tuple[float, _Side, int, int]]:
        """The most violated cut of each set of moves that take, as arguments of `row`."""
        together = self.together
        if len(together) == 0:
            return []
        largest, amount = together @ self.largest, together @ self.amount
        usable, order = self.usable, self.order
        counted, at_hand = np.zeros(len(self.brings), bool), self.at_hand
        best = np.full(len(together), VIOLATION)
        counted_until = np.full(len(together), -1)
        for n in range(len(order) + 1):
            if n > 0:
                counted[order[n - 1]] = True
                at_hand += float(self.most_brought[order[n - 1]])
            missing = (largest - at_hand)[:, None]
            term = np.minimum(np.minimum(self.most_brought, missing) * self.bringing, self.brought)
            cover = (term * (usable & ~counted)).sum(axis=1) + self.spare_amount + at_hand
            lifted = np.maximum(self.largest - missing, 0.0) * (1.0 - self.on)
            violation = amount + (together * lifted).sum(axis=1) - cover
            violation[missing[:, 0] <= 1e-9] = -np.inf
            better = violation > best
            best[better] = violation[better]
            counted_until[better] = n
        chosen = np.flatnonzero(counted_until >= 0).tolist()
        return [(float(best[k]), self, k, int(counted_until[k])) for k in chosen]

    def _together(self) -> Floats:
        """Which moves are taken as one: each, and the most on; without and with what is taken."""
        n = len(self.takes)
        first = np.argsort(-self.on[:n], kind="stable")
        sets = np.zeros((max(2 * n - 1, 0), n + 1))
        sets[:n, :n] = np.eye(n)
        for k in range(2, n + 1):
            sets[n + k - 2, first[:k]] = 1.0
        if self.taken > 0.0:
            also = np.vstack([sets, np.zeros((1, n + 1))])
            also[:, n] = 1.0
            sets = np.vstack([sets, also])
        return sets

    def _usable(self) -> Bools:
        """What a move alone can be covered by: not by the one that excludes it.

        That one may be needed for what else is taken, or for what is short anyway.
        """
        usable = np.ones((len(self.together), len(self.brings)), dtype=bool)
        if self.at_hand >= 0.0:
            twin = self.flows.twin[self.takes]
            for k in (twin >= 0).nonzero()[0].tolist():
                usable[k, self.brings == twin[k]] = False
        return usable

    def _order(self) -> Ints:
        """Moves that may be counted as at hand, the most on first."""
        order = np.argsort(-self.bringing, kind="stable")[:MOST_COUNTED]
        result: Ints = order[self.bringing[order] > COUNTED]
        return result

    def row(self, which: int, n_counted: int) -> tuple[Ints, Floats, float]:
        """Columns, values and upper limit of a cut that `cuts` found."""
        f, chosen = self.flows, self.together[which] > 0.0
        free = self.usable[which].copy()
        counted = self.order[:n_counted]
        free[counted] = False
        at_hand = self.at_hand + float(self.most_brought[counted].sum())
        takes, brings = self.takes[chosen[:-1]], self.brings[free]
        missing = float(self.largest[chosen].sum()) - at_hand
        lifted = np.maximum(self.largest[:-1][chosen[:-1]] - missing, 0.0)
        reach = np.minimum(self.most_brought[free], missing)
        by_amount = self.brought[free] <= reach * self.bringing[free]
        flow, switch = brings[by_amount], brings[~by_amount]
        columns = [f.binary[takes], f.excess[takes], f.binary[flow], f.excess[flow]]
        values = [self.net[takes] * f.minimum[takes] - lifted, self.net[takes]]
        values += [-self.net[flow] * f.minimum[flow], -self.net[flow]]
        columns += [f.binary[switch], self.spare]
        values += [-reach[~by_amount], -np.ones(len(self.spare))]
        upper = at_hand - float(lifted.sum()) - (self.taken if chosen[-1] else 0.0)
        return np.concatenate(columns), np.concatenate(values), upper
