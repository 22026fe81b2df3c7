"""The sparse model as HiGHS wants it: no entry twice, none too small, sorted by column."""

from __future__ import annotations

import highspy
import numpy as np
import pytest

from stableyield.allocation import solver
from stableyield.allocation.solver import (
    Effort,
    LinearRelaxation,
    solve_mip,
    solve_with_pattern,
)
from stableyield.allocation.sparse import SMALLEST_ENTRY, ModelBuilder, SparseModel
from stableyield.errors import SolverError


def _dense(model: SparseModel) -> np.ndarray:
    matrix = np.zeros((len(model.row_lower), len(model.cost)))
    for column in range(len(model.cost)):
        for place in range(model.start[column], model.start[column + 1]):
            assert matrix[model.index[place], column] == 0.0  # never twice
            matrix[model.index[place], column] = model.value[place]
    return matrix


def test_repeated_entries_add_up_and_what_cancels_is_left_out() -> None:
    b = ModelBuilder()
    x = b.columns(2)
    first, second = b.row("first", upper=1.0), b.row("second", lower=0.0)
    b.put(first, x, [1.0, 2.0])
    b.put(first, x[0], 0.5)
    b.put(second, x[1], 3.0)
    b.put(second, x[1], -3.0)
    model = b.build()
    assert _dense(model).tolist() == [[1.5, 2.0], [0.0, 0.0]]
    assert len(model.value) == 2
    assert model.row_names == ("first", "second")


def test_many_rows_of_one_name_follow_each_other() -> None:
    b = ModelBuilder()
    x = b.columns(3)
    b.row("first")
    rows = b.rows("each", 3, upper=2.0)
    b.put(rows, x, 1.0)
    b.put(rows[:2, None], x[None, 1:], 5.0)
    model = b.build()
    assert rows.tolist() == [1, 2, 3]
    assert model.row_names == ("first", "each", "each", "each")
    assert model.row_upper.tolist() == [np.inf, 2.0, 2.0, 2.0]
    assert _dense(model).tolist() == [[0, 0, 0], [1, 5, 5], [0, 6, 5], [0, 0, 1]]


def test_entries_that_the_solver_would_drop_are_left_out() -> None:
    b = ModelBuilder()
    x = b.columns(2)
    b.put(b.row("r"), x, [SMALLEST_ENTRY, 2.0 * SMALLEST_ENTRY])
    assert _dense(b.build()).tolist() == [[0.0, 2.0 * SMALLEST_ENTRY]]


def test_costs_add_up() -> None:
    b = ModelBuilder()
    x = b.columns(2, cost=[1.0, 2.0])
    b.add_cost(x, [10.0, 20.0])
    b.add_cost(x[[0, 0]], 100.0)
    assert b.build().cost.tolist() == [211.0, 22.0]


def test_a_model_without_rows_or_entries_is_a_model() -> None:
    b = ModelBuilder()
    b.columns(1, cost=1.0, upper=2.0)
    model = b.build()
    assert model.start.tolist() == [0, 0]
    result = solve_mip(model, Effort(0.0, 5.0))
    assert (result.status, result.objective) == ("optimal", 2.0)


# --- the solver ---


def _knapsack() -> SparseModel:
    """Take 5 of 3 + 4 + 2 kilograms worth 4, 5 and 3: the best is 3 + 2 kilograms, worth 7."""
    b = ModelBuilder()
    x = b.binaries(3, cost=[4.0, 5.0, 3.0])
    b.put(b.row("weight", upper=5.0), x, [3.0, 4.0, 2.0])
    return b.build()


def test_a_program_is_maximised() -> None:
    result = solve_mip(_knapsack(), Effort(0.0, 5.0))
    assert result.status == "optimal"
    assert result.objective == result.bound == pytest.approx(7.0)
    assert np.round(result.x).tolist() == [1.0, 0.0, 1.0]


def test_the_pattern_of_a_solution_is_kept_and_has_duals() -> None:
    b = ModelBuilder()
    switch, amount = b.binaries(1), b.columns(1, cost=2.0)
    row = b.row("switched on", upper=0.0)
    b.put(row, amount, 1.0)
    b.put(row, switch, -10.0)
    result = solve_with_pattern(b.build(), np.array([0.9999999, 9.999999]))
    assert result.x.tolist() == [1.0, 10.0]
    assert result.objective == 20.0
    assert result.row_dual.tolist() == [2.0]


def test_a_contradiction_is_infeasible() -> None:
    b = ModelBuilder()
    x = b.columns(1, upper=1.0)
    b.put(b.row("too much", lower=2.0), x, 1.0)
    result = solve_mip(b.build(), Effort(0.0, 5.0))
    assert (result.status, result.x) == ("infeasible", None)


def test_a_pattern_that_cannot_be_met_is_a_bug_and_says_so() -> None:
    b = ModelBuilder()
    x = b.binaries(1)
    b.put(b.row("on", lower=1.0), x, 1.0)
    with pytest.raises(SolverError, match="rounded solution is infeasible"):
        solve_with_pattern(b.build(), np.array([0.2]))


def test_an_unbounded_program_is_an_error() -> None:
    b = ModelBuilder()
    x = b.columns(1, cost=1.0)
    b.put(b.row("none", lower=0.0), x, 1.0)
    with pytest.raises(SolverError, match="HiGHS stopped with"):
        solve_mip(b.build(), Effort(0.0, 5.0))


def test_a_model_that_the_solver_refuses_is_an_error() -> None:
    b = ModelBuilder()
    b.put(b.row("nonsense", upper=1.0), b.columns(1), np.inf)
    with pytest.raises(SolverError, match="refuses the model"):
        solve_mip(b.build(), Effort(0.0, 5.0))


def test_an_option_that_the_solver_does_not_take_is_an_error() -> None:
    with pytest.raises(SolverError, match="refuses the option time_limit"):
        solve_mip(_knapsack(), Effort(0.0, -1.0))


def _linear() -> SparseModel:
    b = ModelBuilder()
    b.put(b.row("room", upper=1.0), b.columns(1, cost=1.0), 1.0)
    return b.build()


@pytest.mark.parametrize("n_given_up", [1, 2])
def test_a_solver_that_gives_up_is_asked_in_another_way(
    monkeypatch: pytest.MonkeyPatch, n_given_up: int
) -> None:
    asked: list[str] = []
    run = solver._run

    def gives_up(highs: highspy.Highs) -> tuple[str, float]:
        asked.append(highs.getOptionValue("presolve")[1])
        status, seconds = run(highs)
        return (solver.UNDECIDED if len(asked) <= n_given_up else status), seconds

    monkeypatch.setattr(solver, "_run", gives_up)
    assert solve_mip(_linear(), Effort(0.0, 10.0)).status == "optimal"
    assert asked == ["off", *["on"] * n_given_up]


def test_a_solver_that_never_answers_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solver, "_run", lambda _: (solver.UNDECIDED, 0.0))
    with pytest.raises(SolverError, match="without an answer"):
        solve_mip(_linear(), Effort(0.0, 10.0))


def _three_columns() -> SparseModel:
    b = ModelBuilder()
    x = b.columns(3, upper=[1.0, 2.0, 3.0], cost=[1.0, 1.0, 1.0])
    b.put(b.row("only if the first", upper=0.0), x[:2], [-1.0, 1.0])
    b.put(b.row("both", upper=4.0), x[1:], [1.0, 2.0])
    b.put(b.row("at least one", lower=1.0), x[0], 1.0)
    return b.build()


def test_rows_can_be_added_to_a_model() -> None:
    more = _three_columns().with_rows(
        "more",
        np.array([0, 2, 3]),
        np.array([0, 2, 1]),
        np.array([5.0, 6.0, 7.0]),
        np.array([8.0, 9.0]),
    )
    assert _dense(more).tolist()[3:] == [[5.0, 0.0, 6.0], [0.0, 7.0, 0.0]]
    assert _dense(more).tolist()[:3] == _dense(_three_columns()).tolist()
    assert more.row_names[3:] == ("more", "more")
    assert more.row_upper[3:].tolist() == [8.0, 9.0]
    assert np.all(np.isneginf(more.row_lower[3:]))


def test_columns_and_rows_can_be_left_out() -> None:
    model = _three_columns()
    gone = np.array([False, True, False])
    smaller, column, row = model.without(gone, np.array([True, False, False]))
    assert _dense(smaller).tolist() == [[0.0, 2.0], [1.0, 0.0]]
    assert smaller.upper.tolist() == [1.0, 3.0]
    assert smaller.row_names == ("both", "at least one")
    assert column.tolist() == [0, -1, 1]
    assert row.tolist() == [-1, 0, 1]


def test_a_row_that_nothing_can_meet_any_more_stays() -> None:
    smaller, _, row = _three_columns().without(np.array([True, True, True]), np.zeros(3, bool))
    assert smaller.row_names == ("at least one",)
    assert row.tolist() == [-1, -1, 0]


def test_what_only_a_column_that_is_zero_allows_is_zero() -> None:
    zero = _three_columns().forced_to_zero(np.array([True, False, False]))
    assert zero.tolist() == [True, True, False]
    assert not _three_columns().forced_to_zero(np.zeros(3, bool)).any()


def test_an_entry_is_found_by_row_and_column() -> None:
    model = _three_columns()
    places = model.places(np.array([1, 0]), np.array([2, 1]))
    assert model.value[places].tolist() == [2.0, 1.0]


def test_a_relaxation_is_solved_again_with_more_rows() -> None:
    linear = LinearRelaxation(_three_columns(), 60.0)
    assert linear.solve().objective == pytest.approx(1.0 + 1.0 + 1.5)
    linear.add_rows(np.array([0, 1]), np.array([0]), np.array([2.0]), np.array([2.0]))
    linear.add_rows(np.array([0, 1]), np.array([1]), np.array([4.0]), np.array([2.0]))
    again = linear.solve()
    assert again.objective == pytest.approx(1.0 + 0.5 + 1.75)
    assert again.row_dual is not None
    assert len(again.row_dual) == 5
    linear.add_rows(np.array([0, 1]), np.array([0]), np.array([1.0]), np.array([0.5]))
    nothing = linear.solve()
    assert (nothing.status, nothing.x) == ("infeasible", None)
