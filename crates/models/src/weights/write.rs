//! Weights to a file.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor, Var};
use isorate_atomic_file::AtomicFile;
use safetensors::{Dtype, SafeTensorError, View, serialize_to_file};

use crate::Model;
use crate::error::{Error, FileProblem, Result};

/// Writes the parameters and buffers of a model, in f32 under their names here, into a safetensors file that appears whole
/// or not at all. [`load_weights`](crate::load_weights) reads it, and so do PyTorch and transformers.
///
/// # Errors
/// [`Error::File`] when the file cannot be written. What was there before is unchanged.
pub fn save_weights(model: &impl Model, path: &Path) -> Result<()> {
    let parameters = model.parameters().into_iter().map(|parameter| (parameter.name, parameter.var));
    let values = |(name, var): (String, Var)| {
        let tensor = var.as_detached_tensor();
        let tensor = if model.is_turned_in_files(&name) { tensor.t()? } else { tensor };
        Ok((name, Values::of(&tensor)?))
    };
    let tensors = parameters.chain(model.buffers()).map(values).collect::<Result<Vec<_>>>()?;
    write(tensors, path).map_err(|error| Error::file(path, FileProblem::Write(error)))
}

fn write(tensors: Vec<(String, Values)>, path: &Path) -> std::io::Result<()> {
    let file = AtomicFile::create(path)?;
    // Without this entry transformers refuses the file.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    serialize_to_file(tensors, Some(metadata), file.partial_path()).map_err(|error| match error {
        SafeTensorError::IoError(error) => error,
        other => std::io::Error::other(other),
    })?;
    file.commit()
}

/// The values of a tensor as safetensors has them.
struct Values {
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Values {
    fn of(tensor: &Tensor) -> Result<Self> {
        let values = tensor.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
        Ok(Self { shape: tensor.dims().to_vec(), bytes: values.into_iter().flat_map(f32::to_le_bytes).collect() })
    }
}

impl View for Values {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}
