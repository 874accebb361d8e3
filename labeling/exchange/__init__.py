"""Vector files in and out, in any CRS.

In: GeoJSON, GeoPackage, Shapefile, FlatGeobuf, KML and KMZ, GML, TopoJSON, EsriJSON, file geodatabases, CSV, PASCAL VOC and COCO.

    files          which files are in what was chosen, told by content; ZIPs unpacked within limits
    vectors, tables, annotations   each kind -> layers as they are in the file (`layers`)
    safely         the same in a process of its own, with bounded memory and time
    place          layers -> longitude and latitude; a guess at the CRS where none is stated
    mapping        values of the class field -> classes, new ones offered
    read           placed rows -> a label set, with a report of every row (`report`)

Out (`write`): GeoJSON, GeoPackage, Shapefile, FlatGeobuf, KML, CSV. Reading never trusts the file: whatever is wrong with it ends in a
`LabelFileError` that says what to do.
"""

from __future__ import annotations

from labeling.exchange.files import READABLE
from labeling.exchange.layers import CLASS_FIELDS, NOTHING, VectorFile
from labeling.exchange.mapping import ValueFound, likely_field, suggested_map, values_found
from labeling.exchange.place import Guess, Placed, footprints_of, guessed_crs, picture_grids, placed, stated_crs
from labeling.exchange.read import FileFacts, inspect_file, labels_in, labels_of, outside_imagery, read_file, read_labels
from labeling.exchange.report import ImportReport
from labeling.exchange.safely import read_safely
from labeling.exchange.write import STYLED, SUFFIXES, Format, chosen_labels, write_labels

__all__ = [
    "CLASS_FIELDS",
    "NOTHING",
    "READABLE",
    "STYLED",
    "SUFFIXES",
    "FileFacts",
    "Format",
    "Guess",
    "ImportReport",
    "Placed",
    "ValueFound",
    "VectorFile",
    "chosen_labels",
    "footprints_of",
    "guessed_crs",
    "inspect_file",
    "labels_in",
    "labels_of",
    "likely_field",
    "outside_imagery",
    "picture_grids",
    "placed",
    "read_file",
    "read_labels",
    "read_safely",
    "stated_crs",
    "suggested_map",
    "values_found",
    "write_labels",
]
