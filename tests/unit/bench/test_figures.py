"""Tests how the measurements turn what they have seen into figures."""

import random
from io import StringIO
from itertools import pairwise
from typing import Any

import pytest
from rich.console import Console

from bench.errors import BenchFailed
from bench.load import answered
from bench.percentiles import median_of, percentile_ms, ratio
from bench.realtime import posting
from bench.realtime.fan_out import Shape, users_of
from bench.suites import realtime


def test_percentiles_are_milliseconds() -> None:
    seconds = [number / 1000 for number in range(1, 102)]
    assert (percentile_ms(seconds, 50), percentile_ms(seconds, 99)) == (51.0, 100.0)


def test_the_median_round_counts_for_each_figure_by_itself() -> None:
    assert median_of([{"a": 1, "b": 9}, {"a": 3, "b": 7}, {"a": 2, "b": 8}]) == {"a": 2, "b": 8}


def test_a_ratio_compares_round_with_round_and_shows_its_spread() -> None:
    compared = ratio([3.0, 4.0, 10.0], [2.0, 4.0, 4.0])
    assert str(compared) == "1.5 x (1.0 to 2.5)"
    assert compared.shown(2) == "1.50 x (1.00 to 2.50)"
    assert ratio([2.0], [1.0]).shown(2) == "2.00 x"


def test_an_answer_is_whole_once_its_body_is_here() -> None:
    answer = b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\nok"
    assert [answered(answer[:size], 202) for size in (10, len(answer) - 1, len(answer))] == [False, False, True]
    with pytest.raises(BenchFailed, match="status 202: ok"):
        answered(answer, 200)


def test_requests_are_due_at_random_at_their_rate() -> None:
    moments = list(posting.moments(500, 20, random.Random(1)))
    assert moments == sorted(moments)
    assert 9_500 < len(moments) < 10_500
    gaps = {round(later - sooner, 4) for sooner, later in pairwise(moments)}
    assert len(gaps) > 50
    assert moments[-1] < 20


def test_devices_are_spread_over_users() -> None:
    assert users_of(Shape("narrow", 1, 1), 3, "r") == ["narrow-r-0", "narrow-r-1", "narrow-r-2"]
    assert users_of(Shape("wide", 2, 1), 3, "r") == ["wide-r-0", "wide-r-0", "wide-r-1"]


def with_rounds(*rounds: dict[str, float]) -> dict[str, Any]:
    return {**median_of(rounds), "rounds": list(rounds)}


def costing(cpu_us: float) -> dict[str, float]:
    """Returns a round in which a frame to one of many devices costs this much."""
    return {figure: 7.0 for _, figure, _ in realtime.SERVERS} | {"frame_bytes": 340, "wide_cpu_us": cpu_us}


def test_the_tables_compare_the_servers_and_show_every_figure() -> None:
    way = with_rounds({figure: 1234.5 for _, figure, _ in realtime.WAY})
    servers = {"ours": with_rounds(costing(8), costing(10)), "websockets": with_rounds(costing(12), costing(14))}
    console = Console(width=120, record=True, file=StringIO())
    console.print(realtime.tables({"sockets": 5_000, "servers": servers, "way": {"sqlite": way, "postgresql": way}}))
    shown = console.export_text()
    assert "frames of 340 bytes" in shown
    assert "1.45 x (1.40 to 1.50)" in shown
    assert shown.count("123") == 2 * len(realtime.WAY)
