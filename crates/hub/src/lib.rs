//! Files of the Hugging Face hub at pinned revisions, verified to the byte before use.
