"""``stableyield loop``: leveraged lending loops, over history, in numbers and under stress."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stableyield.cli.common import JsonOption, PercentOption, span_of
from stableyield.cli.loop_input import (
    facts_of,
    names_of,
    place_of,
    read_rates,
    read_surroundings,
)
from stableyield.cli.loop_output import print_frame, records, report_run, say_where
from stableyield.cli.outputs import check_out_directory
from stableyield.cli.terminal import console, print_json, working
from stableyield.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from stableyield.loops import LoopTarget

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
DatabaseOption = Annotated[
    str | None,
    typer.Option("--db", metavar="URL", help="Take rates, prices and gas from this database."),
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
    db: DatabaseOption = None,
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
    place = place_of(rates, db)
    if gas is not None and gas_usd is not None:
        raise InputError("--gas and --gas-usd are given together", remedy="give one of them")
    first, last = span_of(start, end)
    check_out_directory(out)
    from stableyield.loops import LoopCosts, LoopSettings, run_loop_backtest

    names = names_of(assets)
    target = _target(ltv, (rounds, stop_share), leverage, health_factor)
    if max_loss is not None:
        target = _within_loss(target, max_loss, threshold, names)
    settings = LoopSettings(
        target=target,
        costs=LoopCosts(execution=execution.value, gas_usd=gas_usd),
        chains=names_of(chains),
        protocols=names_of(protocols),
        assets=names,
        equity_usd=equity,
        start=first,
        end=last,
        own_impact=own_impact.value,
    )
    with working("running the loop"):
        found = read_rates(place, protocols, confirm_percent=confirm_percent)
        market = read_surroundings(place, prices=prices, gas=gas, risk=risk)
        result = run_loop_backtest(found, settings, market)
    report_run(
        result, market, facts_of(place, settings), out=out, as_notebook=as_notebook, as_json=json_
    )


@app.command("stats")
def stats(
    rates: RatesOption = None,
    db: DatabaseOption = None,
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
    place = place_of(rates, db)
    check_out_directory(out)
    from stableyield.loops import choose_markets, rebalancing_costs
    from stableyield.report.loop_files import statistic_frames, write_frame

    found = choose_markets(
        read_rates(place, protocols, confirm_percent=confirm_percent),
        chains=names_of(chains) or None,
        protocols=names_of(protocols) or None,
        assets=names_of(assets) or None,
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

    names = names_of(assets)
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
