"""What may be wider than its place, and is scrolled by a finger, a mouse or the arrow keys."""

import html


def scrolled(content: str, label: str) -> str:
    """An element that scrolls sideways and takes the focus, or the arrow keys could not scroll it.

    Args:
      content: HTML.
      label: plain text by which screen readers name it.
    """
    name = html.escape(label, quote=True)
    return f'<div class="wide" role="group" tabindex="0" aria-label="{name}">{content}</div>'
