"""How well a network retrieves: rankings, metrics with intervals, and the gate's verdict."""
