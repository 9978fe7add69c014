//! State files: safetensors with a description and a checksum.
//!
//! The metadata has one entry, [`KEY`], with a [`Description`] in JSON. Tensors:
//!
//! | name | content |
//! |---|---|
//! | `<parameter>` | weights, under the names by which candle's `VarMap::load` and `VarBuilder` find them |
//! | `<parameter>/<part>` | a part of the state of its rule; numbers are f64 scalars |
//! | `<parameter>/ema` | the average of its weights |
//! | `__checksum__` | 32 bytes, the last of the file: BLAKE3 of all bytes before them, the header included |
//!
//! They are ordered by type and name, so equal contents give equal bytes.

mod description;
mod problem;

use std::collections::{BTreeMap, HashMap};
use std::io::{BufWriter, Write};
use std::path::Path;

use candle_core::{CpuStorage, DType, Device, Storage, Tensor};
use isorate_atomic_file::AtomicFile;
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensors};

use crate::elementwise::contiguous;
use crate::{Error, Result};

use description::Description;
pub(crate) use description::{Described, EmaEntry, Exact, OptimizerEntry, StateEntry, ema_name, settings_of, state_name};
pub use problem::StateFileProblem;

/// The metadata entry that makes a safetensors file a state file.
const KEY: &str = "isorate-optim";

/// The version of the form described above.
const VERSION: u64 = 1;

const CHECKSUM: &str = "__checksum__";
const CHECKSUM_BYTES: usize = blake3::OUT_LEN;

/// What is to be written.
#[derive(Debug)]
pub(crate) struct Contents {
    pub description: Description,
    tensors: BTreeMap<String, Tensor>,
}

impl Contents {
    pub fn new() -> Self {
        Self { description: Description::new(VERSION), tensors: BTreeMap::new() }
    }

    /// Adds a tensor.
    pub fn insert(&mut self, name: String, tensor: &Tensor) -> Result<(), StateFileProblem> {
        if name == CHECKSUM || self.tensors.contains_key(&name) {
            return Err(StateFileProblem::NameClash(name));
        }
        self.tensors.insert(name, tensor.detach());
        Ok(())
    }

    /// Writes the file so that it appears whole or not at all.
    pub fn write(&self, path: &Path) -> Result<()> {
        self.write_file(path).map_err(|problem| in_file(path, problem))
    }

    fn write_file(&self, path: &Path) -> Result<(), StateFileProblem> {
        match std::fs::symlink_metadata(path) {
            Ok(kind) if !(kind.is_file() || kind.is_symlink()) => return Err(StateFileProblem::NotAFile),
            _ => {}
        }
        let file = AtomicFile::create(path).map_err(StateFileProblem::Write)?;
        let mut out = BufWriter::with_capacity(1 << 16, file);
        self.encode(&mut out)?;
        let file = out.into_inner().map_err(|error| StateFileProblem::Write(error.into_error()))?;
        file.commit().map_err(StateFileProblem::Write)
    }

    fn encode(&self, out: &mut dyn Write) -> Result<(), StateFileProblem> {
        let mut tensors = Vec::with_capacity(self.tensors.len());
        for (name, tensor) in &self.tensors {
            let dtype = stored_type(tensor.dtype())
                .ok_or_else(|| StateFileProblem::CannotStore { name: name.clone(), dtype: tensor.dtype() })?;
            tensors.push((dtype, name, tensor));
        }
        // Wide types first, so that all data is aligned; stable, so names stay in order.
        tensors.sort_by_key(|(dtype, ..)| std::cmp::Reverse(*dtype));

        let mut offset = 0;
        let mut info = |dtype: Dtype, shape: &[usize]| {
            let start = offset;
            offset += shape.iter().product::<usize>() * dtype.bitsize() / 8;
            TensorInfo { dtype, shape: shape.to_vec(), data_offsets: (start, offset) }
        };
        let mut infos: Vec<(String, TensorInfo)> =
            tensors.iter().map(|(dtype, name, tensor)| ((*name).clone(), info(*dtype, tensor.dims()))).collect();
        infos.push((CHECKSUM.to_owned(), info(Dtype::U8, &[CHECKSUM_BYTES])));
        let description = serde_json::to_string(&self.description).map_err(StateFileProblem::Description)?;
        let metadata = HashMap::from([(KEY.to_owned(), description)]);
        let metadata = Metadata::new(Some(metadata), infos).map_err(StateFileProblem::NotSafetensors)?;
        let mut header = serde_json::to_vec(&metadata).map_err(StateFileProblem::Description)?;
        header.resize(header.len().next_multiple_of(8), b' ');

        let mut hasher = blake3::Hasher::new();
        let mut put = |bytes: &[u8]| {
            hasher.update(bytes);
            out.write_all(bytes).map_err(StateFileProblem::Write)
        };
        put(&(header.len() as u64).to_le_bytes())?;
        put(&header)?;
        for (_, _, tensor) in tensors {
            put(&bytes_of(tensor)?)?;
        }
        out.write_all(hasher.finalize().as_bytes()).map_err(StateFileProblem::Write)
    }
}

/// A file that was read: whole, unaltered, of this version, and holding the tensors that it describes and no others.
#[derive(Debug)]
pub(crate) struct Stored {
    pub description: Description<Described>,
    bytes: Vec<u8>,
    /// Where each tensor lies in `bytes`.
    tensors: BTreeMap<String, (DType, Vec<usize>, std::ops::Range<usize>)>,
}

impl Stored {
    pub fn read(path: &Path) -> Result<Self> {
        Self::read_bytes(path).map_err(|problem| in_file(path, problem))
    }

    fn read_bytes(path: &Path) -> Result<Self, StateFileProblem> {
        let kind = std::fs::metadata(path).map_err(StateFileProblem::Read)?;
        // Reading a pipe or a terminal would not end.
        if !kind.is_file() {
            return Err(StateFileProblem::NotAFile);
        }
        Self::parse(std::fs::read(path).map_err(StateFileProblem::Read)?)
    }

    fn parse(bytes: Vec<u8>) -> Result<Self, StateFileProblem> {
        let (header, metadata) = SafeTensors::read_metadata(&bytes).map_err(StateFileProblem::NotSafetensors)?;
        let text = metadata.metadata().as_ref().and_then(|entries| entries.get(KEY)).ok_or(StateFileProblem::Foreign)?;
        let version = description::version(text).map_err(StateFileProblem::Description)?;
        if version != VERSION {
            return Err(StateFileProblem::Version { found: version, expected: VERSION });
        }
        let (before, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(StateFileProblem::Checksum)?;
        // In constant time or not does not matter: the checksum guards against accidents, not against forgery.
        if blake3::hash(before).as_bytes() != checksum {
            return Err(StateFileProblem::Checksum);
        }
        let description: Description<Described> = serde_json::from_str(text).map_err(StateFileProblem::Description)?;
        let data = 8 + header;
        let mut tensors = BTreeMap::new();
        let infos: BTreeMap<String, &TensorInfo> = metadata.tensors().into_iter().collect();
        for (name, info) in infos.into_iter().filter(|(name, _)| name != CHECKSUM) {
            let dtype =
                candle_type(info.dtype).ok_or_else(|| StateFileProblem::UnknownType { name: name.clone(), dtype: info.dtype })?;
            let (start, end) = info.data_offsets;
            tensors.insert(name, (dtype, info.shape.clone(), data + start..data + end));
        }
        let mut described: Vec<String> = description.tensor_names().collect();
        described.sort_unstable();
        if let Some(missing) = described.iter().find(|name| !tensors.contains_key(*name)) {
            return Err(StateFileProblem::MissingTensor(missing.clone()));
        }
        if let Some(additional) = tensors.keys().find(|name| described.binary_search(name).is_err()) {
            return Err(StateFileProblem::UnexpectedTensor(additional.clone()));
        }
        Ok(Self { description, bytes, tensors })
    }

    /// A tensor of the file, on the CPU.
    pub fn tensor(&self, name: &str) -> Result<Tensor, StateFileProblem> {
        let (dtype, shape, range) = self.tensors.get(name).ok_or_else(|| StateFileProblem::MissingTensor(name.to_owned()))?;
        Tensor::from_raw_buffer(&self.bytes[range.clone()], *dtype, shape, &Device::Cpu).map_err(StateFileProblem::Device)
    }
}

/// The problem with the name of the file.
pub(crate) fn in_file(path: &Path, problem: StateFileProblem) -> Error {
    Error::StateFile { file: path.to_owned(), problem: Box::new(problem) }
}

const TYPES: [(DType, Dtype); 7] = [
    (DType::F64, Dtype::F64),
    (DType::F32, Dtype::F32),
    (DType::BF16, Dtype::BF16),
    (DType::F16, Dtype::F16),
    (DType::I64, Dtype::I64),
    (DType::U32, Dtype::U32),
    (DType::U8, Dtype::U8),
];

fn stored_type(dtype: DType) -> Option<Dtype> {
    TYPES.iter().find(|(candle, _)| *candle == dtype).map(|(_, stored)| *stored)
}

fn candle_type(dtype: Dtype) -> Option<DType> {
    TYPES.iter().find(|(_, stored)| *stored == dtype).map(|(candle, _)| *candle)
}

/// The elements in the order of memory, little-endian.
fn bytes_of(tensor: &Tensor) -> Result<Vec<u8>, StateFileProblem> {
    macro_rules! little_endian {
        ($data:expr, $layout:expr) => {
            contiguous($data, $layout).map_err(StateFileProblem::Device)?.iter().flat_map(|x| x.to_le_bytes()).collect()
        };
    }
    let cannot_store = || StateFileProblem::CannotStore { name: String::new(), dtype: tensor.dtype() };
    let tensor = tensor.to_device(&Device::Cpu).and_then(|t| t.contiguous()).map_err(StateFileProblem::Device)?;
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else { return Err(cannot_store()) };
    Ok(match storage {
        CpuStorage::F64(data) => little_endian!(data, layout),
        CpuStorage::F32(data) => little_endian!(data, layout),
        CpuStorage::BF16(data) => little_endian!(data, layout),
        CpuStorage::F16(data) => little_endian!(data, layout),
        CpuStorage::I64(data) => little_endian!(data, layout),
        CpuStorage::U32(data) => little_endian!(data, layout),
        CpuStorage::U8(data) => little_endian!(data, layout),
        _ => return Err(cannot_store()),
    })
}
