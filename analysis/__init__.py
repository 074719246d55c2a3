"""Finished and running experiments as tables and plots, from the files of run folders alone."""
