"""Holds the scenarios, one file per family; ``./notify prove`` runs each function that ``@scenario`` marks.

The families of one cause have a folder: ``deaths`` of processes, ``rabbitmq``, ``providers``.
"""
