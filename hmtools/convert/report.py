"""How the conversion of a split ended, and how its counts compare with those of its authors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hmtools.engine.job import Outcome

if TYPE_CHECKING:
    from hmtools.convert.run import Plan

__all__ = ["SplitReport"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitReport:
    """How the conversion of one split ended."""

    plan: Plan
    outcome: Outcome

    @property
    def empty(self) -> bool:
        """Every person was rejected: the split is finished, and of no use."""
        return self.outcome.ok and not self.outcome.count("records") and self.outcome.count("rejected") > 0

    @property
    def official_records(self) -> int | None:
        """How many people the whole split has by its authors, at the set's own interval.

        None where nothing can be compared: they do not say, or not all of it was wanted (``--every``,
        ``--limit``, ``--only``).
        """
        return self._official("records")

    @property
    def official_images(self) -> int | None:
        """Likewise their images. They are said and not compared: authors count those without people, too."""
        return self._official("images")

    def _official(self, what: str) -> int | None:
        task, options = self.plan.task, self.plan.options
        own_interval = task.dataset.every.get(task.dataset.role(task.split), 1)
        if options["limit"] or options["only"] or task.every != own_interval:
            return None
        return task.dataset.official_counts.get(task.split, {}).get(what)

    @property
    def other_count(self) -> bool:
        """The split is done and has not the official number of people: not whole, or another version."""
        official = self.official_records
        return self.outcome.ok and official is not None and self.outcome.count("records") != official

    @property
    def exit_code(self) -> int:
        """What the command line ends with: 0 done, 1 failed units or nothing stored, 130 stopped."""
        return 1 if self.empty else self.outcome.exit_code
