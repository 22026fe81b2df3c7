"""``stableyield loop``: leveraged lending loops, over history, in numbers and under stress."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stableyield.cli.common import JsonOption, PercentOption, span_of
from stableyield.cli.loop_output import print_frame, records, report_run, say_where
from stableyield.cli.outputs import check_out_directory
from stableyield.cli.terminal import console, print_json, working
from stableyield.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from stableyield.loops import LoopMarket, LoopRates, LoopSettings, LoopTarget

app = typer.Typer(
    help="Backtest leveraged lending loops: supply, borrow, supply again.",
    invoke_without_command=True,
)


class Execution(StrEnum):
    """How a loop is built."""

    FLASH_LOAN = "flash_loan"
    BY_HAND = "by_hand"


class OwnImpact(StrEnum):
    """Whether own size moves the rates."""

    KINKED = "kinked"
    NONE = "none"


RatesOption = Annotated[
    Path | None,
    typer.Option(
        "--rates",
        metavar="FILE|DIR",
        help="lend_borrow_daily table, market directory, or the notebooks' wide frame.",
    ),
]
NamesOption = Annotated[str | None, typer.Option(metavar="NAME,...", help="Only these.")]
StartOption = Annotated[str | None, typer.Option(metavar="DAY", help="First day, YYYY-MM-DD.")]
EndOption = Annotated[str | None, typer.Option(metavar="DAY", help="Last day, YYYY-MM-DD.")]
OutOption = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Write tables and report here.")
]
MaxLossOption = Annotated[
    float | None,
    typer.Option(metavar="SHARE", help="Largest leverage that loses no more under stress."),
]
ThresholdOption = Annotated[
    float, typer.Option(metavar="SHARE", help="Liquidation threshold under stress.")
]
LtvOption = Annotated[float | None, typer.Option(metavar="SHARE", help="Drawn each round: 0.9.")]
LeverageOption = Annotated[
    float | None, typer.Option(metavar="TIMES", help="Collateral over equity, from 1.")
]


@app.callback()
def loop(
    context: typer.Context,
    rates: RatesOption = None,
    chains: NamesOption = None,
    protocols: NamesOption = None,
    assets: NamesOption = None,
    ltv: LtvOption = None,
    rounds: Annotated[
        int | None, typer.Option(metavar="N", help="Re-supplies at --ltv; 3 if absent.")
    ] = None,
    stop_share: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Stop when a loan is below this share of equity."),
    ] = None,
    leverage: LeverageOption = None,
    health_factor: Annotated[
        float | None, typer.Option(metavar="HF", help="To open with; 1.3 if nothing is given.")
    ] = None,
    max_loss: MaxLossOption = None,
    threshold: ThresholdOption = 0.78,
    equity: Annotated[float, typer.Option(help="USD in each market.")] = 1_000_000.0,
    start: StartOption = None,
    end: EndOption = None,
    prices: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Daily coin prices; absent: par, reported.")
    ] = None,
    gas: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Daily gas and ETH prices.")
    ] = None,
    gas_usd: Annotated[
        float | None, typer.Option(metavar="USD", help="Fixed cost of one transaction.")
    ] = None,
    risk: Annotated[
        Path | None, typer.Option(metavar="FILE", help="LTV and threshold table (docs/loops.md).")
    ] = None,
    execution: Annotated[
        Execution, typer.Option(help="How a loop is built.")
    ] = Execution.FLASH_LOAN,
    own_impact: Annotated[
        OwnImpact, typer.Option(help="Whether own size moves the rates.")
    ] = OwnImpact.KINKED,
    as_notebook: Annotated[
        bool, typer.Option("--as-notebook", help="Show the notebook's wrong arithmetic beside it.")
    ] = False,
    out: OutOption = None,
    confirm_percent: PercentOption = False,
    json_: JsonOption = False,
) -> None:
    """Backtest the loop over the history of lending markets; or: loop stats, loop stress."""
    if context.invoked_subcommand is not None:
        _refuse_options_before(context)
        return
    path = _needed(rates)
    first, last = span_of(start, end)
    check_out_directory(out)
    from stableyield.loops import LoopCosts, LoopSettings, run_loop_backtest

    names = _names(assets)
    target = _target(ltv, (rounds, stop_share), leverage, health_factor)
    if max_loss is not None:
        target = _within_loss(target, max_loss, threshold, names)
    settings = LoopSettings(
        target=target,
        costs=LoopCosts(execution=execution.value, gas_usd=gas_usd),
        chains=_names(chains),
        protocols=_names(protocols),
        assets=names,
        equity_usd=equity,
        start=first,
        end=last,
        own_impact=own_impact.value,
    )
    with working("running the loop"):
        found = _read(path, protocols, confirm_percent=confirm_percent)
        market = _market(path, prices, gas, risk)
        result = run_loop_backtest(found, settings, market)
    report_run(
        result, market, _facts(path, settings), out=out, as_notebook=as_notebook, as_json=json_
    )


@app.command("stats")
def stats(
    rates: RatesOption = None,
    chains: NamesOption = None,
    protocols: NamesOption = None,
    assets: NamesOption = None,
    gas_usd: Annotated[
        float, typer.Option(metavar="USD", help="One transaction, for the rebalancing table.")
    ] = 0.06,
    equity: Annotated[float, typer.Option(help="Capital of the rebalancing table.")] = 10_000.0,
    out: OutOption = None,
    confirm_percent: PercentOption = False,
    json_: JsonOption = False,
) -> None:
    """Describe supply and borrow rates by pool and chain, spreads, and the cost of rebalancing."""
    path = _needed(rates)
    check_out_directory(out)
    from stableyield.loops import choose_markets, rebalancing_costs
    from stableyield.report.loop_files import statistic_frames, write_frame

    found = choose_markets(
        _read(path, protocols, confirm_percent=confirm_percent),
        chains=_names(chains) or None,
        protocols=_names(protocols) or None,
        assets=_names(assets) or None,
    )
    costs = rebalancing_costs(gas_usd, equity)
    frames = statistic_frames(found) | {"rebalancing_costs": costs}
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for name, frame in frames.items():
            write_frame(frame, out, name)
    if json_:
        print_json({name: records(f) for name, f in frames.items() if name != "spreads"})
        return
    for name, title in (
        ("pool_statistics", "Pools, APR in percent"),
        ("chain_statistics", "Chains, the daily values of all pools"),
        ("spread_statistics", "Best spread of two coins, percentage points"),
        ("rebalancing_costs", "Gas of rebalancing"),
    ):
        print_frame(title, frames[name])
    say_where(out)


@app.command("stress")
def stress(
    leverage: LeverageOption = None,
    assets: NamesOption = None,
    max_loss: MaxLossOption = None,
    threshold: ThresholdOption = 0.78,
    out: OutOption = None,
    json_: JsonOption = False,
) -> None:
    """Show what known and imagined shocks do to a loop, by leverage; or choose the leverage."""
    check_out_directory(out)
    from stableyield.loops.stress import LEVERAGES, bonus_of, shocks_of, stress_table

    names = _names(assets)
    shocks = shocks_of(names) if names else shocks_of(None)
    sizes = LEVERAGES if leverage is None else (leverage,)
    frame = stress_table(sizes, {threshold: bonus_of(threshold)}, shocks)
    chosen = None
    if max_loss is not None:
        chosen = _safe_leverage(max_loss, threshold, names)
    if out is not None:
        from stableyield.report.loop_files import write_frame

        out.mkdir(parents=True, exist_ok=True)
        write_frame(frame, out, "stress")
    if json_:
        print_json({"stress": records(frame), "max_loss_leverage": chosen})
        return
    print_frame(f"Loss of equity at liquidation threshold {threshold:g}", _shown(frame))
    if chosen is not None:
        console().print(
            f"largest leverage within {max_loss:.1%}: {chosen['leverage']:.2f} "
            f"(bound by {chosen['bound_by']})",
            soft_wrap=True,
        )
    say_where(out)


def _facts(path: Path, settings: LoopSettings) -> dict[str, Any]:
    """What a reader needs to run it again."""
    from dataclasses import asdict

    from stableyield import __version__
    from stableyield.config import sha256_of
    from stableyield.market.tables import sha256_of as sha256_of_file

    facts = {"rates": str(path), "settings_sha256": sha256_of(asdict(settings))}
    if path.is_file():
        facts["data_sha256"] = sha256_of_file(path)
    return {**facts, "code_version": __version__}


def _shown(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns of a stress table that fit a terminal."""
    names = {
        "shock": "shock",
        "leverage": "times",
        "loss_pct": "loss %",
        "end_loss_pct": "at end %",
        "min_health_factor": "min HF",
        "is_liquidated": "liquidated",
        "is_stuck": "stuck",
    }
    return frame[list(names)].rename(columns=names)


# --- reading what was typed -----------------------------------------------------------------------


def _refuse_options_before(context: typer.Context) -> None:
    given = [n for n in context.params if _is_typed(context, n)]
    if given:
        command = context.invoked_subcommand
        raise InputError(
            f"--{given[0].rstrip('_').replace('_', '-')} stands before {command}",
            remedy=f"write it after: stableyield loop {command} --...",
        )


def _is_typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _needed(rates: Path | None) -> Path:
    if rates is None:
        raise InputError(
            "--rates is missing", remedy="name a file or directory: stableyield loop --rates FILE"
        )
    return rates


def _names(text: str | None) -> tuple[str, ...]:
    """Names between commas; none where nothing is given."""
    if text is None:
        return ()
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if not names:
        raise InputError(f"{text!r} names nothing", remedy="write names with commas between them")
    return names


def _target(
    ltv: float | None,
    steps: tuple[int | None, float | None],
    leverage: float | None,
    health_factor: float | None,
) -> LoopTarget:
    from stableyield.loops import LoopTarget
    from stableyield.loops.as_notebook import NOTEBOOK_ROUNDS

    rounds, stop_share = steps
    if ltv is not None and rounds is None and stop_share is None:
        rounds = NOTEBOOK_ROUNDS
    return LoopTarget(ltv, rounds, stop_share, leverage, health_factor)


def _within_loss(
    target: LoopTarget, max_loss: float, threshold: float, assets: tuple[str, ...]
) -> LoopTarget:
    """The leverage that the stress set allows, where nothing else fixes it."""
    from stableyield.loops import LoopTarget

    if target != LoopTarget():
        raise InputError(
            "--max-loss is given with another leverage", remedy="it chooses the leverage itself"
        )
    return LoopTarget(leverage=float(_safe_leverage(max_loss, threshold, assets)["leverage"]))


def _safe_leverage(max_loss: float, threshold: float, assets: tuple[str, ...]) -> dict[str, Any]:
    from stableyield.loops.accounting import LiquidationTerms
    from stableyield.loops.stress import bonus_of, leverage_for_max_loss, shocks_of

    terms = LiquidationTerms(threshold, bonus_of(threshold))
    found = leverage_for_max_loss(max_loss, terms, shocks_of(assets or None))
    return {
        "leverage": found.leverage,
        "loss_pct": 100.0 * found.loss,
        "bound_by": found.worst_shock,
    }


def _read(path: Path, protocols: str | None, *, confirm_percent: bool) -> tuple[LoopRates, ...]:
    """The markets; a wide frame is of the one protocol that is named, or of Aave v3."""
    from stableyield.loops import read_loop_rates

    names = _names(protocols)
    protocol = names[0] if len(names) == 1 else "aave-v3"
    return read_loop_rates(path, protocol=protocol, confirm_percent=confirm_percent)


def _market(path: Path, prices: Path | None, gas: Path | None, risk: Path | None) -> LoopMarket:
    """Prices and gas as named, or from beside the rates; our tables, or the collected layouts."""
    from stableyield.loops import LoopMarket, read_risk_table
    from stableyield.market.layouts.importer import GAS_FILE, PRICES_FILE
    from stableyield.market.layouts.side_data import read_gas, read_stablecoin_prices

    return LoopMarket(
        prices=_side_table(path, prices, ("prices_daily", PRICES_FILE), read_stablecoin_prices),
        gas=_side_table(path, gas, ("gas_daily", GAS_FILE), read_gas),
        risk=None if risk is None else read_risk_table(risk),
    )


def _side_table(
    rates: Path, given: Path | None, names: tuple[str, str], layout: Any
) -> pd.DataFrame | None:
    from stableyield.market.tables import FILE_FORMATS, read_table

    own, collected = names
    directory = rates if rates.is_dir() else rates.parent
    beside = [*(f"{own}.{ending}" for ending in FILE_FORMATS), collected]
    path = given or next((p for name in beside if (p := directory / name).is_file()), None)
    if path is None:
        return None
    table = read_table(path)
    is_collected = "avg_gas_gwei" in table or {"symbol", "source"} <= set(table.columns)
    return layout(table) if is_collected else table
