"""Small problems on one thread, whatever the libraries below would take."""

import functools
import threading
from types import TracebackType

from threadpoolctl import ThreadpoolController


@functools.cache
def _libraries() -> tuple:
    """Controllers of the BLAS libraries that NumPy and SciPy have loaded."""
    return tuple(ThreadpoolController().select(user_api="blas").lib_controllers)


class SerialBlas:
    """Context in which BLAS works on the calling thread alone, if that `is_needed`.

    Products of some hundred rows take microseconds. Shared among threads they wait for the slowest,
    and where other processes keep the cores busy that is a thousand times as long. The number of
    threads is a setting of the whole process, so it is put back when the last of several threads
    leaves, and touched only where there is more than one.
    """

    _lock = threading.Lock()
    _depth = 0
    _found: tuple = ()

    def __init__(self, is_needed: bool):
        self._is_needed = is_needed

    def __enter__(self) -> None:
        if not self._is_needed:
            return
        with SerialBlas._lock:
            if SerialBlas._depth == 0:
                found = tuple((library, library.num_threads) for library in _libraries())
                SerialBlas._found = tuple(item for item in found if item[1] > 1)
                for library, _ in SerialBlas._found:
                    library.set_num_threads(1)
            SerialBlas._depth += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._is_needed:
            return
        with SerialBlas._lock:
            SerialBlas._depth -= 1
            if SerialBlas._depth == 0:
                for library, n_threads in SerialBlas._found:
                    library.set_num_threads(n_threads)
