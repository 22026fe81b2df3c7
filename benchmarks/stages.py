"""Where the optimiser spends its time: CPU seconds by stage, read from outside."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from stableyield.allocation import tiers
from stableyield.allocation.closing import Closing

STAGES = ("build", "closing in", "search", "relaxed conversions", "restricted", "reduced", "direct")


@contextmanager
def stopwatch() -> Iterator[dict[str, float]]:
    """CPU seconds by stage of what is solved inside; what is missing is settling and explaining.

    ``build`` is all building of models, ``closing in`` is on the whole program, ``search`` that of
    what is left of it; the others are the solver's, by the model that it solves.
    """
    seconds = dict.fromkeys(STAGES, 0.0)
    kinds: dict[int, str] = {}
    keep: list[object] = []  # an id is unique while its object lives
    build_model, solve_mip = tiers.build_model, tiers.solve_mip

    def build(*args: Any, **options: Any) -> Any:
        began = time.process_time()
        model = build_model(*args, **options)
        seconds["build"] += time.process_time() - began
        kinds[id(model.sparse)] = _kind(args, options)
        keep.append(model)
        return model

    def solve(model: Any, *args: Any, **options: Any) -> Any:
        began = time.process_time()
        result = solve_mip(model, *args, **options)
        seconds[kinds.get(id(model), "direct")] += time.process_time() - began
        return result

    def timed(stage: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            began = time.process_time()
            result = method(*args)
            seconds[stage] += time.process_time() - began
            return result

        return call

    with (
        patch.object(tiers, "build_model", build),
        patch.object(tiers, "solve_mip", solve),
        patch.object(Closing, "close_in", timed("closing in", Closing.close_in)),
        patch.object(Closing, "search", timed("search", Closing.search)),
    ):
        yield seconds


def _kind(args: tuple[Any, ...], options: dict[str, Any]) -> str:
    if options.get("stars"):
        return "relaxed conversions"
    if options.get("only") is not None:
        return "restricted"
    return "reduced" if len(args) > 1 else "direct"
