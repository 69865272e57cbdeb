"""Parts of the product whose behaviour a test chooses, one file per package that they are used in."""
