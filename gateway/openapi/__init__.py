"""The OpenAPI 3.1 document of the gateway."""

from gateway.openapi.document import openapi_document

__all__ = ["openapi_document"]
