"""How commands end, for whatever starts them; 1 is any error, 2 (typer's) a wrong command line."""

OK = 0
FAILED = 1
DIFFERENT = 3  # reproduced, and not the same
REJECTED = 10  # the gate kept the champion
NOTHING_NEW = 11
LOCKED = 12  # another one is at work
