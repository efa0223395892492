"""Joins come a few at a time, those on screen first, and never sooner than the relay asked."""

from collections.abc import Callable
from typing import Any

Script = Callable[..., Any]

QUEUE = """
    let now = 0;
    const timers = [], started = [], releases = {};
    const queue = new modules.joins.JoinQueue({
        limit: 4,
        now: () => now,
        later: (wait, then) => timers.push({ at: now + wait, then }),
    });
    const ask = (name, visible = true) =>
        queue.ask((release) => { started.push(name); releases[name] = release; }, () => visible);
    const settle = () => new Promise((resolve) => setTimeout(resolve));
    const pass = (wait) => { now += wait; timers.filter(({ at }) => at <= now).forEach(({ then }) => then()); };
"""


def test_at_most_four_at_once_and_each_turn_is_given_back_once(script: Script) -> None:
    body = """
        for (let index = 0; index < 10; index += 1) ask(index);
        await settle();
        const first = [...started];
        releases[2]();
        releases[2]();
        const second = [...started];
        [0, 1, 3, 4].forEach((index) => releases[index]());
        return [first, second, started, queue.active];
    """
    assert script(QUEUE + body) == [[0, 1, 2, 3], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5, 6, 7, 8], 4]


def test_those_on_screen_come_first(script: Script) -> None:
    body = """
        for (let index = 0; index < 4; index += 1) ask(`hidden ${index}`, false);
        ask("shown");
        await settle();
        return started;
    """
    assert script(QUEUE + body) == ["shown", "hidden 0", "hidden 1", "hidden 2"]


def test_a_turn_never_starts_before_it_can_be_withdrawn(script: Script) -> None:
    body = """
        const withdraw = ask("gone");
        const before = started.length;
        withdraw();
        ask("stays");
        await settle();
        return [before, started];
    """
    assert script(QUEUE + body) == [0, ["stays"]]


def test_a_full_relay_is_left_alone_for_as_long_as_it_asked(script: Script) -> None:
    body = """
        queue.hold(2000);
        queue.hold(500);
        ask("patient");
        await settle();
        const seen = [started.length];
        for (const wait of [500, 1499, 1]) { pass(wait); seen.push(started.length); }
        return seen;
    """
    assert script(QUEUE + body) == [0, 0, 0, 1]


def test_waits_grow_to_a_bound_and_honour_retry_after(script: Script) -> None:
    body = """
        const { Backoff } = modules.backoff;
        const waits = [0, 0.999999].map((random) => {
            const backoff = new Backoff({ first: 400, longest: 15000, random: () => random });
            const found = [];
            for (let index = 0; index < 9; index += 1) found.push(backoff.next());
            found.push(backoff.next(3000));
            backoff.reset();
            found.push(backoff.next());
            return found.map(Math.round);
        });
        return waits;
    """
    least, most = script(body)
    assert most == [400, 800, 1600, 3200, 6400, 12_800, 15_000, 15_000, 15_000, 18_000, 400]
    assert least == [200, 400, 800, 1600, 3200, 6400, 7500, 7500, 7500, 10_500, 200]


def test_retry_after_is_read_in_both_its_forms(script: Script) -> None:
    body = "return argument.map((header) => modules.backoff.retryAfter(header, Date.parse('2026-01-01T00:00:00Z')));"
    headers = [
        "2",
        "0",
        None,
        "",
        "soon",
        "-3",
        "9999",
        "Thu, 01 Jan 2026 00:00:07 GMT",
        "Wed, 31 Dec 2025 00:00:00 GMT",
    ]
    assert script(body, headers) == [2000, 0, 0, 0, 0, 0, 60_000, 7000, 0]
