"""All tests. ``./notify test`` runs them; those that need RabbitMQ or Redis start their own.

``unit`` needs no server, ``integration`` real ones, ``properties`` holds rules over generated inputs, ``models`` the
plain models that the product is compared with, ``faults`` the scenarios of ``./notify prove``, ``e2e`` the whole
command. ``unit`` and ``integration`` have the same folders as the product. Helpers are in ``support``.
"""
