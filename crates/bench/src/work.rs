use crate::Result;

/// One call of a work.
pub(crate) type Call = Box<dyn FnMut() -> Result<()>>;

/// Something that is measured: a name such as `train/mlp/muon`, and how it is made ready.
pub struct Work {
    pub(crate) name: String,
    pub(crate) flops: Option<f64>,
    pub(crate) is_training_step: bool,
    pub(crate) prepare: Box<dyn Fn() -> Result<Call> + Send + Sync>,
}

impl Work {
    pub(crate) fn new(name: impl Into<String>, prepare: impl Fn() -> Result<Call> + Send + Sync + 'static) -> Self {
        Self { name: name.into(), flops: None, is_training_step: false, prepare: Box::new(prepare) }
    }

    pub(crate) fn flops(mut self, flops: f64) -> Self {
        self.flops = Some(flops);
        self
    }

    pub(crate) fn training_step(mut self) -> Self {
        self.is_training_step = true;
        self
    }

    /// Its name: unique, in segments between `/`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Nominal floating-point operations of one call; None where products are not what takes the time.
    pub fn nominal_flops(&self) -> Option<f64> {
        self.flops
    }

    /// Whether it is a whole step: forward, backward, optimizer.
    pub fn is_training_step(&self) -> bool {
        self.is_training_step
    }
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Work").field("name", &self.name).field("flops", &self.flops).finish_non_exhaustive()
    }
}
