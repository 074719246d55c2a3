"""Many runs from one command: which they are, how they are started, and how they stand."""
