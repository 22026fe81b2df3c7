"""Where the optimiser spends its time: CPU seconds by stage, read from outside."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from stableyield.allocation import tiers

STAGES = ("build", "relaxation", "relaxed conversions", "restricted", "reduced", "direct")


@contextmanager
def stopwatch() -> Iterator[dict[str, float]]:
    """CPU seconds by stage of what is solved inside; what is missing is settling and explaining.

    ``build`` is all building of models; the others are the solver's, by the model that it solves;
    ``direct`` is the whole program, of a large problem with what the relaxation decides fixed.
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
        kind = kinds.get(id(model), "direct") if model.integer.any() else "relaxation"
        seconds[kind] += time.process_time() - began
        return result

    with patch.object(tiers, "build_model", build), patch.object(tiers, "solve_mip", solve):
        yield seconds


def _kind(args: tuple[Any, ...], options: dict[str, Any]) -> str:
    if options.get("stars"):
        return "relaxed conversions"
    if options.get("only") is not None:
        return "restricted"
    return "reduced" if len(args) > 1 else "direct"
