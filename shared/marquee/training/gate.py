"""Whether a model may serve, as far as its figures tell. The smoke test of its artifact comes on top."""

from __future__ import annotations

from marquee.evaluation.offline import Evaluation

# metric, baseline, whether more is better
_MUST_NOT_LOSE_TO = (("rmse", "bias_only", False), ("ndcg@10", "popularity", True))


def objections(evaluation: Evaluation) -> list[str]:
    """Why the model should not be released, one sentence each; none: no baseline is clearly better.

    Clearly: beyond the interval of the model's own figure. On a few thousand ratings of one slice of time
    the order of two figures that are as good as equal is chance, and a retraining should not hang on it.
    """
    found = []
    for metric, baseline, more_is_better in _MUST_NOT_LOSE_TO:
        ours = evaluation.figures["model"][metric]
        theirs = evaluation.figures[baseline][metric].value
        # Written so that a figure that is not a number never passes.
        if not (ours.high >= theirs if more_is_better else ours.low <= theirs):
            found.append(
                f"{metric} {ours.value:.4f} [{ours.low:.4f}, {ours.high:.4f}] is worse than {baseline}'s "
                f"{theirs:.4f} on the {evaluation.split}"
            )
    return found
