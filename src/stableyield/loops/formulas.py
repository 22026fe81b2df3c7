"""The arithmetic of a leveraged lending loop: each formula once, with its bounds.

Supply an asset, borrow another against it, convert, supply again. Ratios are **fractions**: an LTV
of 90 % is 0.9. Leverage ``L`` is collateral over equity; debt is ``L - 1`` times equity. What risk
depends on is the position's LTV ``(L - 1) / L``, not the LTV that is drawn per round.
"""

from __future__ import annotations

import math
from numbers import Real

from stableyield.errors import ParameterError


def leverage(ltv: float, rounds: int) -> float:
    """Collateral over equity after ``rounds`` re-supplies that each draw ``ltv``.

    ``L = (1 - ltv ** (rounds + 1)) / (1 - ltv)``, the sum of the geometric series.

    Parameters
    ----------
    ltv : float
        Share of the last supply that is borrowed each round; at least 0, below 1.
    rounds : int
        Number of re-supplies; 0 is plain supply.

    Raises
    ------
    ParameterError
        When ``ltv`` is not a fraction below 1 or ``rounds`` is not a whole number from 0.
    """
    share = _share("ltv", ltv)
    count = _number("rounds", rounds)
    if not count.is_integer() or count < 0.0:
        raise ParameterError(
            f"rounds is {count:g}, must be a whole number from 0", remedy="0 is plain supply"
        )
    return float((1.0 - share ** (count + 1.0)) / (1.0 - share))


def leverage_limit(ltv: float) -> float:
    """Leverage of endlessly many rounds at ``ltv``: ``1 / (1 - ltv)``.

    Raises
    ------
    ParameterError
        When ``ltv`` is not a fraction below 1.
    """
    return 1.0 / (1.0 - _share("ltv", ltv))


def rounds_until(ltv: float, stop_share: float) -> int:
    """Rounds after which the last loan is no more than ``stop_share`` of equity.

    ``n = ceil(ln(stop_share) / ln(ltv))``; the stop condition of the research notebook.

    Parameters
    ----------
    ltv : float
        At least 0, below 1.
    stop_share : float
        Share of equity; above 0, at most 1.

    Raises
    ------
    ParameterError
        When an argument is out of bounds.
    """
    share = _share("ltv", ltv)
    stop = _number("stop_share", stop_share)
    if not 0.0 < stop <= 1.0:
        raise ParameterError(
            f"stop_share is {stop:g}, must be above 0 and at most 1", remedy=_hint(stop)
        )
    if share == 0.0:
        return 0
    # a stop share that is a power of the LTV must not become one round more by rounding
    return math.ceil(math.log(stop) / math.log(share) - 1e-9)


def position_ltv(leverage: float) -> float:
    """Debt over collateral: ``(L - 1) / L``.

    Raises
    ------
    ParameterError
        When ``leverage`` is below 1.
    """
    size = _leverage(leverage)
    return (size - 1.0) / size


def net_apr(
    leverage: float,
    supply_apr: float,
    borrow_apr: float,
    supply_reward: float = 0.0,
    borrow_reward: float = 0.0,
) -> float:
    """Rate on equity of a loop before costs: ``L (s + rs) - (L - 1) (b - rb)``.

    The formula is linear in the rates: give all four as fractions or all four in percent, the
    result has their unit.

    Parameters
    ----------
    leverage : float
        At least 1; 1 is plain supply.
    supply_apr, borrow_apr : float
        What suppliers get and what borrowers pay.
    supply_reward, borrow_reward : float
        What is paid to them on top.

    Raises
    ------
    ParameterError
        When ``leverage`` is below 1 or a rate is not finite.
    """
    size = _leverage(leverage)
    earned = _number("supply_apr", supply_apr) + _number("supply_reward", supply_reward)
    paid = _number("borrow_apr", borrow_apr) - _number("borrow_reward", borrow_reward)
    return size * earned - (size - 1.0) * paid


def health_factor(leverage: float, liquidation_threshold: float, price_ratio: float = 1.0) -> float:
    """Health factor of a simple loop: ``LT * L / (L - 1) * price_ratio``; below 1 it is liquidated.

    Parameters
    ----------
    leverage : float
        At least 1; without debt the health factor is infinite.
    liquidation_threshold : float
        Above 0, at most 1.
    price_ratio : float
        Price of the supplied over price of the borrowed asset, relative to when the loop was
        opened; positive.

    Raises
    ------
    ParameterError
        When an argument is out of bounds.
    """
    size = _leverage(leverage)
    threshold = _threshold(liquidation_threshold)
    ratio = _number("price_ratio", price_ratio)
    if ratio <= 0.0:
        raise ParameterError(f"price_ratio is {ratio:g}, must be positive")
    if size == 1.0:
        return math.inf
    return threshold * size / (size - 1.0) * ratio


def leverage_for_health_factor(liquidation_threshold: float, health_factor: float) -> float:
    """Leverage at which a loop opens with ``health_factor``: ``HF / (HF - LT)``.

    Parameters
    ----------
    liquidation_threshold : float
        Above 0, at most 1.
    health_factor : float
        Above 1: at 1 the loop could be liquidated as soon as it is open.

    Raises
    ------
    ParameterError
        When an argument is out of bounds.
    """
    threshold = _threshold(liquidation_threshold)
    wanted = _number("health_factor", health_factor)
    if wanted <= 1.0:
        raise ParameterError(
            f"health_factor is {wanted:g}, must be above 1",
            remedy="a loop is liquidated below 1; 1.05 leaves a depeg of 4.8 %",
        )
    return wanted / (wanted - threshold)


def depeg_to_liquidation(leverage: float, liquidation_threshold: float) -> float:
    """Relative fall of the supplied against the borrowed asset that liquidates the loop.

    ``1 - ((L - 1) / L) / LT``; 1 without debt; negative when the loop is past its threshold
    already.

    Raises
    ------
    ParameterError
        When ``leverage`` is below 1 or the threshold not above 0 and at most 1.
    """
    return 1.0 - position_ltv(leverage) / _threshold(liquidation_threshold)


def max_leverage(liquidation_threshold: float, depeg: float) -> float:
    """Largest leverage that survives a relative depeg: ``1 / (1 - LT (1 - depeg))``.

    Parameters
    ----------
    liquidation_threshold : float
        Above 0, at most 1.
    depeg : float
        Relative fall of the supplied against the borrowed asset; at least 0, below 1.

    Raises
    ------
    ParameterError
        When an argument is out of bounds, or no finite leverage is the largest (a threshold of 1
        and no depeg).
    """
    threshold, fall = _threshold(liquidation_threshold), _share("depeg", depeg)
    left = 1.0 - threshold * (1.0 - fall)
    if left <= 0.0:
        raise ParameterError(
            "liquidation_threshold 1 and depeg 0 bound no leverage", remedy="give a depeg above 0"
        )
    return 1.0 / left


def depeg_loss(leverage: float, depeg: float) -> float:
    """Mark-to-market share of equity that a depeg of the collateral costs: ``-L * depeg``.

    Raises
    ------
    ParameterError
        When ``leverage`` is below 1 or ``depeg`` is not a fraction below 1.
    """
    return -_leverage(leverage) * _share("depeg", depeg)


def rebuild_cost(leverage: float, swap_cost: float) -> float:
    """Swap cost of one full rebuild, as a share of equity: ``2 (L - 1) * swap_cost``; without gas.

    Parameters
    ----------
    leverage : float
        At least 1.
    swap_cost : float
        Share of what is swapped (1 basis point is 0.0001); at least 0, below 1.

    Raises
    ------
    ParameterError
        When an argument is out of bounds.
    """
    return 2.0 * (_leverage(leverage) - 1.0) * _share("swap_cost", swap_cost)


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (float, Real)):
        raise ParameterError(f"{name} is {value!r}, must be a number")
    number = float(value)
    if not math.isfinite(number):
        raise ParameterError(f"{name} is {number}, must be finite")
    return number


def _share(name: str, value: float) -> float:
    number = _number(name, value)
    if not 0.0 <= number < 1.0:
        raise ParameterError(
            f"{name} is {number:g}, must be at least 0 and below 1", remedy=_hint(number)
        )
    return number


def _threshold(value: float) -> float:
    number = _number("liquidation_threshold", value)
    if not 0.0 < number <= 1.0:
        raise ParameterError(
            f"liquidation_threshold is {number:g}, must be above 0 and at most 1",
            remedy=_hint(number),
        )
    return number


def _leverage(value: float) -> float:
    number = _number("leverage", value)
    if number < 1.0:
        raise ParameterError(
            f"leverage is {number:g}, must be at least 1", remedy="1 is plain supply, without debt"
        )
    return number


def _hint(number: float) -> str:
    """What to write instead of a percentage."""
    if 1.0 < number <= 100.0:
        return f"fractions are wanted: {number:g} % is {number / 100.0:g}"
    return "give a fraction"
