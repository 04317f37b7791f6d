"""Book covers: uploaded pictures, and drawn covers for books without one."""

from bookstore.catalogue.covers.generated import cloth_of, draw, draw_small
from bookstore.catalogue.covers.uploaded import (
    MEDIA_TYPE,
    MOST_BYTES,
    UPLOADS,
    content,
    cover_of,
    put,
    remove,
    small_name,
)
