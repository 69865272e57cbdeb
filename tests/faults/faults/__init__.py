"""Makes the single faults that scenarios use: deaths, cut connections, foreign messages, operators, random ones."""
