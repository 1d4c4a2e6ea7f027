"""Values for every item, named by the prototypes, and labels that they contradict."""
