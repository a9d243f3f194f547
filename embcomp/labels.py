"""`embcomp.data.labels` under the name it had first."""

from embcomp.data.labels import Labels, MappedLabels, encode, find_label_map, map_labels, read_label_map, several_labels

__all__ = ["Labels", "MappedLabels", "encode", "find_label_map", "map_labels", "read_label_map", "several_labels"]
