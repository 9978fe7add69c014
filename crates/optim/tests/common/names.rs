//! Names and shapes of well-known models, as torchvision, timm, transformers and nanoGPT have them.

/// Name and shape.
pub type Entry = (String, Vec<usize>);

fn list(entries: &[(&str, &[usize])], prefix: &str) -> Vec<Entry> {
    entries.iter().map(|(name, shape)| (format!("{prefix}{name}"), shape.to_vec())).collect()
}

/// `weight` [out, in] and `bias` [out].
fn linear(layer: &str, outputs: usize, inputs: usize) -> Vec<Entry> {
    vec![(format!("{layer}.weight"), vec![outputs, inputs]), (format!("{layer}.bias"), vec![outputs])]
}

fn norm(layer: &str, width: usize) -> Vec<Entry> {
    vec![(format!("{layer}.weight"), vec![width]), (format!("{layer}.bias"), vec![width])]
}

fn batch_norm(layer: &str, width: usize) -> Vec<Entry> {
    let statistics = ["running_mean", "running_var"].map(|name| (format!("{layer}.{name}"), vec![width]));
    [norm(layer, width), statistics.to_vec()].concat()
}

pub fn mlp(widths: &[usize]) -> Vec<Entry> {
    let layers = widths.len() - 1;
    let name = |i: usize| if i + 1 == layers { "head".to_owned() } else { format!("fc{}", i + 1) };
    (0..layers).flat_map(|i| linear(&name(i), widths[i + 1], widths[i])).collect()
}

/// torchvision's resnet18, with the running statistics that candle keeps among the variables.
pub fn resnet18() -> Vec<Entry> {
    let mut all = list(&[("conv1.weight", &[64, 3, 7, 7])], "");
    all.extend(batch_norm("bn1", 64));
    let mut inputs = 64;
    for (stage, width) in [(1, 64), (2, 128), (3, 256), (4, 512)] {
        for block in 0..2 {
            let prefix = format!("layer{stage}.{block}");
            all.push((format!("{prefix}.conv1.weight"), vec![width, inputs, 3, 3]));
            all.extend(batch_norm(&format!("{prefix}.bn1"), width));
            all.push((format!("{prefix}.conv2.weight"), vec![width, width, 3, 3]));
            all.extend(batch_norm(&format!("{prefix}.bn2"), width));
            if inputs != width {
                all.push((format!("{prefix}.downsample.0.weight"), vec![width, inputs, 1, 1]));
                all.extend(batch_norm(&format!("{prefix}.downsample.1"), width));
            }
            inputs = width;
        }
    }
    all.extend(linear("fc", 1000, 512));
    all
}

/// nanoGPT with its own `lm_head` (nanoGPT itself shares it with `wte`).
pub fn gpt(layers: usize, width: usize, vocabulary: usize, context: usize) -> Vec<Entry> {
    let mut all = vec![("wte.weight".to_owned(), vec![vocabulary, width]), ("wpe.weight".to_owned(), vec![context, width])];
    for i in 0..layers {
        all.extend(norm(&format!("h.{i}.ln_1"), width));
        all.extend(linear(&format!("h.{i}.attn.c_attn"), 3 * width, width));
        all.extend(linear(&format!("h.{i}.attn.c_proj"), width, width));
        all.extend(norm(&format!("h.{i}.ln_2"), width));
        all.extend(linear(&format!("h.{i}.mlp.c_fc"), 4 * width, width));
        all.extend(linear(&format!("h.{i}.mlp.c_proj"), width, 4 * width));
    }
    all.extend(norm("ln_f", width));
    all.push(("lm_head.weight".to_owned(), vec![vocabulary, width]));
    all
}

/// transformers' `LlamaForCausalLM`.
pub fn llama(layers: usize) -> Vec<Entry> {
    let mut all = list(&[("model.embed_tokens.weight", &[1000, 64])], "");
    for i in 0..layers {
        let block: [(&str, &[usize]); 9] = [
            ("self_attn.q_proj.weight", &[64, 64]),
            ("self_attn.k_proj.weight", &[16, 64]),
            ("self_attn.v_proj.weight", &[16, 64]),
            ("self_attn.o_proj.weight", &[64, 64]),
            ("mlp.gate_proj.weight", &[192, 64]),
            ("mlp.up_proj.weight", &[192, 64]),
            ("mlp.down_proj.weight", &[64, 192]),
            ("input_layernorm.weight", &[64]),
            ("post_attention_layernorm.weight", &[64]),
        ];
        all.extend(list(&block, &format!("model.layers.{i}.")));
    }
    all.extend(list(&[("model.norm.weight", &[64]), ("lm_head.weight", &[1000, 64])], ""));
    all
}

/// transformers' `BertForPreTraining`.
pub fn bert(layers: usize) -> Vec<Entry> {
    let (width, vocabulary) = (64, 1000);
    let mut all = list(
        &[
            ("word_embeddings.weight", &[vocabulary, width]),
            ("position_embeddings.weight", &[512, width]),
            ("token_type_embeddings.weight", &[2, width]),
        ],
        "bert.embeddings.",
    );
    all.extend(norm("bert.embeddings.LayerNorm", width));
    for i in 0..layers {
        let prefix = format!("bert.encoder.layer.{i}");
        for projection in ["query", "key", "value"] {
            all.extend(linear(&format!("{prefix}.attention.self.{projection}"), width, width));
        }
        all.extend(linear(&format!("{prefix}.attention.output.dense"), width, width));
        all.extend(norm(&format!("{prefix}.attention.output.LayerNorm"), width));
        all.extend(linear(&format!("{prefix}.intermediate.dense"), 4 * width, width));
        all.extend(linear(&format!("{prefix}.output.dense"), width, 4 * width));
        all.extend(norm(&format!("{prefix}.output.LayerNorm"), width));
    }
    all.extend(linear("bert.pooler.dense", width, width));
    all.extend(linear("cls.predictions.transform.dense", width, width));
    all.extend(norm("cls.predictions.transform.LayerNorm", width));
    all.push(("cls.predictions.bias".to_owned(), vec![vocabulary]));
    all.extend(linear("cls.predictions.decoder", vocabulary, width));
    all.extend(linear("cls.seq_relationship", 2, width));
    all
}

/// timm's vision transformer, with layer scale and register tokens.
pub fn vit(layers: usize) -> Vec<Entry> {
    let width = 64;
    let mut all = list(
        &[
            ("cls_token", &[1, 1, width]),
            ("reg_token", &[1, 4, width]),
            ("pos_embed", &[1, 197, width]),
            ("patch_embed.proj.weight", &[width, 3, 16, 16]),
            ("patch_embed.proj.bias", &[width]),
        ],
        "",
    );
    for i in 0..layers {
        let prefix = format!("blocks.{i}");
        all.extend(norm(&format!("{prefix}.norm1"), width));
        all.extend(linear(&format!("{prefix}.attn.qkv"), 3 * width, width));
        all.extend(linear(&format!("{prefix}.attn.proj"), width, width));
        all.extend(norm(&format!("{prefix}.norm2"), width));
        all.extend(linear(&format!("{prefix}.mlp.fc1"), 4 * width, width));
        all.extend(linear(&format!("{prefix}.mlp.fc2"), width, 4 * width));
        all.extend(list(&[("ls1.gamma", &[width]), ("ls2.gamma", &[width])], &format!("{prefix}.")));
    }
    all.extend(norm("norm", width));
    all.extend(linear("head", 1000, width));
    all
}
