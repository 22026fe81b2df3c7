"""The universe of pools as DefiLlama served it in one hour of 2026-02-16."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stableyield.domain.rates import apr_to_apy
from stableyield.sources import PoolUniverse, Span
from support.provider import TODAY, House, house

SAMPLE = (
    Path(__file__).resolve().parents[2].parent / "shared" / "data" / "defillama_pools_sample.json"
)
pytestmark = pytest.mark.skipif(not SAMPLE.is_file(), reason="../shared/data is not there")


def test_the_observed_universe_is_read_whole(tmp_path: Path) -> None:
    document: Any = json.loads(SAMPLE.read_text())
    rows = {row["pool"]: row for row in document["data"]}
    with house(tmp_path) as home:
        fetched = universe(home, document)
    daily = fetched.tables["pool_daily"].set_index("pool_id")
    assert len(daily) == len(rows) == fetched.provenance[0].n_rows
    assert not fetched.masked
    aave = [pool for pool, row in rows.items() if row["project"] == "aave-v3" and row["apyBase"]]
    quoted = np.array([rows[pool]["apyBase"] for pool in aave])
    np.testing.assert_allclose(
        daily.loc[aave, "apy_base_pct"], 100.0 * apr_to_apy(quoted / 100.0), rtol=1e-12
    )
    assert all(fetched.tables["pools"]["tokens"])


def universe(home: House, document: Any) -> Any:
    home.provider.on("/pools", document)
    return PoolUniverse(home.client, home.url).fetch(Span.of(TODAY))
