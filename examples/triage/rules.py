"""Classifies support tickets by words; the part of the demo that a model would do in a real product."""

from __future__ import annotations

from typing import Any

# Words of a category, each with its weight; matched as parts of the lower-cased text.
WORDS: dict[str, dict[str, int]] = {
    "refund": {
        "refund": 5, "money back": 6, "reimburse": 5, "chargeback": 5, "reembolso": 6,
        "rückerstattung": 6, "remboursement": 6, "返金": 6,
    },
    "abuse": {
        "phishing": 6, "spam through": 5, "spam to our": 3, "harassment": 6, "threats": 3,
        "impersonation": 5, "scam": 5, "stolen content": 5, "copyright": 3, "fake account": 5,
    },
    "outage": {
        "outage": 4, "down?": 3, "is down": 4, "are you down": 4, "503": 3, "502": 3,
        "unreachable": 4, "not loading for the whole": 4, "for everybody": 3, "no webhook": 3,
        "webhooks stopped": 3, "time out": 3, "timeouts": 3, "unavailable": 3,
        "delivery stopped": 3, "production down": 4, "known incident": 2, "caído": 4,
        "en panne": 4, "الخدمة متوقفة": 5,
    },
    "login": {
        "sign in": 3, "log in": 3, "login": 3, "logged out": 4, "locked": 3, "password": 3,
        "reset email": 3, "two-factor": 4, "authenticator": 3, "single sign-on": 4, "sso": 3,
        "iniciar sesión": 4, "contraseña": 3, "passwort": 4, "anmelden": 3, "senha": 4,
        "entrar na conta": 4, "ログイン": 5, "パスワード": 3,
    },
    "billing": {
        "invoice": 4, "charged": 4, "charge for": 3, "charge is": 2, "vat": 3,
        "card declined": 5, "billing": 4, "billed": 3, "bank transfer": 3, "receipt": 4,
        "price": 3, "purchase order": 3, "on the bill": 4, "discount code": 5, "currency": 3,
        "factura": 4, "facture": 4, "rechnung": 4, "請求書": 5,
    },
    "bug": {
        "bug": 4, "crash": 4, "error message": 3, "unexpected token": 3, "version 8": 2,
        "steps:": 2, "wrong time zone": 3, "export": 1, "does not find": 3, "broken": 3,
        "duplicate entries": 3, "unreadable": 3, "shows an error": 3, "mensagem de erro": 4,
        "erro ao": 3, "błąd": 4,
    },
    "feature": {
        "feature request": 6, "could you add": 5, "idea:": 4, "suggestion": 4, "please add": 3,
        "wish": 4, "would love": 3, "would be great": 3, "would be useful": 3,
        "missing feature": 6, "integration": 2, "wunsch": 4, "wünschen": 3,
    },
    "howto": {
        "how do i": 5, "how to": 5, "how can i": 5, "where can i": 4, "question about": 4,
        "what is the difference": 3, "where is that": 2, "is there a way": 3,
        "documentation": 4, "how long": 4, "comment partager": 5, "which format": 2,
    },
}  # fmt: skip

PRODUCTS = ("Calendar", "Inbox", "Reports", "Invoices", "Mobile app", "Shared drive", "Forms")  # no hints
CATEGORIES = (*WORDS, "unclear")
URGENT = ("urgent", "immediately", "right now", "today", "noon", "call now", "sla")
LEAD = (6, 3, 1)  # by how much the best category must lead, by attempt; later attempts are less strict


def scores(text: str) -> dict[str, int]:
    """Points of each category that has any, best first; equal ones in the order of `WORDS`."""
    for product in PRODUCTS:
        text = text.replace(product, "")
    folded = text.lower()
    points = {name: sum(w for word, w in words.items() if word in folded) for name, words in WORDS.items()}
    return dict(sorted(((n, p) for n, p in points.items() if p), key=lambda item: -item[1]))


def guess(ticket: dict[str, Any], attempt: int) -> str | None:
    """The category, or None if the attempt (from 0) is not sure.

    Attempt 0 looks at the subject alone, later ones also at the body, with a smaller lead required.
    """
    subject = ticket["subject"]
    ranked = list(scores(subject if attempt == 0 else f"{subject}\n{subject}\n{ticket['body']}").items())
    if not ranked:
        return None
    lead = ranked[0][1] - (ranked[1][1] if len(ranked) > 1 else 0)
    return ranked[0][0] if lead >= LEAD[min(attempt, len(LEAD) - 1)] else None


def priority(ticket: dict[str, Any], category: str) -> int:
    """1 (at once) to 4 (when there is time), from the category, the customer's plan and urgent words."""
    level = {"outage": 2, "abuse": 2, "login": 3, "refund": 3, "billing": 3, "bug": 3}.get(category, 4)
    if ticket["plan"] == "Enterprise":
        level -= 1
    text = f"{ticket['subject']} {ticket['body']}".lower()
    if any(word in text for word in URGENT):
        level -= 1
    return max(level, 1)
