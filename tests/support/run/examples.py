"""Sets how many examples Hypothesis tries: one profile for pull requests, and a larger one for nightly runs.

``./notify test`` uses the first, with the same examples in every run, so that a change is judged by what it changed;
``--hypothesis-profile=nightly`` chooses the second, which looks for new ones.
"""

from __future__ import annotations

from hypothesis import settings

PULL_REQUEST, NIGHTLY = "pull request", "nightly"
#: the number of examples of a property that sets none itself, by profile
_USUAL = {PULL_REQUEST: 60, NIGHTLY: 1_000}


def register_profiles() -> None:
    """Registers both profiles and loads that of pull requests, without deadlines: other test processes take time.

    Each names ``derandomize``, because Hypothesis' own default depends on the environment variable ``CI``.
    """
    for name, examples in _USUAL.items():
        same = name == PULL_REQUEST
        settings.register_profile(name, max_examples=examples, deadline=None, derandomize=same, print_blob=True)
    settings.load_profile(PULL_REQUEST)


def examples(for_a_pull_request: int) -> int:
    """Returns how many examples to try under the loaded profile: more at night, in the proportion of the profiles."""
    return for_a_pull_request * settings().max_examples // _USUAL[PULL_REQUEST]
