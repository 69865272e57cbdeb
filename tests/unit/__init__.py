"""Tests without any server: one folder per package of the product; ``ground`` is for the modules of ``shared`` itself.

``repository`` checks what is not code: imports, documents, workflows, containers.
"""
