"""Text that a terminal shows as it is."""


def printable(text: str) -> str:
    """Control characters, which a young model may emit, made visible."""
    return "".join(c if c.isprintable() or c in "\n\t" else "·" for c in text)
