"""Token buckets, in virtual time."""

from pancar_relay.viewer.attempts import REMEMBERED, Attempts


def test_each_key_has_a_bucket_of_its_own() -> None:
    attempts: Attempts[str] = Attempts(burst=5.0, refill=0.5)
    for _ in range(5):
        assert attempts.retry_after("a", 0.0) is None
        attempts.spend("a", 0.0)
    assert attempts.retry_after("a", 0.0) == 2.0
    assert attempts.retry_after("b", 0.0) is None
    assert attempts.retry_after("a", 2.0) is None


def test_what_is_not_spent_is_kept_up_to_the_burst() -> None:
    attempts: Attempts[str] = Attempts(burst=2.0, refill=10.0)
    for _ in range(2):
        attempts.spend("a", 1000.0)
    assert attempts.retry_after("a", 1000.0) is not None


def test_the_keys_remembered_are_bounded() -> None:
    attempts: Attempts[int] = Attempts(burst=3.0, refill=1.0)
    for number in range(REMEMBERED + 50):
        for _ in range(3):
            attempts.spend(number, 0.0)
    held = [number for number in range(REMEMBERED + 50) if attempts.retry_after(number, 0.0) is not None]
    assert held == list(range(50, REMEMBERED + 50))
