"""The research notebooks' mock generator: one allocation decision from a legacy random stream.

It exists so that the instances behind the notebooks' recorded output can be drawn again, to the
last bit. Its data is a toy: some positions sit in tokens that their pool does not contain. For a
market with a history use `stableyield.market.synthetic`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stableyield.config import AllocationParameters
from stableyield.domain.costs import GasCosts, notebook_gas_costs
from stableyield.domain.portfolio import Book
from stableyield.errors import ParameterError

STABLECOINS = ("USDC", "DAI", "USDT")
NOTEBOOK_GAS_UNITS = 21_000

_LAST_NOTEBOOK_PARAMETER = "icebox_recovery_c_days_threshold"


@dataclass(frozen=True, slots=True)
class _Template:
    tokens: tuple[str, ...]
    chain: str
    protocol: str

    @property
    def apy_factor(self) -> float:
        """What the notebooks multiply a drawn APY with: Aave pays less, a Curve pair more."""
        if self.protocol == "Aave":
            return 0.9
        return 1.1 if len(self.tokens) == 2 else 1.0


_TEMPLATES = (
    _Template(("USDC", "USDT"), "Ethereum", "Curve"),
    _Template(("DAI", "USDC"), "Ethereum", "Curve"),
    _Template(("USDC", "DAI", "USDT"), "Ethereum", "Curve"),
    _Template(("USDC",), "Ethereum", "Aave"),
    _Template(("DAI",), "Ethereum", "Aave"),
    _Template(("USDT",), "Ethereum", "Aave"),
    _Template(("USDC", "USDT"), "Polygon", "Curve"),
    _Template(("USDC",), "Polygon", "Aave"),
)


@dataclass(frozen=True, slots=True)
class GasInputs:
    """The numbers from which the notebooks compute gas in USD."""

    eth_price_usd: float
    base_fee_transfer_gwei: float
    base_fee_swap_gwei: float
    priority_fee_gwei: float
    gas_units: int = NOTEBOOK_GAS_UNITS

    @property
    def gas_usd(self) -> GasCosts:
        """Gas of one transaction of each kind, USD."""
        return notebook_gas_costs(
            self.eth_price_usd,
            self.base_fee_transfer_gwei,
            self.base_fee_swap_gwei,
            self.priority_fee_gwei,
            self.gas_units,
        )


@dataclass(frozen=True)
class MockInstance:
    """One mock decision.

    Parameters
    ----------
    problem : dict
        A problem file: token_prices_usd, gas_usd, wallet, positions, pools, parameters.
    gas_inputs : GasInputs
        As drawn. ``problem["gas_usd"]`` follows from them unless the caller gave other costs.
    gas_usd : GasCosts
        The same costs as in the problem, to hand to instances of another size.
    aum_usd : float
        Wallet and positions at the drawn prices.
    """

    problem: dict[str, Any]
    gas_inputs: GasInputs
    gas_usd: GasCosts
    aum_usd: float


def mock_instance(
    n_pools: int = 15,
    seed: int = 42,
    aum_usd: float = 1_000_000.0,
    tokens: Sequence[str] = (*STABLECOINS, "ETH"),
    gas_usd: GasCosts | None = None,
) -> MockInstance:
    """Draw the notebooks' instance with `numpy.random.RandomState` (the global state is untouched).

    Parameters
    ----------
    n_pools : int
        Number of pools, at least 1.
    seed : int
        Seed of the legacy stream, 0 to 2**32 - 1.
    aum_usd : float
        Money in the wallet and the positions at prices of 1.0; at the drawn prices it is worth
        a little more or less, see ``MockInstance.aum_usd``.
    tokens : sequence of str
        Tokens that get a price, in the order of the draws; contains USDC, DAI and USDT.
    gas_usd : GasCosts, optional
        Gas costs to use instead of the drawn ones. The notebooks' scenarios with another number
        of pools draw everything afresh but keep the gas costs of the instance of 15 pools.

    Raises
    ------
    ParameterError
        When a number is out of its bounds or a stablecoin is missing from ``tokens``.
    """
    _check(n_pools, seed, aum_usd, tokens)
    stream = np.random.RandomState(seed)
    pools = [_draw_pool(stream, i) for i in range(n_pools)]
    prices = {token: _draw_price(stream, token) for token in tokens}
    wallet_usd = aum_usd * stream.uniform(0.2, 0.4)
    wallet = _draw_wallet(stream, wallet_usd)
    positions = _draw_positions(stream, aum_usd - wallet_usd, n_pools)
    gas_inputs = GasInputs(
        eth_price_usd=3000.0 + stream.normal(0.0, 100.0),
        base_fee_transfer_gwei=stream.uniform(5.0, 15.0),
        base_fee_swap_gwei=stream.uniform(20.0, 40.0),
        priority_fee_gwei=stream.uniform(5.0, 15.0),
    )
    gas = gas_usd or gas_inputs.gas_usd
    problem = {
        "token_prices_usd": prices,
        "gas_usd": {
            "allocation": gas.allocation,
            "withdrawal": gas.withdrawal,
            "conversion": gas.conversion,
        },
        "wallet": wallet,
        "positions": positions,
        "pools": pools,
        "parameters": _notebook_parameters(),
    }
    book = Book(wallet, {(row["pool_id"], row["token"]): row["amount"] for row in positions})
    return MockInstance(problem, gas_inputs, gas, book.aum_usd(prices))


def _check(n_pools: int, seed: int, aum_usd: float, tokens: Sequence[str]) -> None:
    if n_pools < 1:
        raise ParameterError(f"n_pools is {n_pools}", remedy="ask for at least one pool")
    if not 0 <= seed < 2**32:
        raise ParameterError(f"seed is {seed}", remedy="choose a seed from 0 to 2**32 - 1")
    if not 0.0 < aum_usd < float("inf"):
        raise ParameterError(f"aum_usd is {aum_usd}", remedy="give a positive amount of USD")
    if missing := [token for token in STABLECOINS if token not in tokens]:
        raise ParameterError(
            f"tokens has no {missing[0]}", remedy="the mock wallet needs USDC, DAI and USDT"
        )


def _draw_pool(stream: np.random.RandomState, i: int) -> dict[str, Any]:
    template = _TEMPLATES[i % len(_TEMPLATES)]
    apy = stream.uniform(0.01, 0.15) * template.apy_factor
    return {
        "pool_id": _pool_id(i),
        "symbol": "-".join(template.tokens),
        "chain": template.chain,
        "protocol": template.protocol,
        "tokens": list(template.tokens),
        "forecast_apy_pct": apy * 100.0,
        "forecast_tvl_usd": stream.uniform(1e5, 1e8),
    }


def _draw_price(stream: np.random.RandomState, token: str) -> float:
    if token in STABLECOINS:
        return 1.0 + stream.normal(0.0, 0.002)
    if token == "ETH":
        return 3000.0 + stream.normal(0.0, 100.0)
    if token == "WBTC":
        return 60_000.0 + stream.normal(0.0, 2000.0)
    return stream.uniform(0.5, 100.0)


def _draw_wallet(stream: np.random.RandomState, wallet_usd: float) -> dict[str, float]:
    wallet = {}
    remaining = wallet_usd
    for token in STABLECOINS[:-1]:
        wallet[token] = remaining * stream.uniform(0.2, 0.5)
        remaining -= wallet[token]
    wallet[STABLECOINS[-1]] = remaining
    return wallet


def _draw_positions(
    stream: np.random.RandomState, positions_usd: float, n_pools: int
) -> list[dict[str, Any]]:
    """Positions in the first pools; the token is drawn without looking at the pool."""
    n_positions = min(int(stream.randint(3, 8)), n_pools)
    rows = []
    remaining = positions_usd
    for i in range(n_positions):
        is_last = i == n_positions - 1
        amount = remaining if is_last else remaining * stream.uniform(0.1, 0.3)
        remaining -= amount
        token = str(stream.choice(STABLECOINS))
        rows.append({"pool_id": _pool_id(i), "token": token, "amount": amount})
    return rows


def _pool_id(i: int) -> str:
    return f"pool_{i + 1:03d}"


def _notebook_parameters() -> dict[str, Any]:
    """Defaults of the parameters that the notebooks know: the first block of ours."""
    names = list(AllocationParameters.model_fields)
    defaults = AllocationParameters()
    return {
        name: getattr(defaults, name) for name in names[: names.index(_LAST_NOTEBOOK_PARAMETER) + 1]
    }
