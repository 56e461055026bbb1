"""The report of an inspection."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Report"]


@dataclass
class Report:
    """What was found: rows of facts, problems that would stop a run, and notes that would not."""

    facts: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    judged: bool = True
    """Whether problems were looked for."""

    def text(self) -> str:
        """Return the report as text, one fact a line."""
        width = max((len(name) for name, _ in self.facts), default=0)
        lines = [f"  {name:<{width}}  {value}" for name, value in self.facts]
        lines += [f"  note: {note}" for note in self.notes]
        lines += [f"  problem: {problem}" for problem in self.problems]
        lines += ["  no problems found"] if self.judged and not self.problems else []
        return "\n".join(lines)
