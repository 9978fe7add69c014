//! GPT-2's tensors in published files.

/// The head's weights, where they are not those of the tokens.
pub(super) const HEAD: &str = "lm_head.weight";

/// `GPT2LMHeadModel` has a prefix that the bare `GPT2Model` does not have.
pub(super) fn in_files(name: &str) -> Vec<String> {
    std::iter::once(name.to_owned()).chain(name.strip_prefix("transformer.").map(str::to_owned)).collect()
}

/// Older files hold the mask of the attention.
pub(super) fn is_mask(name: &str) -> bool {
    name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias")
}

/// Whether transformers has the parameter as \[in, out\].
pub(super) fn is_turned(name: &str) -> bool {
    [".c_attn.weight", ".c_proj.weight", ".c_fc.weight"].iter().any(|end| name.ends_with(end))
}
