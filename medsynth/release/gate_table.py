"""What the card says of the gates."""

from __future__ import annotations

import pandas as pd

from medsynth.artifacts.outcomes import FAIL, INSUFFICIENT, Outcome, outcomes
from medsynth.config.gates import NOT_ENFORCED
from medsynth.release.markdown import listed, plain, table


def gates_in_words(gates: pd.DataFrame) -> str:
    """Which gates failed, why, and which could not tell; the first lines of the card.

    Args:
        gates: gates.csv as text.
    """
    found = outcomes(gates)
    failed = [gate for gate in found if gate.result == FAIL]
    unknown = [gate for gate in found if gate.result == INSUFFICIENT]
    sentences = [_failure(gate) for gate in failed]
    if unknown:
        kind = "gate" if len(unknown) == 1 else "gates"
        of = listed([f"{gate.name} ({plain(gate.reasons[0])})" for gate in unknown])
        sentences.append(f"**Too little to tell by the {kind} {of}.** The images were released all the same.")
    if not sentences:
        return f"All gates passed: {listed([gate.name for gate in found])}."
    return "\n\n".join(sentences)


def gate_table(gates: pd.DataFrame) -> str:
    """One row a gate."""
    rows = [(gate.name, gate.said, _why(gate)) for gate in outcomes(gates)]
    return table(("gate", "result", "why"), ("---", "---", "---"), rows)


def _failure(gate: Outcome) -> str:
    if gate.waived == NOT_ENFORCED:
        return (
            f"**The gate {gate.name} failed: {plain('; '.join(gate.reasons))}.** The images were released all the "
            "same, since the configuration does not enforce its gates. Look at them before you train on them."
        )
    return f"**The gate {gate.name} failed, and was waived.** The reason that was given: {plain(gate.waived)}"


def _why(gate: Outcome) -> str:
    waived = gate.result == FAIL and gate.waived and gate.waived != NOT_ENFORCED
    return plain("; ".join(gate.reasons) + (f"; waived: {gate.waived}" if waived else ""))
