"""Token buckets: bursts, refill, who is counted as whom, bounded memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shahar.model.access import ANONYMOUS, OPEN, PUBLIC, Actor
from shahar.values.bounds import BURST_NOTIFIED
from shahar.values.errors import TooFast
from shahar.values.instants import HOUR, SECOND, Instant
from shahar.web.rates import SHIPPED, Rate, Rates, place_of

NOW = 1_800_000_000 * SECOND
ALI = Actor("key:1", "key", "Ali")
VALI = Actor("key:2", "key", "Vali")


def passed(rates: Rates, actor: Actor, peer: str | None, at: Instant, tries: int) -> int:
    """How many of `tries` requests pass."""
    through = 0
    for _ in range(tries):
        try:
            rates.take(actor, peer, at)
        except TooFast:
            continue
        through += 1
    return through


def test_a_burst_passes_and_then_as_many_as_the_rate() -> None:
    rates = Rates({"key": Rate(2, 5)})
    assert passed(rates, ALI, None, NOW, 10) == 5
    assert passed(rates, ALI, None, NOW + SECOND, 10) == 2
    assert passed(rates, ALI, None, NOW + HOUR, 10) == 5
    assert rates.refused == 5 + 8 + 5


def test_the_refusal_says_when_the_next_one_passes() -> None:
    rates = Rates({"key": Rate(0.1, 1)})
    rates.take(ALI, None, NOW)
    with pytest.raises(TooFast) as refusal:
        rates.take(ALI, None, NOW + 2 * SECOND)
    assert refusal.value.retry_after_s == 8
    rates.take(ALI, None, NOW + 10 * SECOND)


def test_actors_do_not_use_up_each_others_rate() -> None:
    rates = Rates({"key": Rate(1, 1)})
    assert passed(rates, ALI, "10.0.0.1", NOW, 3) == 1
    assert passed(rates, VALI, "10.0.0.1", NOW, 3) == 1
    assert passed(rates, ALI, "10.0.0.2", NOW, 3) == 0


def test_nobody_is_counted_by_address() -> None:
    rates = Rates({"anonymous": Rate(1, 2)})
    assert passed(rates, PUBLIC, "10.0.0.1", NOW, 5) == 2
    assert passed(rates, ANONYMOUS, "10.0.0.1", NOW, 5) == 0
    assert passed(rates, PUBLIC, "10.0.0.2", NOW, 5) == 2
    assert passed(rates, PUBLIC, None, NOW, 5) == 2


def test_an_address_is_counted_with_its_household() -> None:
    def check(one: str, other: str, same: bool) -> None:
        assert (place_of(one) == place_of(other)) is same

    check("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True)
    check("2001:db8:1:2::1", "2001:db8:1:3::1", False)
    check("fe80::1%eth0", "fe80::1%eth1", True)
    check("10.0.0.1", "::ffff:10.0.0.1", True)
    check("10.0.0.1", "10.0.0.2", False)
    check("not:an:address", "not:an:address", True)


def test_open_access_is_not_counted_unless_a_rate_is_set() -> None:
    assert passed(Rates(), OPEN, "127.0.0.1", NOW, 50_000) == 50_000
    assert passed(Rates({**SHIPPED, "open": Rate(1, 3)}), OPEN, "127.0.0.1", NOW, 10) == 3


def test_wrong_credentials_of_an_address_are_counted_apart() -> None:
    rates = Rates({"anonymous": Rate(1, 1)})
    for _ in range(20):
        rates.take_attempt("10.0.0.1", NOW)
    with pytest.raises(TooFast):
        rates.take_attempt("10.0.0.1", NOW)
    rates.take_attempt("10.0.0.2", NOW)
    rates.take(PUBLIC, "10.0.0.1", NOW)


def test_a_sources_notifications_are_counted_by_what_they_are_about() -> None:
    rates = Rates()

    def taken(name: str) -> int:
        for number in range(BURST_NOTIFIED + 10):
            try:
                rates.take_source(name, NOW)
            except TooFast:
                return number
        return -1

    assert (taken("one"), taken("other")) == (BURST_NOTIFIED, BURST_NOTIFIED)


def test_memory_is_bounded_and_forgets_what_was_unused_for_longest() -> None:
    rates = Rates({"anonymous": Rate(1, 1)}, memory=10)
    rates.take(PUBLIC, "10.9.9.9", NOW)
    for number in range(1_000):
        rates.take(PUBLIC, f"10.0.{number // 256}.{number % 256}", NOW)
        assert passed(rates, PUBLIC, "10.9.9.9", NOW, 1) == 0
    assert len(rates) == 10


def test_a_clock_that_is_set_back_gives_nothing_and_blocks_nobody() -> None:
    rates = Rates({"key": Rate(1, 2)})
    assert passed(rates, ALI, None, NOW, 5) == 2
    assert passed(rates, ALI, None, NOW - HOUR, 5) == 0
    assert passed(rates, ALI, None, NOW - HOUR + SECOND, 5) == 1


def test_a_request_dearer_than_the_bucket_passes_when_it_is_full() -> None:
    rates = Rates({"key": Rate(1, 10)})
    rates.take(ALI, None, NOW, cost=1_000)
    assert passed(rates, ALI, None, NOW, 1) == 0


@given(st.lists(st.integers(0, 3 * SECOND), min_size=1, max_size=60))
def test_no_more_pass_than_the_burst_and_the_rate_allow(gaps: list[int]) -> None:
    rates, at, through = Rates({"key": Rate(2, 5)}), NOW, 0
    for gap in gaps:
        at += gap
        through += passed(rates, ALI, None, at, 3)
        assert through <= 5 + 2 * (at - NOW) / SECOND + 1e-6
