"""Which models there are, and what each needs: sources, codecs, callables, ids and listings."""

from __future__ import annotations

from .answers import as_chunk
from .callables import as_policy, from_callables
from .catalog import Catalog, Model
from .codec_choice import CodecChoice
from .declared import declare
from .lookups import AT_ONCE, Lookups
from .models_toml import KEYS, read_models, read_options
from .placed import workers_for
from .resolved_codec import ResolvedCodec
from .source import ModelSource, choose_vendor, expand, from_flags, options_beside
from .variants import codec_of, with_variant
from .waiting import wait_until_set

__all__ = [
    "AT_ONCE",
    "KEYS",
    "Catalog",
    "CodecChoice",
    "Lookups",
    "Model",
    "ModelSource",
    "ResolvedCodec",
    "as_chunk",
    "as_policy",
    "choose_vendor",
    "codec_of",
    "declare",
    "expand",
    "from_callables",
    "from_flags",
    "options_beside",
    "read_models",
    "read_options",
    "wait_until_set",
    "with_variant",
    "workers_for",
]
