"""What a browser would make of a page, as far as a test asks."""

from __future__ import annotations

from html.parser import HTMLParser

FETCHED = ("src", "href", "xlink:href", "action", "data", "poster", "srcset")


class HtmlPage(HTMLParser):
    """Its elements by name with their attributes, its ids, and its text without markup, styles and scripts."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._silent = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._silent = tag in ("style", "script")

    def handle_endtag(self, tag: str) -> None:
        self._silent = self._silent and tag not in ("style", "script")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        """Attributes of every element of this name."""
        return [attributes for name, attributes in self.elements if name == tag]

    def ids(self) -> list[str]:
        """Every id, in order."""
        return [attributes["id"] for _, attributes in self.elements if "id" in attributes]

    def fetched(self) -> list[str]:
        """Everything that a browser or a click would get from outside the page; data: URLs are inside."""
        links = [attributes[name] for _, attributes in self.elements for name in FETCHED if name in attributes]
        return [link for link in links if not link.startswith(("#", "data:"))]
