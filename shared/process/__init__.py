"""What each process owes to its operating system and its terminal: the limit of open files, and texts safe to print.

It may import nothing of ``shared``. Start with ``open_files``.
"""
