"""Whether a model may serve, as far as its figures tell. The smoke test of its artifact comes on top."""

from __future__ import annotations

from marquee.evaluation.offline import Evaluation

# metric, baseline, whether more is better
_MUST_BEAT = (("rmse", "bias_only", False), ("ndcg@10", "popularity", True))


def objections(evaluation: Evaluation) -> list[str]:
    """Why the model should not be released, one sentence each; none: it beats the baselines."""
    found = []
    for metric, baseline, more_is_better in _MUST_BEAT:
        ours = evaluation.figures["model"][metric].value
        theirs = evaluation.figures[baseline][metric].value
        # Written so that a figure that is not a number never passes.
        if not (ours > theirs if more_is_better else ours < theirs):
            found.append(
                f"{metric} {ours:.4f} does not beat {baseline}'s {theirs:.4f} on the {evaluation.split}"
            )
    return found
