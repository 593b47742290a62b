import os
import time

import pytest

from hidlr.errors import HidlrError, InputError
from hidlr.training.pool import map_in_processes, stop_requested


def square(value: int) -> int:
    return value**2


def where(value: int) -> int:
    del value
    return os.getpid()


def fail(value: int) -> int:
    raise InputError(f"no {value}")


def die(value: int) -> int:
    os._exit(value)


def wait(value: int) -> int:
    if value:
        for _ in range(1000):
            time.sleep(0.02)
            if stop_requested():
                return -1
    return value


def test_one_process_is_this_one() -> None:
    assert list(map_in_processes(square, [3, 1, 2], 1)) == [9, 1, 4]
    assert list(map_in_processes(where, [0, 0], 1)) == [os.getpid()] * 2


def test_errors_come_through() -> None:
    with pytest.raises(InputError, match=r"no [56]"):
        list(map_in_processes(fail, [5, 6], 2))


def test_killed_process_is_told() -> None:
    with pytest.raises(HidlrError, match="was killed"):
        list(map_in_processes(die, [1, 1], 2))


def test_stops_promptly() -> None:
    began = time.monotonic()
    values = map_in_processes(wait, [0, 1, 1, 1], 2)
    assert next(values) == 0
    values.close()  # type: ignore[attr-defined]
    assert time.monotonic() - began < 15
