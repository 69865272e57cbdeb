"""What each process sets up for itself and owes to its terminal: open files, Python's cycle collector, printable texts.

It may import nothing of ``shared``. Start with ``open_files``.
"""
