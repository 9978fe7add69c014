//! The names of a residual network's tensors in published files.

/// The name that Hugging Face's `ResNetForImageClassification` gives to what torchvision and timm call `name`.
pub(super) fn hugging_face(name: &str) -> Option<String> {
    let (layer, tensor) = name.rsplit_once('.')?;
    if layer == "fc" {
        return Some(format!("classifier.1.{tensor}"));
    }
    let number = |text: &str, prefix: &str| text.strip_prefix(prefix)?.parse::<usize>().ok()?.checked_sub(1);
    let path: Vec<&str> = layer.split('.').collect();
    let (place, kind) = match path[..] {
        [layer] => ("embedder.embedder".to_owned(), if layer == "conv1" { "convolution" } else { "normalization" }),
        [stage, block, layer] => {
            let kind = if layer.starts_with("conv") { "convolution" } else { "normalization" };
            let i = number(layer, if kind == "convolution" { "conv" } else { "bn" })?;
            (format!("encoder.stages.{}.layers.{block}.layer.{i}", number(stage, "layer")?), kind)
        }
        [stage, block, "downsample", which] => (
            format!("encoder.stages.{}.layers.{block}.shortcut", number(stage, "layer")?),
            if which == "0" { "convolution" } else { "normalization" },
        ),
        _ => return None,
    };
    Some(format!("resnet.{place}.{kind}.{tensor}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As transformers has them: see tests/reference/resnet.py, which lists them all.
    #[test]
    fn names_of_hugging_face() {
        for (name, expected) in [
            ("conv1.weight", "resnet.embedder.embedder.convolution.weight"),
            ("bn1.running_var", "resnet.embedder.embedder.normalization.running_var"),
            ("layer1.0.conv1.weight", "resnet.encoder.stages.0.layers.0.layer.0.convolution.weight"),
            ("layer4.2.bn3.bias", "resnet.encoder.stages.3.layers.2.layer.2.normalization.bias"),
            ("layer2.0.downsample.0.weight", "resnet.encoder.stages.1.layers.0.shortcut.convolution.weight"),
            ("layer2.0.downsample.1.running_mean", "resnet.encoder.stages.1.layers.0.shortcut.normalization.running_mean"),
            ("fc.bias", "classifier.1.bias"),
        ] {
            assert_eq!(hugging_face(name).as_deref(), Some(expected));
        }
    }
}
