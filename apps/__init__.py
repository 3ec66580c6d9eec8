"""What a user runs: the command line and the viewer, installed as surfrecon.apps."""
