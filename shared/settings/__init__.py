"""Reads every setting from the environment and ``.env``, checks them together, and keeps secrets out of logs.

No other package reads the environment. This one may import ``shared.message`` and the modules of ``shared`` itself.
Start with ``load_settings`` in ``load``. What can be set is in ``groups``; ``.env.example`` describes every variable.
"""
