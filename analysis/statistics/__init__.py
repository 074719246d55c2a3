"""Statistics of paired arms: pure functions of numbers, one concept a file, by scipy and statsmodels."""
