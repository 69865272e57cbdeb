"""How many examples Hypothesis tries: a profile for pull requests, and a larger one for the night.

``./notify test`` uses the first; ``--hypothesis-profile=nightly`` chooses the other.
"""

from __future__ import annotations

from hypothesis import settings

PULL_REQUEST, NIGHTLY = "pull request", "nightly"
#: examples of a property that does not say how many it needs
_USUAL = {PULL_REQUEST: 60, NIGHTLY: 1_000}


def register_profiles() -> None:
    """Registers both profiles and loads that of pull requests. No deadlines: other test processes take time, too."""
    for name, examples in _USUAL.items():
        settings.register_profile(name, max_examples=examples, deadline=None)
    settings.load_profile(PULL_REQUEST)


def examples(for_a_pull_request: int) -> int:
    """Returns how many to try under the profile that is loaded: more at night, in the proportion of the profiles."""
    return for_a_pull_request * settings().max_examples // _USUAL[PULL_REQUEST]
