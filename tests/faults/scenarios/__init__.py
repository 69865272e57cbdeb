"""One file a family of faults; each function that ``@scenario`` marks is run by ``./notify prove``."""
