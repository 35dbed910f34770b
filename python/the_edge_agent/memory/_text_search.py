"""Ranking of a few thousand texts in process."""

from __future__ import annotations

import math
import re
from collections import Counter

_WORD = re.compile(r"\w+")

# The usual constants of Okapi BM25: saturation of repeated words, weight of the text's length.
_K1, _B = 1.2, 0.75


def rank(query: str, texts: list[str], words: bool) -> list[tuple[int, float]]:
    """Return ``(index, score)`` of the matching texts.

    With ``words`` a text matches that has any word of the query, the highest BM25 score first; without it one
    that contains the query as a substring (score 1.0), in the given order. Letter case is ignored.
    """
    if not words:
        wanted = query.lower()
        return [(i, 1.0) for i, text in enumerate(texts) if wanted in text.lower()]
    terms = set(_WORD.findall(query.lower()))
    counts = [Counter(_WORD.findall(text.lower())) for text in texts]
    lengths = [sum(count.values()) for count in counts]
    average = sum(lengths) / len(lengths) if lengths else 0.0
    weights = {}
    for term in terms:
        having = sum(term in count for count in counts)
        weights[term] = math.log(1 + (len(texts) - having + 0.5) / (having + 0.5))
    scored = []
    for i, count in enumerate(counts):
        score = 0.0
        for term in terms:
            if term in count:
                length = _K1 * (1 - _B + _B * lengths[i] / average)
                score += weights[term] * count[term] * (_K1 + 1) / (count[term] + length)
        if score > 0:
            scored.append((i, score))
    scored.sort(key=lambda item: -item[1])
    return scored
