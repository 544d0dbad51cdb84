"""What the system costs a month at a given load, from a dated table of prices; a machine that is always on beside it.

No measuring in here but in ``estimates``: loads and prices are handed in, money comes out.
"""
