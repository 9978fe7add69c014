//! The guess of roles from the names and shapes of well-known models.
#![allow(clippy::unwrap_used, reason = "tests fail by a panic")]

#[path = "common/names.rs"]
mod names;

use isorate_optim::Role;
use names::Entry;

/// Every parameter of at least two dimensions is a matrix and every other one a vector, except those named.
fn check(model: &[Entry], exceptions: &[(&str, Role)]) {
    for (name, _) in exceptions {
        assert!(model.iter().any(|(other, _)| name == other), "{name} is not in the model");
    }
    for (name, shape) in model {
        let default = if shape.len() < 2 { Role::Vector } else { Role::Matrix };
        let expected = exceptions.iter().find(|(other, _)| name == other).map_or(default, |(_, role)| *role);
        assert_eq!(Role::infer(name, shape), expected, "{name} {shape:?}");
        // A wrapper around the whole model changes nothing.
        assert_eq!(Role::infer(&format!("module.{name}"), shape), expected, "module.{name} {shape:?}");
    }
}

#[test]
fn roles_of_known_models() {
    check(&names::mlp(&[784, 512, 512, 10]), &[("head.weight", Role::Head)]);
    check(&names::resnet18(), &[("fc.weight", Role::Head)]);
    let tables = [("wte.weight", Role::Embedding), ("wpe.weight", Role::Embedding), ("lm_head.weight", Role::Head)];
    check(&names::gpt(2, 32, 100, 16), &tables);
    check(&names::llama(2), &[("model.embed_tokens.weight", Role::Embedding), ("lm_head.weight", Role::Head)]);
    check(
        &names::bert(2),
        &[
            ("bert.embeddings.word_embeddings.weight", Role::Embedding),
            ("bert.embeddings.position_embeddings.weight", Role::Embedding),
            ("bert.embeddings.token_type_embeddings.weight", Role::Embedding),
            ("cls.predictions.decoder.weight", Role::Head),
            ("cls.seq_relationship.weight", Role::Head),
        ],
    );
    check(
        &names::vit(2),
        &[
            ("cls_token", Role::Vector),
            ("reg_token", Role::Embedding),
            ("pos_embed", Role::Embedding),
            ("head.weight", Role::Head),
        ],
    );
}

#[test]
fn every_rule_of_the_heuristic_has_a_case() {
    use Role::{Embedding, Head, Matrix, Vector};
    let cases: [(&str, &[usize], Role); 62] = [
        // 1. Less than two dimensions.
        ("temperature", &[], Vector),
        ("head.bias", &[10], Vector),
        ("embeddings.LayerNorm.weight", &[64], Vector),
        ("class_embedding", &[64], Vector),
        // 2. One long dimension.
        ("vit.embeddings.cls_token", &[1, 1, 768], Vector),
        ("class_token", &[1, 1, 768], Vector),
        ("features.1.0.layer_scale", &[96, 1, 1], Vector),
        ("stages.0.blocks.0.gamma", &[1, 96, 1, 1], Vector),
        ("mask_token", &[1, 768], Vector),
        ("conv1.parametrizations.weight.original0", &[64, 1, 1, 1], Vector),
        ("scale.weight", &[64, 1, 1], Vector),
        ("score_vector.weight", &[1, 64], Matrix),
        ("layers.0.weight", &[64, 1], Matrix),
        // 3. Tables.
        ("pos_embed", &[1, 197, 768], Embedding),
        ("encoder.pos_embedding", &[1, 197, 768], Embedding),
        ("vit.embeddings.position_embeddings", &[1, 197, 768], Embedding),
        ("positional_embedding", &[77, 512], Embedding),
        ("transformer.wte.weight", &[50257, 768], Embedding),
        ("model.decoder.embed_positions.weight", &[2050, 768], Embedding),
        ("gpt_neox.embed_in.weight", &[50304, 512], Embedding),
        ("tok_embeddings.weight", &[32000, 64], Embedding),
        ("Embedding.weight", &[3, 4], Embedding),
        ("embeddings.3.weight", &[30, 4], Embedding),
        ("shared.weight", &[32128, 512], Embedding),
        ("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", &[32, 8], Embedding),
        ("layers.0.blocks.0.attn.relative_position_bias_table", &[169, 3], Embedding),
        ("blocks.0.attn.rel_pos_h", &[27, 64], Embedding),
        ("encoder.embedding_hidden_mapping_in.weight", &[768, 128], Matrix),
        // 4. Biases of several dimensions.
        ("experts.gate_up_proj_bias", &[8, 256], Vector),
        ("h.0.attn.bias", &[1, 1, 1024, 1024], Vector),
        // 5. Heads.
        ("head", &[3, 4], Head),
        ("model/lm_head/weight", &[3, 4], Head),
        ("heads.head.weight", &[1000, 768], Head),
        ("classifier.6.weight", &[1000, 4096], Head),
        ("score.weight", &[2, 64], Head),
        ("embed_out.weight", &[50304, 512], Head),
        ("qa_outputs.weight", &[2, 768], Head),
        ("classifier.out_proj.weight", &[2, 768], Head),
        ("classifier.dense.weight", &[768, 768], Matrix),
        ("head.fc.weight", &[1000, 768], Head),
        ("_orig_mod.module.fc.weight", &[1000, 512], Head),
        ("linear.weight", &[10, 512], Head),
        ("output.weight", &[32000, 64], Head),
        ("out.weight", &[10, 64], Head),
        ("lm_head.dense.weight", &[768, 768], Matrix),
        ("lm_head.decoder.weight", &[50265, 768], Head),
        ("head.mlp.weight", &[3, 4], Matrix),
        ("fc1.weight", &[3, 4], Matrix),
        ("encoder.blocks.0.attn.out.weight", &[384, 384], Matrix),
        ("blocks.0.fc.weight", &[64, 64], Matrix),
        ("encoder.layers.encoder_layer_0.self_attention.out_proj.weight", &[768, 768], Matrix),
        ("head.conv.weight", &[10, 64, 1, 1], Matrix),
        ("classifier.weight", &[10, 64, 1, 1], Head),
        // 6. A table with a leading dimension.
        ("reg_token", &[1, 4, 768], Embedding),
        ("conv_post.weight", &[1, 32, 7], Matrix),
        // 7. Stacks.
        ("layers.0.mlp.experts.gate_up_proj", &[8, 64, 256], Vector),
        // 8. Matrices and filters.
        ("weight", &[3, 4], Matrix),
        ("conv1", &[16, 3, 5, 5], Matrix),
        ("conv1.weight", &[384, 80, 3], Matrix),
        ("encoder.layers.encoder_layer_0.self_attention.in_proj_weight", &[2304, 768], Matrix),
        ("lstm.weight_hh_l0", &[256, 64], Matrix),
        ("layer.to_out.0.weight", &[64, 64], Matrix),
    ];
    for (name, shape, expected) in cases {
        assert_eq!(Role::infer(name, shape), expected, "{name} {shape:?}");
    }
    // Names of any kind are no reason to fail.
    for name in ["", ".", "/", "weight", ".weight", "0", "0.weight", "_", "é.weight"] {
        assert_eq!(Role::infer(name, &[3, 4]), Matrix, "{name:?}");
        assert_eq!(Role::infer(name, &[]), Vector, "{name:?}");
    }
}
