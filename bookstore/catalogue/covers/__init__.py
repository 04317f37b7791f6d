"""Book covers: uploaded pictures, and drawn covers for books without one."""

from bookstore.catalogue.covers.generated import cloth_of, draw, draw_small
from bookstore.catalogue.covers.uploaded import (
    MAX_BYTES,
    MEDIA_TYPE,
    UPLOAD_MEDIA_TYPES,
    content,
    make_cover,
    put,
    remove,
    small_name,
)
