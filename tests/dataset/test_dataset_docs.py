"""What the docs say of the store is what the code does."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from test_dataset_all import batch, labelled

from atomate2_alpot.dataset import LabelBuilder, embedded_stores, label_documents, write_labels
from atomate2_alpot.dataset.labels import StoredLabelDoc

ROOT = Path(__file__).parents[2]


def test_documented_schema_is_that_of_the_models():
    schema = runpy.run_path(str(ROOT / "tools" / "store_schema.py"))["store_schema"]()
    documented = (ROOT / "docs" / "_generated" / "store.md").read_text()
    assert documented == schema, "run: python tools/store_schema.py > docs/_generated/store.md"


def test_stored_documents_have_the_documented_schema(tmp_path):
    stores = embedded_stores(tmp_path)
    stores.connect()
    write_labels(stores.labels, list(label_documents(batch(labelled(2), ("f1",)))), "g")
    documents = list(stores.labels.query({}))
    assert len(documents) == 3
    for document in documents:
        del document["_id"]
        StoredLabelDoc.model_validate(document)


def test_the_builder_of_the_docs_is_one():
    page = (ROOT / "docs" / "store.md").read_text()
    names: dict[str, object] = {}
    exec(re.findall(r"```python\n(.*?)```", page, flags=re.S)[1], names)
    assert isinstance(names["__builder__"], LabelBuilder)
