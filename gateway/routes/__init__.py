"""The faces of the gateway, one blueprint a file; ``gateway.app`` registers them."""
