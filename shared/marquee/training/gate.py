"""Whether a model may serve, as far as its figures tell. The smoke test of its artifact comes on top."""

from __future__ import annotations

from marquee.evaluation.offline import Evaluation


def objections(evaluation: Evaluation) -> list[str]:
    """Why the model should not be released, one sentence each; none: it rates better than the biases alone,
    and does not rank clearly worse than popularity.

    Clearly: beyond the interval of its own figure. On some thousand ratings of one slice of time the order
    of two rankings that are as good as equal is chance, and a retraining should not hang on that.
    """
    model, found = evaluation.figures["model"], []
    rmse, biases = model["rmse"].value, evaluation.figures["bias_only"]["rmse"].value
    ndcg, popular = model["ndcg@10"], evaluation.figures["popularity"]["ndcg@10"].value
    # Written so that a figure that is not a number never passes.
    if not rmse < biases:
        found.append(f"rmse {rmse:.4f} does not beat bias_only's {biases:.4f} on the {evaluation.split}")
    if not ndcg.high >= popular:
        found.append(
            f"ndcg@10 {ndcg.value:.4f} [{ndcg.low:.4f}, {ndcg.high:.4f}] is worse than popularity's "
            f"{popular:.4f} on the {evaluation.split}"
        )
    return found
