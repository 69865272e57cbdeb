"""Generates the OpenAPI 3.1 document, which ``/openapi.json`` and ``/apidocs/`` serve, from the declared endpoints.

It may import ``shared`` and the rest of ``gateway``. Start with ``document``.
"""

from gateway.openapi.document import openapi_document

__all__ = ["openapi_document"]
