"""What every picture promises: something is drawn in it, and its words can be read."""

from itertools import combinations

from matplotlib.axis import Tick
from matplotlib.text import Text
from matplotlib.transforms import Bbox


def can_be_read(figure):
    """Of a figure that was drawn: no axes are empty, no text is cut off, and none overlaps."""
    assert figure.axes, "an empty figure"
    for ax in figure.axes:
        assert ax.has_data() or ax.images or ax.collections, "empty axes"
    ticks = {label for tick in figure.findobj(Tick) for label in tick.findobj(Text)}
    boxes = [
        (text.get_text(), text.get_window_extent())
        for text in figure.findobj(Text)
        if text not in ticks and text.get_visible() and text.get_text()
    ]
    whole = figure.bbox.extents.tolist()
    for said, box in boxes:
        assert Bbox.union([box, figure.bbox]).extents.tolist() == whole, f"{said!r} is cut off"
    for (one, box), (other, box_of_other) in combinations(boxes, 2):
        assert not box.overlaps(box_of_other), f"{one!r} and {other!r} overlap"
