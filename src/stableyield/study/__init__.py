"""Many decisions side by side: scenarios."""

from __future__ import annotations

from stableyield.study.scenario import MarketDay, MockMarket, ProblemFile, Scenario
from stableyield.study.scenario_file import read_scenarios
from stableyield.study.scenarios import ScenarioOutcome, ScenarioResults, run_scenarios

__all__ = [
    "MarketDay",
    "MockMarket",
    "ProblemFile",
    "Scenario",
    "ScenarioOutcome",
    "ScenarioResults",
    "read_scenarios",
    "run_scenarios",
]
