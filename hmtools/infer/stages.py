"""Stages that overlap: each one works in a thread of its own, a bounded queue lies between it and the next.

A stage is an iterator that takes its input from another iterator; :func:`ahead` lets it run before it is
asked. Decoders, warps and networks release the interpreter while they work, so threads do.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator
from typing import TypeVar

__all__ = ["ahead"]

T = TypeVar("T")
_POLL_S = 0.05  # how soon a stage notices that nobody wants more of it


class _End:
    """Comes after the last item, with what ended the stage."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def ahead(items: Generator[T, None, None], waiting: int, name: str) -> Generator[T, None, None]:
    """The same items in the same order, made in a thread before they are asked for.

    Closing the result ends the thread, which closes ``items``: a chain of stages ends from its last one.

    Args:
        items: the stage; only its own thread touches it from now on.
        waiting: finished items that may wait, at least 1, which bounds memory.
        name: of the thread.

    Yields:
        The items.

    Raises:
        BaseException: what the stage raised, behind the items that it gave before.
    """
    ready: queue.Queue[T | _End] = queue.Queue(waiting)
    unwanted = threading.Event()
    thread = threading.Thread(target=_work, args=(items, ready, unwanted), name=name, daemon=True)
    thread.start()
    try:
        while True:
            item = ready.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        unwanted.set()
        thread.join()


def _work(items: Generator[T, None, None], ready: queue.Queue[T | _End], unwanted: threading.Event) -> None:
    error: BaseException | None = None
    try:
        for item in items:
            if not _put(ready, item, unwanted):
                break
            del item  # an image must not stay here while the next one is made
    except BaseException as raised:  # noqa: BLE001 - raised again where the items are asked for
        error = raised
    finally:
        items.close()
    _put(ready, _End(error), unwanted)


def _put(ready: queue.Queue[T | _End], item: T | _End, unwanted: threading.Event) -> bool:
    while not unwanted.is_set():
        try:
            ready.put(item, timeout=_POLL_S)
        except queue.Full:
            continue
        return True
    return False
