"""Stage 7, publish: where labels are kept, and how they are queried and exported."""

from __future__ import annotations

from atomate2_alpot.dataset.blobs import FileBlobStore
from atomate2_alpot.dataset.builder import LabelBuilder
from atomate2_alpot.dataset.campaigns import iteration_documents
from atomate2_alpot.dataset.export import EXPORTERS, dataset_card, export_frames
from atomate2_alpot.dataset.gridfs import GridFSBlobStore
from atomate2_alpot.dataset.indexes import INDEXES, Index, IndexResult
from atomate2_alpot.dataset.labels import label_documents, sync_labels, write_labels
from atomate2_alpot.dataset.query import LabelStore
from atomate2_alpot.dataset.stores import StoreError, Stores, embedded_stores, mongo_stores
from atomate2_alpot.schemas.blobs import BlobError

__all__ = [
    "EXPORTERS",
    "INDEXES",
    "BlobError",
    "FileBlobStore",
    "GridFSBlobStore",
    "Index",
    "IndexResult",
    "LabelBuilder",
    "LabelStore",
    "StoreError",
    "Stores",
    "dataset_card",
    "embedded_stores",
    "export_frames",
    "iteration_documents",
    "label_documents",
    "mongo_stores",
    "sync_labels",
    "write_labels",
]
