//! Weights that fine-tuning starts from, made here.

use std::path::{Path, PathBuf};

use candle_core::Device;
use isorate_data::{Split, stream};
use isorate_models::{HeadWeights, Mode, Model as _, ResNet, ResNetConfig, load_weights, save_weights};
use isorate_optim::{AdamW, GroupRules, NamedParam, Optimizer, Role, RuleConfig};
use isorate_results::RunId;
use rand::seq::SliceRandom as _;
use serde_json::json;

use crate::inputs::Inputs;
use crate::source::Source;
use crate::spec::model::Pretrain;
use crate::{Error, Stop};

/// Changes with every change of the training below, so that old files are not taken for new ones.
const REVISION: u32 = 1;

/// The file of a network that was trained on an image set: found in `work` or made and put there. The head of the file is that of the
/// image set's classes.
///
/// Two workers that want the same weights make them both; the file is the same, and appears whole.
pub(crate) fn weights(
    pretrain: &Pretrain,
    config: ResNetConfig,
    source: &Source,
    device: &Device,
    work: &Path,
    stop: &Stop,
) -> Result<PathBuf, Error> {
    let id = RunId::of(&json!({
        "pretrain": pretrain,
        "network": format!("{config:?}"),
        "checksum": source.checksums(),
        "revision": REVISION,
    }))?;
    let path = work.join("weights").join(format!("{id}.safetensors"));
    let images = source.load(Split::Train)?;
    let network = || {
        let config = ResNetConfig { classes: images.classes(), ..config };
        ResNet::new(config, &mut stream(pretrain.seed, "initialization", 0), device)
    };
    // A file that was cut short or altered is made again.
    if path.is_file() && load_weights(&network()?, &path, HeadWeights::Read).is_ok() {
        return Ok(path);
    }
    let network = network()?;
    let rows: Vec<usize> = (0..images.len().min(pretrain.train)).collect();
    let inputs = Inputs::images(images.select(&rows)?);
    let role = |dims: usize| if dims > 1 { Role::Matrix } else { Role::Vector };
    let parameters = network.parameters().into_iter().map(|p| NamedParam::new(p.name, role(p.var.dims().len()), p.var)).collect();
    let rule = RuleConfig::AdamW(AdamW::new(pretrain.step_size));
    let mut optimizer = Optimizer::new(parameters, &GroupRules::uniform(rule))?;
    for epoch in 0..pretrain.epochs {
        let mut order = rows.clone();
        order.shuffle(&mut stream(pretrain.seed, "shuffle", epoch as u64));
        for batch in order.chunks(pretrain.batch_size) {
            stop.check()?;
            let (images, labels) = inputs.batch(batch, device)?;
            optimizer.backward_step(&network.loss(&images, &labels, Mode::Train)?)?;
        }
    }
    fs_err::create_dir_all(work.join("weights"))?;
    save_weights(&network, &path)?;
    Ok(path)
}
