"""What the judge says of wrong backwards, for pages."""

from collections.abc import Mapping
from typing import Any

from manual_backprop.judge.verdict import Finding


class Contradicted(Exception):  # noqa: N818 -- read as a sentence
    """The judge says other than the page would."""


def fields(finding: Finding) -> dict[str, Any]:
    """Its sentences, as they are kept."""
    cause = finding.cause
    return {
        "gradient": finding.gradient,
        "message": finding.message,
        "cause": cause.what if cause else "",
        "evidence": cause.evidence if cause else "",
        "gradients": list(cause.gradients) if cause else [],
    }


def says(finding: Mapping[str, Any]) -> str:
    """What the judge says, in one paragraph."""
    if finding["cause"]:
        proof = f" ({finding['evidence']})" if finding["evidence"] else ""
        return f"{', '.join(finding['gradients'])}: {finding['cause']}{proof}"
    gradient = f"{finding['gradient']}: " if finding["gradient"] else ""
    return f"{gradient}{finding['message']}"
