"""What an aggregator's numbers of a project mean: APR or APY, cash or deposits.

A row speaks for the project of that name and for its numbered versions: ``aave`` for ``aave`` and
``aave-v3``. It does not speak for other products of the house (``spark-savings`` is a vault,
``spark`` a lending market) nor for other houses (``aavegotchi``): those need a row of their own,
and without one they are unknown, which is said in the market's assumptions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from stableyield.domain.pool import PoolKind

RateConvention = Literal["simple", "compounded", "unknown"]


@dataclass(frozen=True, slots=True)
class Project:
    """How a project's base rate is quoted, and what its TVL measures."""

    rates: RateConvention
    kind: PoolKind


_UNKNOWN = Project("unknown", PoolKind.UNKNOWN)
_RESERVE_APR = Project("simple", PoolKind.LENDING)  # liquidityRate / 1e27 a year
_RESERVE_APY = Project("compounded", PoolKind.LENDING)
_RESERVE = Project("unknown", PoolKind.LENDING)
_VAULT_APY = Project("compounded", PoolKind.VAULT)
_VAULT = Project("unknown", PoolKind.VAULT)

_PROJECTS: Mapping[str, Project] = MappingProxyType(
    {
        **dict.fromkeys(("aave", "spark", "sparklend", "compound-v3"), _RESERVE_APR),
        **dict.fromkeys(("euler-v2", "venus"), _RESERVE_APY),
        **dict.fromkeys(("venus-core-pool", "venus-isolated-pools"), _RESERVE_APY),
        **dict.fromkeys(("compound", "euler", "radiant", "benqi", "benqi-lending"), _RESERVE),
        **dict.fromkeys(("silo", "silo-finance"), _RESERVE),
        # optimisers on top of Aave and Compound: partly matched, partly lent on
        **dict.fromkeys(
            ("morpho", "morpho-aave", "morpho-aavev3", "morpho-compound"),
            Project("compounded", PoolKind.UNKNOWN),
        ),
        **dict.fromkeys(("morpho-blue", "morpho-v1"), _VAULT_APY),
        "spark-savings": _VAULT_APY,  # rate per second ** 31,536,000; TVL is all shares' worth
        **dict.fromkeys(("fluid", "fluid-lending", "fluid-lite"), _VAULT),
        **dict.fromkeys(("yearn", "yearn-finance", "sky", "sky-lending"), _VAULT),
        **dict.fromkeys(("maple", "ethena", "ethena-usde"), _VAULT),
    }
)
_VERSION = re.compile(r"-v\d+$")


def project_of(name: str) -> Project:
    """What is known of the project ``name``: by its own row, else by that of its family."""
    return _PROJECTS.get(name) or _PROJECTS.get(_VERSION.sub("", name), _UNKNOWN)


def rate_convention(name: str) -> RateConvention:
    """How project ``name`` quotes ``apy_base``: as a simple APR, a compounded APY, or unknown."""
    return project_of(name).rates


def pool_kind(name: str) -> PoolKind:
    """Whether project ``name``'s TVL is withdrawable cash (lending) or deposits (vault)."""
    return project_of(name).kind
