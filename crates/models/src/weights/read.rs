//! Weights from published files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Tensor, Var};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use crate::error::{Error, FileProblem, Result};
use crate::{Model, ParameterKind};

/// Where the weights of the last layer come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadWeights {
    /// The file has them.
    Read,
    /// They stay as they are: for fine-tuning on other classes. What the file has for the last layer is not looked at.
    Keep,
}

/// Gives a model the weights of a file, with all that belongs to its state, such as running averages.
///
/// The file is a safetensors file, or the `model.safetensors.index.json` of a model that is spread over several. The names of
/// its tensors may be those of PyTorch or those of Hugging Face's transformers; see the model. They are f32, or f16 or bf16,
/// which are converted.
///
/// # Errors
/// [`Error::File`] when a tensor is missing, has another shape or no type of weights, or has no place in the model, and when
/// the file cannot be read or is no such file. Then the model is as it was.
pub fn load_weights(model: &impl Model, path: &Path, head: HeadWeights) -> Result<()> {
    let files = read_files(path)?;
    let mut tensors = BTreeMap::new();
    for (file, bytes) in &files {
        let views = SafeTensors::deserialize(bytes).map_err(|problem| Error::file(file, FileProblem::NotSafetensors(problem)))?;
        let mut views = views.tensors();
        // They come in the order of a hash map.
        views.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (name, view) in views {
            if let Some((first, _)) = tensors.insert(name.clone(), (file, view)) {
                return Err(Error::file(file, FileProblem::InTwoFiles { name, first: first.clone() }));
            }
        }
    }

    let of_head = layer_of_head(model);
    let parameters = model.parameters().into_iter().map(|parameter| (parameter.name, parameter.var));
    let mut values = Vec::new();
    for (name, var) in parameters.chain(model.buffers()) {
        let mut names = model.names_in_files(&name);
        names.retain(|name| tensors.contains_key(name));
        let found: Vec<_> = names.into_iter().filter_map(|name| tensors.remove_entry(&name)).collect();
        let turned = model.is_turned_in_files(&name);
        let is_head = of_head.as_ref().is_some_and(|layer| name.starts_with(layer));
        if is_head && head == HeadWeights::Keep {
            continue;
        }
        let [(name, (file, view))] = &found[..] else {
            let problem = match &found[..] {
                [(first, _), (second, _), ..] => FileProblem::TwoNames { first: first.clone(), second: second.clone() },
                _ => missing(model, name, &var, is_head),
            };
            return Err(Error::file(path, problem));
        };
        values.push((var.clone(), value(name, view, &var, turned, is_head).map_err(|problem| problem.at(file))?));
    }
    if let Some((name, (file, view))) = tensors.into_iter().find(|(name, _)| !model.does_without(name)) {
        let (dtype, shape) = (format!("{:?}", view.dtype()), view.shape().to_vec());
        return Err(Error::file(file, FileProblem::Unexpected { name, dtype, shape }));
    }
    for (var, value) in values {
        var.set(&value)?;
    }
    Ok(())
}

/// The layer whose parameters are the head, with the dot after its name.
fn layer_of_head(model: &impl Model) -> Option<String> {
    let weight = model.parameters().into_iter().find(|parameter| parameter.kind == ParameterKind::Head)?.name;
    weight.strip_suffix("weight").map(str::to_owned)
}

fn missing(model: &impl Model, name: String, var: &Var, is_head: bool) -> FileProblem {
    let mut other_names = model.names_in_files(&name);
    other_names.retain(|other| *other != name);
    let hint = if is_head { KEEP_THE_HEAD } else { "the file belongs to a model of another kind, depth or width" };
    FileProblem::Missing { name, other_names, expected: var.dims().to_vec(), hint }
}

const KEEP_THE_HEAD: &str = "to train on other classes, keep the model's own head (`HeadWeights::Keep`)";

/// A problem with a tensor, or one of candle.
enum Problem {
    OfFile(FileProblem),
    OfCandle(candle_core::Error),
}

impl Problem {
    fn at(self, file: &Path) -> Error {
        match self {
            Self::OfFile(problem) => Error::file(file, problem),
            Self::OfCandle(error) => error.into(),
        }
    }
}

/// What the file has for `var`, of its type and on its device; `turned` if the file has the transpose.
fn value(name: &str, view: &TensorView<'_>, var: &Var, turned: bool, is_head: bool) -> Result<Tensor, Problem> {
    let name = name.to_owned();
    let mut expected = var.dims().to_vec();
    if turned {
        expected.reverse();
    }
    if view.shape() != expected {
        let found = view.shape().to_vec();
        let hint = if is_head { KEEP_THE_HEAD } else { "the file belongs to a model of another width" };
        return Err(Problem::OfFile(FileProblem::Shape { name, found, expected, hint }));
    }
    let dtype = match view.dtype() {
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        other => return Err(Problem::OfFile(FileProblem::Type { name, found: format!("{other:?}") })),
    };
    Tensor::from_raw_buffer(view.data(), dtype, view.shape(), var.device())
        .and_then(|tensor| tensor.to_dtype(var.dtype()))
        .and_then(|tensor| if turned { tensor.t() } else { Ok(tensor) })
        .map_err(Problem::OfCandle)
}

/// The file, or those that it lists, with their bytes.
fn read_files(path: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let bytes = read(path)?;
    if path.extension().is_none_or(|extension| extension != "json") {
        return Ok(vec![(path.to_owned(), bytes)]);
    }
    let index: Index = serde_json::from_slice(&bytes).map_err(|problem| Error::file(path, FileProblem::Index(problem)))?;
    let mut files: Vec<String> = index.weight_map.into_values().collect();
    files.sort_unstable();
    files.dedup();
    let of_name = |name: String| {
        if Path::new(&name).file_name().is_none_or(|file| file != name.as_str()) {
            return Err(Error::file(path, FileProblem::Elsewhere(name)));
        }
        let file = path.with_file_name(name);
        let bytes = read(&file)?;
        Ok((file, bytes))
    };
    files.into_iter().map(of_name).collect()
}

/// The list of the files that a model is spread over.
#[derive(Deserialize)]
struct Index {
    /// From the name of a tensor to the file that has it.
    weight_map: BTreeMap<String, String>,
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let in_file = |problem| Error::file(path, problem);
    // Reading a pipe or a terminal would not end.
    if !std::fs::metadata(path).map_err(|error| in_file(FileProblem::Read(error)))?.is_file() {
        return Err(in_file(FileProblem::NotAFile));
    }
    std::fs::read(path).map_err(|error| in_file(FileProblem::Read(error)))
}
