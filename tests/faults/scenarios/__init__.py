"""Holds the scenarios, one file per family; ``./notify prove`` runs each function that ``@scenario`` marks."""
