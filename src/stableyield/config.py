"""Parameters: every name typed, bounded and with its unit; unknown names are refused.

Names ending in ``_pct``, ``_percentage``, ``_limit`` (shares), the group thresholds and the icebox
thresholds are **fractions** (0.25 = 25 %, 0.01 = 1 percentage point), as the research notebooks had
them; amounts in ``_usd``, ``min_transaction_value``, ``token_marketcap_limit`` and
``pool_tvl_limit`` are US dollars.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from stableyield.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Mapping

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Usd = Annotated[float, Field(ge=0.0, le=1e15)]
Deviation = Annotated[float, Field(ge=0.0, le=100.0)]
Days = Annotated[int, Field(ge=1, le=3650)]
Names = tuple[str, ...]


class AllocationParameters(BaseModel):
    """All parameters of one allocation decision, of its screening and of its backtest.

    The first block carries the names of the research notebooks; the second block is ours.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    # --- the notebooks' parameters -----------------------------------------------------------
    max_alloc_percentage: Share = 0.25
    """Largest share of AUM in one pool."""
    conversion_rate: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0004
    """Fee of a conversion, as a fraction of the USD sold."""
    min_transaction_value: Usd = 50.0
    """Smallest deposit, withdrawal or conversion, USD per leg; a full exit may be smaller."""
    tvl_limit_percentage: Share = 0.05
    """Largest position as a share of the pool's forecast TVL."""
    min_pools: Annotated[int, Field(ge=0, le=1000)] = 5
    """Fewest pools with a position of at least ``min_pool_share`` of AUM."""
    token_marketcap_limit: Usd = 1e9
    """Smallest market capitalisation of an underlying token, USD."""
    pool_tvl_limit: Usd = 1e5
    """Smallest forecast TVL of a pool that may be bought, USD."""
    pool_apy_limit: Annotated[float, Field(ge=-1.0, le=100.0)] = 0.01
    """Smallest forecast APY (fraction) of a pool that may be bought."""
    pool_pair_tvl_ratio_min: Share = 0.3
    """Smallest share of a token in a two-token pool; scaled by 2/n for n tokens."""
    pool_pair_tvl_ratio_max: Share = 0.5
    """Largest value of the *smallest* token share; scaled by 2/n for n tokens."""
    group1_max_pct: Share = 0.35
    """Largest share of AUM in pools of risk group 1."""
    group2_max_pct: Share = 0.35
    """Largest share of AUM in pools of risk group 2."""
    group3_max_pct: Share = 0.30
    """Largest share of AUM in pools of risk group 3."""
    position_max_pct_total_assets: Share = 0.25
    """Largest position as a share of AUM."""
    position_max_pct_pool_tvl: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.05
    """Largest position as a share of the pool's TVL, our own money included."""
    group1_apy_delta_max: Deviation = 0.01
    """Group 1: largest one-day move of the APY (fraction: 0.01 = 1 point)."""
    group1_7d_stddev_max: Deviation = 0.015
    """Group 1: largest 7-day standard deviation of the APY (fraction)."""
    group1_30d_stddev_max: Deviation = 0.02
    """Group 1: largest 30-day standard deviation of the APY (fraction)."""
    group2_apy_delta_max: Deviation = 0.03
    """Group 2: largest one-day move of the APY (fraction)."""
    group2_7d_stddev_max: Deviation = 0.04
    """Group 2: largest 7-day standard deviation of the APY (fraction)."""
    group2_30d_stddev_max: Deviation = 0.05
    """Group 2: largest 30-day standard deviation of the APY (fraction)."""
    group3_apy_delta_min: Deviation = 0.03
    """Kept for the notebooks: group 3 is whatever is not group 1 or 2."""
    group3_7d_stddev_min: Deviation = 0.04
    """Kept for the notebooks: group 3 is whatever is not group 1 or 2."""
    group3_30d_stddev_min: Deviation = 0.02
    """Kept for the notebooks: group 3 is whatever is not group 1 or 2."""
    icebox_ohlc_l_threshold_pct: Share = 0.02
    """A day's low this far below the peg is a low breach."""
    icebox_ohlc_l_days_threshold: Days = 2
    """Consecutive low breaches that put a token into the icebox."""
    icebox_ohlc_c_threshold_pct: Share = 0.01
    """A day's close this far below the peg is a close breach."""
    icebox_ohlc_c_days_threshold: Days = 1
    """Consecutive close breaches that put a token into the icebox."""
    icebox_recovery_l_days_threshold: Days = 2
    """Consecutive days without a low breach that are needed to leave the icebox."""
    icebox_recovery_c_days_threshold: Days = 3
    """Consecutive days without a close breach that are needed to leave the icebox."""

    # --- ours: the decision ------------------------------------------------------------------
    horizon_days: Annotated[float, Field(gt=0.0, le=3650.0)] = 30.0
    """Days over which the gain of a move is weighed against its cost."""
    min_position_usd: Usd = 50.0
    """Smallest position that may be left in a pool, USD."""
    min_pool_share: Share = 0.01
    """A pool counts for ``min_pools`` from this share of AUM on."""
    risk_aversion: Share = 0.5
    """Weight g of the pessimistic forecast: ``(1 - g) mean + g q10``."""
    profit_optimization: bool = False
    """True: ignore ``min_pools`` (one pool is enough) and the share-of-AUM caps."""
    cap_tolerance: Share = 0.10
    """A held position may exceed a cap by this share before it must be trimmed."""
    gas_per_leg: bool = True
    """True: a deposit or withdrawal pays gas for each token of the pool."""
    cash_apy: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """APY (fraction) that idle cash earns in the optimiser's objective."""
    min_invested_pct: Share = 0.0
    """Smallest share of AUM that must be in pools after the plan."""
    min_gain_usd: Usd = 1.0
    """Daily run: least expected net gain over holding, USD over the horizon, to move money for."""
    gap_usd: Annotated[float, Field(gt=0.0, le=1e6)] | None = None
    """Optimality gap in USD of gain; absent: 1 % of the smallest fixed cost, at least 0.01."""
    time_limit_seconds: Annotated[float, Field(gt=0.0, le=86400.0)] = 60.0
    """Longest time that the solver may take for one plan."""
    mode: Literal["fast", "standard", "proven"] = "standard"
    """Problems of more than 60 pools: a plan with whatever certificate it has, a gap of at most
    0.5 % of the gain, or ``gap_usd``; smaller ones are always solved to ``gap_usd``."""
    own_impact: Literal["pro_rata", "none"] = "pro_rata"
    """How our deposit dilutes a pool's yield: revenue shared with the others, or not at all."""

    # --- ours: approved lists (empty: everything is approved) ---------------------------------
    approved_chains: Names = ()
    """Chains that may be used; empty: all."""
    approved_protocols: Names = ()
    """Protocols that may be used; empty: all."""
    approved_tokens: Names = ()
    """Tokens (symbol, or chain:address) that may be used; empty: all."""
    blacklisted_tokens: Names = ()
    """Tokens (symbol, or chain:address) that may never be bought."""
    min_history_days: Annotated[int, Field(ge=2, le=3650)] = 7
    """Days of APY history that a pool needs before it may be bought."""

    # --- ours: policies for missing data and failure ------------------------------------------
    unknown_market_cap: Literal["accept", "reject"] = "accept"
    """A token whose market capitalisation is unknown: accept it, flagged, or reject it."""
    icebox_exit: Literal["hold", "exit"] = "hold"
    """Positions in an iceboxed token: may only fall (hold) or must be left (exit)."""
    missing_actual: Literal["zero", "last", "raise"] = "zero"
    """A held pool without a realised return: earns 0 that day, its last return, or stop."""
    missing_price: Literal["raise", "last"] = "raise"
    """A held token without a price today: stop, or use its last price of at most 7 days ago."""
    delisting_loss: Share = 0.0
    """Share of a position that is lost on the day its pool leaves the live list."""
    on_failure: Literal["hold", "raise", "relax"] = "hold"
    """A day without a feasible plan: hold the book, stop, or relax limits in a stated order."""

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_values(cls, value: object, info: ValidationInfo) -> object:
        kind = cls.model_fields[info.field_name or ""].annotation
        if isinstance(value, bool) and kind is not bool:
            msg = "a number or a text is needed, not true or false"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _consistent(self) -> AllocationParameters:
        if self.pool_pair_tvl_ratio_min > self.pool_pair_tvl_ratio_max:
            msg = "pool_pair_tvl_ratio_min must not exceed pool_pair_tvl_ratio_max"
            raise ValueError(msg)
        for name in ("apy_delta_max", "7d_stddev_max", "30d_stddev_max"):
            if getattr(self, f"group1_{name}") > getattr(self, f"group2_{name}"):
                msg = f"group1_{name} must not exceed group2_{name}"
                raise ValueError(msg)
        return self

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> AllocationParameters:
        """Parameters from names and values, with defaults for what is not named.

        Raises
        ------
        ParameterError
            For an unknown name, a wrong type or a value out of bounds, naming each offender.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise _parameter_error(error) from error

    def with_overrides(self, assignments: Mapping[str, object]) -> AllocationParameters:
        """A copy with some values replaced; text values are read as the command line gives them.

        A comma separates the members of a list: ``approved_chains=Ethereum,Arbitrum``.
        """
        values: dict[str, object] = dict(self.model_dump())
        for name, value in assignments.items():
            if isinstance(value, str) and isinstance(values.get(name), tuple):
                values[name] = tuple(part.strip() for part in value.split(",") if part.strip())
            else:
                values[name] = value
        return self.from_mapping(values)

    @property
    def group_max_pct(self) -> dict[int, float]:
        """Largest share of AUM of each risk group, by group number."""
        return {1: self.group1_max_pct, 2: self.group2_max_pct, 3: self.group3_max_pct}


class Settings(BaseSettings):
    """What the environment says: variables ``STABLEYIELD_NAME``; nothing else reads it.

    Keys and passwords are `SecretStr`: they are shown as stars, wherever they are printed.
    """

    model_config = SettingsConfigDict(
        env_prefix="STABLEYIELD_", frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    database_url: SecretStr | None = None
    """``sqlite:///PATH`` or ``postgresql://USER:PASSWORD@HOST/DATABASE``; absent: a file here."""
    output_dir: Path = Path("stableyield-runs")
    """Where each run leaves its plan, its report and its notification."""
    cache_dir: Path = Path(".stableyield-cache")
    """Answers of providers, kept so that a download can be taken up again."""
    defillama_key: SecretStr | None = None
    """Pro key of DefiLlama: lend/borrow history."""
    cmc_key: SecretStr | None = None
    """Key of CoinMarketCap: OHLCV."""
    cmc_ids: dict[str, str] = Field(default_factory=dict)
    """CoinMarketCap numbers of further tokens, as JSON: ``{"PYUSD": "27772"}``."""
    etherscan_key: SecretStr | None = None
    """Key of Etherscan: gas and balances."""
    wallet_address: str | None = None
    """The address whose token balances are observed."""
    slack_webhook: SecretStr | None = None
    """Where a run reports; the URL is a secret."""
    smtp_host: str | None = None
    """Mail server; absent: no mail."""
    smtp_port: Annotated[int, Field(ge=1, le=65535)] = 587
    """Its port; 465 speaks TLS from the start, others by STARTTLS where the server offers it."""
    smtp_user: str | None = None
    """Absent: no login."""
    smtp_password: SecretStr | None = None
    """Of ``smtp_user``."""
    mail_from: str | None = None
    """Sender."""
    mail_to: str | None = None
    """Receivers, with commas between them."""

    @classmethod
    def load(cls) -> Settings:
        """The settings of this process.

        Raises
        ------
        ParameterError
            When a variable has a value that does not fit; the value is not repeated.
        """
        try:
            return cls()
        except SettingsError as error:  # a text that should be JSON
            name = str(error).partition('"')[2].partition('"')[0].upper()
            raise ParameterError(
                f"STABLEYIELD_{name} is not a JSON document",
                where="environment",
                remedy="variables are listed in docs/operations.md",
            ) from None
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            name = "_".join(str(part) for part in first["loc"]).upper()
            raise ParameterError(
                f"STABLEYIELD_{name}: {first['msg']}",
                where="environment",
                remedy="variables are listed in docs/operations.md",
            ) from None


def _parameter_error(error: ValidationError) -> ParameterError:
    known = sorted(AllocationParameters.model_fields)
    lines = []
    for problem in error.errors():
        name = ".".join(str(part) for part in problem["loc"]) or "parameters"
        if problem["type"] == "extra_forbidden":
            lines.append(f"unknown parameter {name!r}{_did_you_mean(name, known)}")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            lines.append(f"parameter {name}: {message}, got {problem['input']!r}"[:300])
    return ParameterError(
        lines[0],
        remedy="names and bounds are listed in docs/parameters.md",
        details=tuple(lines[1:]),
    )


def _did_you_mean(name: str, known: list[str]) -> str:
    import difflib  # noqa: PLC0415 - only on the error path

    close = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def canonical_json(value: Any) -> str:
    """One text for equal content: sorted keys, no white space, shortest float form, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain)


def sha256_of(value: Any) -> str:
    """Hexadecimal sha256 of `canonical_json`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "isoformat"):
        return value.isoformat()
    msg = f"cannot write {type(value).__name__} as JSON"
    raise TypeError(msg)
