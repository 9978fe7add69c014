//! Everything of a training in one file.

use std::collections::BTreeSet;
use std::path::Path;

use candle_core::{DType, Tensor, Var};

use crate::state_file::{Contents, EmaEntry, Exact, StateFileProblem, Stored, ema_name, in_file};
use crate::{NamedParam, Optimizer, Result, WeightEma};

/// The weights, the state of the optimizer and the average of the weights in one file, so that they are always of the
/// same step.
///
/// What a resumed run needs to give the same weights, bit for bit on the CPU:
///
/// | | |
/// |---|---|
/// | weights, also frozen ones and running statistics | here: all that `params` lists |
/// | state of the rules, number of steps, learning-rate factors | here |
/// | average of the weights | here, [`with_ema`](Self::with_ema) |
/// | model, rules and their hyperparameters | your settings; those of the rules are checked |
/// | [`Schedule`](crate::Schedule), clipping | your settings: they are functions of the step and the gradients |
/// | accumulated gradients | nothing, when saved between two steps |
/// | order of the data, dropout | yours: derive both from [`Optimizer::steps`]; candle's CPU generator has no seed |
///
/// The file is that of [`Optimizer::save_state`], which is also read from it by [`Optimizer::load_state`], with the
/// weights under the names of the parameters: `VarMap::load` and `VarBuilder::from_mmaped_safetensors` of candle-nn read
/// them as from any file of weights. `<parameter>/ema` is the average.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use isorate_optim::{
///     Accumulator, Checkpoint, GroupRules, Muon, NamedParam, Optimizer, Result, RuleConfig, Schedule, WeightEma,
///     clip_grad_norm,
/// };
///
/// /// One training, from its settings; with a file, it continues where that was written.
/// struct Training {
///     params: Vec<NamedParam>,
///     optimizer: Optimizer,
///     ema: WeightEma,
/// }
///
/// impl Training {
///     fn new() -> Result<Self> {
///         let weight = Var::new(&[[1.0_f32, 2.0, 3.0], [3.0, 4.0, 5.0]], &Device::Cpu)?;
///         let bias = Var::new(&[0.5_f32, -0.5], &Device::Cpu)?;
///         // With a VarMap: its entries, in any order.
///         let params = NamedParam::infer_all([("fc1.weight".into(), weight), ("fc1.bias".into(), bias)]);
///         let rules = GroupRules::hidden_with_adamw(RuleConfig::Muon(Muon::new(0.02)));
///         let optimizer = Optimizer::new(params.clone(), &rules)?;
///         let ema = WeightEma::new(&params, 0.99)?.with_warmup();
///         Ok(Self { params, optimizer, ema })
///     }
///
///     fn run(&mut self, until: u64) -> Result<()> {
///         let schedule = Schedule::cosine(10).with_warmup(2);
///         let mut accumulator = Accumulator::mean(&self.params, 2)?;
///         while self.optimizer.steps() < until {
///             let step = self.optimizer.steps();
///             for half in 0..2 {
///                 // The data is a function of the step.
///                 let x = Tensor::new(&[[1.0_f32, step as f32, half as f32]], &Device::Cpu)?;
///                 let (bias, weight) = (&self.params[0].var, &self.params[1].var);
///                 let loss = x.matmul(&weight.t()?)?.broadcast_add(bias)?.sqr()?.mean_all()?;
///                 if let Some(mut gradients) = accumulator.add(&loss.backward()?)? {
///                     clip_grad_norm(&mut gradients, &self.params, 1.0)?;
///                     self.optimizer.set_lr_factor(schedule.factor(step))?;
///                     self.optimizer.step(&gradients)?;
///                     self.ema.update()?;
///                 }
///             }
///         }
///         Ok(())
///     }
///
///     fn checkpoint(&mut self) -> Checkpoint<'_> {
///         Checkpoint::new(&self.params, &mut self.optimizer).with_ema(&mut self.ema)
///     }
///
///     fn bits(&self) -> Result<Vec<u32>> {
///         let all: Vec<Tensor> = self.params.iter().map(|p| p.var.flatten_all()).collect::<candle_core::Result<_>>()?;
///         Ok(Tensor::cat(&all, 0)?.to_vec1::<f32>()?.into_iter().map(f32::to_bits).collect())
///     }
/// }
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("checkpoint.safetensors");
/// let mut training = Training::new()?;
/// training.run(4)?;
/// training.checkpoint().save(&path)?;
/// training.run(10)?;
///
/// let mut resumed = Training::new()?; // in another process, say
/// resumed.checkpoint().load(&path)?;
/// resumed.run(10)?;
/// assert_eq!(resumed.bits()?, training.bits()?);
/// # Ok::<(), isorate_optim::Error>(())
/// ```
#[derive(Debug)]
pub struct Checkpoint<'a> {
    params: &'a [NamedParam],
    optimizer: &'a mut Optimizer,
    ema: Option<&'a mut WeightEma>,
}

const WEIGHTS: &str = "weights";
const AVERAGE: &str = "weight average";

impl<'a> Checkpoint<'a> {
    /// A training of `params`, which must list all parameters of the optimizer and may list more: frozen ones and
    /// running statistics.
    pub fn new(params: &'a [NamedParam], optimizer: &'a mut Optimizer) -> Self {
        Self { params, optimizer, ema: None }
    }

    /// The same training with an average of its weights.
    #[must_use]
    pub fn with_ema(self, ema: &'a mut WeightEma) -> Self {
        Self { ema: Some(ema), ..self }
    }

    /// Writes the file, which appears whole or not at all, as with [`Optimizer::save_state`].
    ///
    /// # Errors
    /// [`Error::StateFile`](crate::Error::StateFile), when a file that was at `path` before is unchanged, and
    /// [`Error::AveragesInPlace`](crate::Error::AveragesInPlace) between [`WeightEma::apply`] and [`WeightEma::restore`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        if let Some(ema) = &self.ema {
            ema.weights_in_place()?;
        }
        self.contents().map_err(|problem| in_file(path, problem))?.write(path)
    }

    fn contents(&self) -> Result<Contents, StateFileProblem> {
        self.check_list()?;
        let mut contents = Contents::new();
        let mut names = Vec::with_capacity(self.params.len());
        for param in self.params {
            contents.insert(param.name.clone(), &param.var)?;
            names.push(param.name.clone());
        }
        names.sort_unstable();
        contents.description.weights = Some(names);
        self.optimizer.add_to(&mut contents)?;
        if let Some(ema) = &self.ema {
            ema.add_to(&mut contents)?;
        }
        Ok(contents)
    }

    /// Reads the file. Everything is checked before anything changes: what [`Optimizer::load_state`] checks, and that
    /// the file has weights for exactly `params`, with the same shapes and types, and the average, when there is one
    /// here. An average that only the file has is left out.
    ///
    /// # Errors
    /// [`Error::StateFile`](crate::Error::StateFile) and [`Error::AveragesInPlace`](crate::Error::AveragesInPlace);
    /// weights, state and average are as before then.
    pub fn load(self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        if let Some(ema) = &self.ema {
            ema.weights_in_place()?;
        }
        let stored = Stored::read(path)?;
        let prepare = || {
            self.check_list()?;
            let state = self.optimizer.restored(&stored)?;
            let average = self.ema.as_ref().map(|ema| ema.restored(&stored)).transpose()?;
            Ok((self.weights(&stored)?, state, average))
        };
        let (weights, state, average) = prepare().map_err(|problem| in_file(path, problem))?;
        // From here on only a device that fails could leave a part undone.
        for (param, weight) in self.params.iter().zip(weights) {
            param.var.set(&weight)?;
        }
        self.optimizer.replace(state);
        if let (Some(ema), Some(average)) = (self.ema, average) {
            ema.replace(average);
        }
        Ok(())
    }

    fn check_list(&self) -> Result<(), StateFileProblem> {
        let listed: BTreeSet<&str> = self.params.iter().map(|param| param.name.as_str()).collect();
        match self.optimizer.assignments().find(|assignment| !listed.contains(assignment.name.as_str())) {
            Some(assignment) => Err(StateFileProblem::NotListed(assignment.name.clone())),
            None => Ok(()),
        }
    }

    /// The weights of the file, on their devices.
    fn weights(&self, stored: &Stored) -> Result<Vec<Tensor>, StateFileProblem> {
        let names = stored.description.weights.as_ref().ok_or(StateFileProblem::NoSection(WEIGHTS))?;
        let own: Vec<Wanted<'_>> = self.params.iter().map(|p| (p.name.as_str(), &p.var, p.var.dtype())).collect();
        fitting(stored, WEIGHTS, names, str::to_owned, &own)
    }
}

impl WeightEma {
    /// Writes the averages to a safetensors file, as tensors `<parameter>/ema`, in the form and in the way of
    /// [`Optimizer::save_state`].
    ///
    /// # Errors
    /// [`Error::StateFile`](crate::Error::StateFile); a file that was at `path` before is unchanged then.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let mut contents = Contents::new();
        self.add_to(&mut contents).map_err(|problem| in_file(path, problem))?;
        contents.write(path)
    }

    /// Reads what [`save`](Self::save) or [`Checkpoint::save`] has written, if decay, warm-up, parameters, shapes and
    /// types are those of this average.
    ///
    /// # Errors
    /// [`Error::StateFile`](crate::Error::StateFile); the averages are as before then.
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let stored = Stored::read(path)?;
        let average = self.restored(&stored).map_err(|problem| in_file(path, problem))?;
        self.replace(average);
        Ok(())
    }

    fn add_to(&self, contents: &mut Contents) -> Result<(), StateFileProblem> {
        for average in &self.averages {
            contents.insert(ema_name(&average.name), &average.average)?;
        }
        let mut parameters: Vec<String> = self.averages.iter().map(|average| average.name.clone()).collect();
        parameters.sort_unstable();
        contents.description.ema =
            Some(EmaEntry { decay: Exact(self.decay), warmup: self.warmup, updates: self.updates, parameters });
        Ok(())
    }

    fn restored(&self, stored: &Stored) -> Result<(u64, Vec<Var>), StateFileProblem> {
        let entry = stored.description.ema.as_ref().ok_or(StateFileProblem::NoSection(AVERAGE))?;
        let setting = |setting, found: String, expected: String| StateFileProblem::EmaSetting { setting, found, expected };
        if entry.decay != Exact(self.decay) {
            return Err(setting("decay", entry.decay.0.to_string(), self.decay.to_string()));
        }
        if entry.warmup != self.warmup {
            return Err(setting("warmup", entry.warmup.to_string(), self.warmup.to_string()));
        }
        let own: Vec<Wanted<'_>> = self.averages.iter().map(|a| (a.name.as_str(), &a.var, a.average.dtype())).collect();
        let averages = fitting(stored, AVERAGE, &entry.parameters, ema_name, &own)?;
        let averages = averages.iter().map(Var::from_tensor).collect::<candle_core::Result<_>>();
        Ok((entry.updates, averages.map_err(StateFileProblem::Device)?))
    }

    fn replace(&mut self, (updates, averages): (u64, Vec<Var>)) {
        self.updates = updates;
        for (average, var) in self.averages.iter_mut().zip(averages) {
            average.average = var;
        }
    }
}

/// A parameter by name, a variable of its shape and on its device, and the type that its tensor must have.
type Wanted<'a> = (&'a str, &'a Var, DType);

/// For each parameter its tensor in the file, checked, on the device of the parameter and in memory of its own. The
/// file must have exactly these parameters.
fn fitting(
    stored: &Stored,
    section: &'static str,
    names: &[String],
    tensor_name: impl Fn(&str) -> String,
    params: &[Wanted<'_>],
) -> Result<Vec<Tensor>, StateFileProblem> {
    let named: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let own: BTreeSet<&str> = params.iter().map(|(name, ..)| *name).collect();
    let mut additional = named.difference(&own).copied();
    let mut tensors = Vec::with_capacity(params.len());
    for &(name, var, dtype) in params {
        if !named.contains(name) {
            let mut renamed = None;
            for other in additional {
                if stored.tensor(&tensor_name(other))?.shape() == var.shape() {
                    renamed = Some(other.to_owned());
                    break;
                }
            }
            return Err(StateFileProblem::MissingParameter { section, name: name.to_owned(), renamed });
        }
        let tensor = stored.tensor(&tensor_name(name))?;
        if tensor.shape() != var.shape() {
            let (found, expected) = (tensor.dims().to_vec(), var.dims().to_vec());
            return Err(StateFileProblem::Shape { name: name.to_owned(), found, expected });
        }
        if tensor.dtype() != dtype {
            let (found, expected) = (format!("{:?}", tensor.dtype()), format!("{dtype:?}"));
            return Err(StateFileProblem::Dtype { name: name.to_owned(), found, expected });
        }
        tensors.push(tensor.to_device(var.device()).map_err(StateFileProblem::Device)?);
    }
    match additional.next() {
        Some(name) => Err(StateFileProblem::AdditionalParameter { section, name: name.to_owned() }),
        None => Ok(tensors),
    }
}
