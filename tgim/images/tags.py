"""EXIF of a picture: how it is turned upright, and what of the block stays with its pixels."""

from __future__ import annotations

from PIL import Image

ORIENTATION, EXIF_IFD, PIXEL_SIZES = 0x0112, 0x8769, (0xA002, 0xA003)
TURNS = {  # EXIF orientation -> what sets the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (
    Image.Transpose.TRANSPOSE,
    Image.Transpose.TRANSVERSE,
    Image.Transpose.ROTATE_90,
    Image.Transpose.ROTATE_270,
)
# Tags that describe how a TIFF file stores its pixels: sizes, strips, tiles, colours, profiles; not the photograph.
STORAGE_TAGS = {
    254, 255, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 297, 301, 317, 318, 319, 320, 322,
    323, 324, 325, 330, 332, 334, 336, 338, 339, 340, 341, 347, 529, 530, 531, 532, 700, 33723, 34377, 34675,
}  # fmt: skip


def read_exif(image: Image.Image) -> tuple[Image.Transpose | None, bytes | None]:
    """Read how to turn a loaded picture upright, and its EXIF block without orientation, sizes and storage tags.

    Hostile blocks make the reader raise anything; the picture itself may be fine, so they count as none.
    """
    turn = None
    try:
        original = image.getexif()
        turn = TURNS.get(original.get(ORIENTATION, 1))
        exif = Image.Exif()
        exif.load(original.tobytes())  # a copy: the picture may be the caller's
        for tag in [tag for tag in exif if tag in STORAGE_TAGS or tag == ORIENTATION]:
            del exif[tag]
        if EXIF_IFD in exif:
            for tag in PIXEL_SIZES:
                exif.get_ifd(EXIF_IFD).pop(tag, None)
        return turn, exif.tobytes() if len(exif) else None
    except Exception:
        return turn, None
