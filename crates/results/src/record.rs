/// One number of a run, in long form.
///
/// Made by [`Record::at_step`] and the methods that follow it:
///
/// ```
/// use isorate_results::Record;
/// let record = Record::at_step(78).epoch(1.0).split("test").metric("accuracy").of("muon").group("minority").value(0.31);
/// assert_eq!(record.group, "minority");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Key of the update rule (`muon`, `gd`, …), or of what was measured where no rule took part (`data`).
    pub optimizer: String,
    /// Number of updates before the measurement; 0 is the initialization.
    pub step: u64,
    /// Passes over the training set at that step, where there is a training set.
    pub epoch: Option<f64>,
    /// Continuous time, step · step size, in theory runs.
    pub time: Option<f64>,
    /// What was measured on: `train`, `validation`, `test`; in theory runs `closed-form` or `simulation`.
    pub split: String,
    /// What was measured: `accuracy`, `loss`, `alpha`, `minority_gap`, ….
    pub metric: String,
    /// The part of the data or the component: `all`, `majority`, `minority`, `class-3`, a component's index.
    pub group: String,
    /// The number; NaN where a diverged run has none.
    pub value: f64,
}

impl Record {
    /// A record at a step; everything else is still empty.
    pub fn at_step(step: u64) -> Self {
        Self {
            optimizer: String::new(),
            step,
            epoch: None,
            time: None,
            split: String::new(),
            metric: String::new(),
            group: "all".into(),
            value: f64::NAN,
        }
    }
    /// Sets the passes over the training set.
    #[must_use]
    pub fn epoch(mut self, epoch: f64) -> Self {
        self.epoch = Some(epoch);
        self
    }
    /// Sets the continuous time.
    #[must_use]
    pub fn time(mut self, time: f64) -> Self {
        self.time = Some(time);
        self
    }
    /// Sets what was measured on.
    #[must_use]
    pub fn split(mut self, split: &str) -> Self {
        split.clone_into(&mut self.split);
        self
    }
    /// Sets what was measured.
    #[must_use]
    pub fn metric(mut self, metric: &str) -> Self {
        metric.clone_into(&mut self.metric);
        self
    }
    /// Sets the update rule.
    #[must_use]
    pub fn of(mut self, optimizer: &str) -> Self {
        optimizer.clone_into(&mut self.optimizer);
        self
    }
    /// Sets the part of the data.
    #[must_use]
    pub fn group(mut self, group: &str) -> Self {
        group.clone_into(&mut self.group);
        self
    }
    /// Sets the number.
    #[must_use]
    pub fn value(mut self, value: f64) -> Self {
        self.value = value;
        self
    }
}

/// A column of a results file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name in the file.
    pub name: &'static str,
    /// Its type: `str`, `u64`, or `f64`; `?` marks one that may be null.
    pub kind: &'static str,
    /// What it holds, with the unit.
    pub meaning: &'static str,
}

/// The columns of a results file, in their order.
pub const COLUMNS: [Column; 12] = [
    Column { name: "run_id", kind: "str", meaning: "hash of what was asked for" },
    Column { name: "experiment", kind: "str", meaning: "name of the specification file" },
    Column { name: "scale", kind: "str", meaning: "smoke, default or paper" },
    Column { name: "optimizer", kind: "str", meaning: "key of the update rule" },
    Column { name: "seed", kind: "u64", meaning: "the seed of every random stream of the run" },
    Column { name: "step", kind: "u64", meaning: "updates made before the measurement" },
    Column { name: "epoch", kind: "f64?", meaning: "passes over the training set" },
    Column { name: "time", kind: "f64?", meaning: "continuous time: step times step size" },
    Column { name: "split", kind: "str", meaning: "data that was measured on" },
    Column {
        name: "metric",
        kind: "str",
        meaning: "what was measured; accuracies are fractions in [0, 1], losses in nats or squared units",
    },
    Column { name: "group", kind: "str", meaning: "part of the data, or component" },
    Column { name: "value", kind: "f64", meaning: "the number; NaN where a diverged run has none" },
];
