"""One plot per file: from frames and arrays to a matplotlib figure, each with a sentence that says how to read it."""
