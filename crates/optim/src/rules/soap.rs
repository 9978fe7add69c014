//! SOAP.

use candle_core::{Tensor, Var};
use faer::{Accum, Mat, Par};
use serde::{Deserialize, Serialize};

use super::{Check, Rule, matrix_shape, take_count};
use crate::config::{Hyper, Param};
use crate::decompose::{all_finite, eigh, thin_q, to_mat, to_tensor};
use crate::elementwise::{AdamStep, AverageSquare, ScaledAdd, overwritten2, overwritten3, update2};
use crate::state::State;
use crate::{Error, Result};

/// SOAP: Adam in the eigenbasis of Shampoo's factors (N. Vyas et al., 2024), as the authors' implementation defines it.
///
/// For a matrix W, [r, c], with gradient g, in step t = 1, 2, … after one that only initializes:
///
/// ```text
/// g′ = Qᵀ_L g Q_R
/// m ← β₁m + (1 − β₁)g′,  v ← β₂v + (1 − β₂)g′²         in the basis, element by element
/// N = Q_L [m/(√v + ε)] Qᵀ_R
/// W ← (1 − ηλ)(W − η·√(1 − β₂ᵗ)/(1 − β₁ᵗ)·N)
/// L ← βL + (1 − β)ggᵀ,  R ← βR + (1 − β)gᵀg           β is `shampoo_beta`
/// ```
///
/// The first gradient moves nothing: L and R start as (1 − β)ggᵀ and (1 − β)gᵀg, and Q_L, Q_R as their eigenvectors by
/// nonincreasing eigenvalue. In each step t that is a multiple of `precondition_every`, after the update, the bases are
/// refreshed by one step of orthogonal iteration:
///
/// ```text
/// order the columns of Q_L by diag(Qᵀ_L L Q_L), nonincreasing; v moves with them
/// Q_L ← the Q of a QR decomposition of L Q_L           likewise Q_R
/// m ← m in the new bases
/// ```
///
/// **Shapes.** Tensors of more dimensions, such as convolution filters [out, in, h, w], are matrices [out, in·h·w]; the
/// reference gives each dimension a basis. A side larger than `max_precond_dim` has no factor and keeps the identity as
/// its basis. So do vectors, for which the rule is Adam without its first step, as by default in the reference.
///
/// **Not determined.** When r ≠ c, one of the first factors is singular, and the basis of its null space is arbitrary,
/// but the elementwise steps depend on it: two implementations, or one on two machines, may differ by the order of η from
/// the second step on. Here equal inputs give equal bits on one machine. For the same reason the rule commutes with
/// rotations of W when r = c, but not otherwise.
///
/// **Computation.** Products and moments stay on the device and in the type of the parameter. Eigenvectors and QR are
/// computed on the CPU in f64: from another device, factors and bases are copied there and back in each refresh, and only
/// then. Decompositions run in parallel, each on one thread: those of all parameters together on the CPU, the two sides
/// of one parameter at a time on another device. A factor that overflowed
/// ([`Error::NonFiniteFactor`](crate::Error::NonFiniteFactor)) is an error that names the parameter; no weight and no
/// state is changed.
///
/// **Defaults:** β₁ and β₂ 0.95, `shampoo_beta` as β₂, ε 1e-8, weight decay 0.01, `precondition_every` 10,
/// `max_precond_dim` 10000. The usual learning rate is 0.003.
///
/// **Costs.** State: 2rc elements for m and v, 2(r² + c²) for factors and bases; during a step, factors once more, and
/// bases in a refresh. Each step: 6rc(r + c) operations; each refresh: about 5(r³ + c³) more.
///
/// ```
/// use candle_core::{Device, Var};
/// use isorate_optim::{GroupRules, NamedParam, Optimizer, Role, RuleConfig, Soap};
///
/// let w = Var::new(&[[5.0_f64, 0.0], [0.0, 0.1]], &Device::Cpu)?;
/// let soap = Soap { weight_decay: 0.0, ..Soap::new(0.1) };
/// let params = vec![NamedParam::new("w", Role::Matrix, w.clone())];
/// let mut optimizer = Optimizer::new(params, &GroupRules::uniform(RuleConfig::Soap(soap)))?;
/// optimizer.backward_step(&w.sqr()?.sum_all()?)?;
/// assert_eq!(w.to_vec2::<f64>()?[0][0], 5.0);
/// optimizer.backward_step(&w.sqr()?.sum_all()?)?;
/// // In the eigenbasis, the first step of Adam is η·sign(g′).
/// let moved = w.to_vec2::<f64>()?;
/// assert!((moved[0][0] - 4.9).abs() < 1e-6 && moved[1][1].abs() < 1e-6);
/// # Ok::<(), isorate_optim::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Soap {
    /// Learning rate η > 0.
    pub lr: f64,
    /// Decay rate β₁ of the first moment, in [0, 1).
    #[serde(default = "default_beta")]
    pub beta1: f64,
    /// Decay rate β₂ of the second moment, in [0, 1).
    #[serde(default = "default_beta")]
    pub beta2: f64,
    /// Decay rate β of the factors, in [0, 1); None is β₂.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shampoo_beta: Option<f64>,
    /// ε ≥ 0, added to the root of the second moment.
    #[serde(default = "default_eps")]
    pub eps: f64,
    /// Decoupled weight decay λ ≥ 0.
    #[serde(default = "default_weight_decay")]
    pub weight_decay: f64,
    /// Period of the refreshes in steps, at least 1.
    #[serde(default = "default_period")]
    pub precondition_every: usize,
    /// The largest side that gets a basis.
    #[serde(default = "default_max_precond_dim")]
    pub max_precond_dim: usize,
}

fn default_beta() -> f64 {
    0.95
}

fn default_eps() -> f64 {
    1e-8
}

fn default_weight_decay() -> f64 {
    0.01
}

fn default_period() -> usize {
    10
}

fn default_max_precond_dim() -> usize {
    10_000
}

impl Soap {
    /// The rule with its default hyperparameters.
    pub fn new(lr: f64) -> Self {
        Self {
            lr,
            beta1: default_beta(),
            beta2: default_beta(),
            shampoo_beta: None,
            eps: default_eps(),
            weight_decay: default_weight_decay(),
            precondition_every: default_period(),
            max_precond_dim: default_max_precond_dim(),
        }
    }
}

impl Hyper for Soap {
    const NAME: &'static str = "soap";

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn validate(&self) -> Result<()> {
        let check = Check { rule: Self::NAME };
        check.lr(self.lr)?;
        check.decay_rate("beta1", self.beta1)?;
        check.decay_rate("beta2", self.beta2)?;
        if let Some(beta) = self.shampoo_beta {
            check.decay_rate("shampoo_beta", beta)?;
        }
        check.not_negative("eps", self.eps)?;
        check.not_negative("weight_decay", self.weight_decay)?;
        check.that(self.precondition_every >= 1, "precondition_every", self.precondition_every, "it must be at least 1")
    }

    fn build(&self, param: &Param<'_>) -> Result<Box<dyn Rule>> {
        let weight = param.var;
        let zeros = |shape: (usize, usize)| Var::zeros(shape, weight.dtype(), weight.device());
        let (matrix, has_basis) = match matrix_shape(weight.dims()) {
            None => ((weight.elem_count(), 1), [false; 2]),
            Some((r, c)) => ((r, c), [r, c].map(|size| size <= self.max_precond_dim)),
        };
        Ok(Box::new(SoapState {
            settings: *self,
            has_basis,
            sides: [None, None],
            first: zeros(matrix)?,
            second: zeros(matrix)?,
            gradients: 0,
            prepared: None,
        }))
    }
}

#[derive(Debug)]
struct SoapState {
    settings: Soap,
    /// Whether the left and the right side are small enough for a basis.
    has_basis: [bool; 2],
    /// The left and the right side, from the first gradient on.
    sides: [Option<Side>; 2],
    /// m, [r, c], in the bases.
    first: Var,
    /// v, [r, c], in the bases.
    second: Var,
    /// Gradients taken in: t + 1 after step t.
    gradients: usize,
    /// The sides after the coming step. They replace the others only in that step: if the decomposition for another
    /// parameter fails, this one stays as it is.
    prepared: Option<[Option<Prepared>; 2]>,
}

/// One factor with its basis. Tensors are replaced, never written to.
#[derive(Debug)]
struct Side {
    /// L or R, [k, k].
    factor: Tensor,
    /// Q_L or Q_R, [k, k].
    basis: Tensor,
}

#[derive(Debug)]
struct Prepared {
    side: Side,
    /// Which old column each column of a refreshed basis came from.
    order: Option<Vec<u32>>,
}

impl SoapState {
    fn is_due(&self) -> bool {
        self.gradients > 0 && self.gradients.is_multiple_of(self.settings.precondition_every)
    }

    /// The factor of the side with this index after a gradient; `product` is ggᵀ or gᵀg.
    fn factor_after(&self, index: usize, product: Tensor) -> Result<Tensor> {
        let beta = self.settings.shampoo_beta.unwrap_or(self.settings.beta2);
        match &self.sides[index] {
            None => Ok((product * (1.0 - beta))?),
            Some(side) => overwritten2(&ScaledAdd { keep: 1.0 - beta, scale: beta }, product, &side.factor),
        }
    }

    /// Qᵀ_L x Q_R
    fn projected(&self, x: &Tensor) -> Result<Tensor> {
        let [left, right] = &self.sides;
        let mut x = x.clone();
        if let Some(side) = left {
            x = side.basis.t()?.matmul(&x)?;
        }
        if let Some(side) = right {
            x = x.matmul(&side.basis)?;
        }
        Ok(x)
    }

    /// Q_L x Qᵀ_R
    fn projected_back(&self, x: &Tensor) -> Result<Tensor> {
        let [left, right] = &self.sides;
        let mut x = x.clone();
        if let Some(side) = left {
            x = side.basis.matmul(&x)?;
        }
        if let Some(side) = right {
            x = x.matmul(&side.basis.t()?)?;
        }
        Ok(x)
    }

    /// Moves m and v to the bases of the prepared sides, and those into their place.
    fn change_bases(&mut self, prepared: [Option<Prepared>; 2]) -> Result<()> {
        let refreshed = prepared.iter().flatten().any(|side| side.order.is_some());
        let outside = if refreshed { Some(self.projected_back(&self.first)?) } else { None };
        for (dim, prepared) in prepared.into_iter().enumerate() {
            let Some(Prepared { side, order }) = prepared else { continue };
            if let Some(order) = order {
                let order = Tensor::new(order, self.second.device())?;
                self.second.set(&self.second.index_select(&order, dim)?)?;
            }
            self.sides[dim] = Some(side);
        }
        if let Some(outside) = outside {
            self.first.set(&self.projected(&outside)?)?;
        }
        Ok(())
    }
}

impl Rule for SoapState {
    fn prepare(&mut self, gradient: &Tensor) -> Result<()> {
        let gradient = gradient.reshape(self.first.shape())?;
        let transposed = gradient.t()?;
        // Tensors on a device are read and made on this thread: candle's CUDA devices have a stream for each.
        let mut factors = [None, None];
        let mut tasks = [None, None];
        for dim in 0..2 {
            if !self.has_basis[dim] {
                continue;
            }
            let product = if dim == 0 { gradient.matmul(&transposed)? } else { transposed.matmul(&gradient)? };
            let factor = self.factor_after(dim, product)?;
            tasks[dim] = match &self.sides[dim] {
                None => Some(Task::Start(to_mat(&factor)?)),
                Some(side) if self.is_due() => Some(Task::Refresh(to_mat(&factor)?, to_mat(&side.basis)?)),
                Some(_) => None,
            };
            factors[dim] = Some(factor);
        }
        let [left, right] = tasks;
        let solved = |task: Option<Task>| task.map(Task::solved).transpose();
        let (left, right) = rayon::join(|| solved(left), || solved(right));
        let mut prepared = [None, None];
        for (dim, (factor, solved)) in factors.into_iter().zip([left?, right?]).enumerate() {
            let Some(factor) = factor else { continue };
            let (basis, order) = match (solved, &self.sides[dim]) {
                (Some((basis, order)), _) => (to_tensor(&basis, &factor)?, order),
                (None, Some(side)) => (side.basis.clone(), None),
                (None, None) => continue,
            };
            prepared[dim] = Some(Prepared { side: Side { factor, basis }, order });
        }
        self.prepared = Some(prepared);
        Ok(())
    }

    fn step(&mut self, weight: &Var, gradient: &Tensor, lr_factor: f64) -> Result<()> {
        if self.prepared.is_none() {
            self.prepare(gradient)?;
        }
        let prepared = self.prepared.take().unwrap_or_default();
        self.gradients += 1;
        if self.gradients > 1 {
            let Soap { beta1, beta2, eps, weight_decay, .. } = self.settings;
            let lr = self.settings.lr * lr_factor;
            let seen = self.projected(&gradient.reshape(self.first.shape())?)?;
            update2(&ScaledAdd { keep: beta1, scale: 1.0 - beta1 }, &self.first, &seen)?;
            update2(&AverageSquare { keep: beta2 }, &self.second, &seen)?;
            let adam = AdamStep { keep: 0.0, step: -1.0, root: 1.0, eps };
            let quotient = overwritten3(&adam, self.first.zeros_like()?, &self.first, &self.second)?;
            let direction = self.projected_back(&quotient)?.reshape(weight.shape())?;
            let t = (self.gradients - 1) as f64;
            let step = lr * (1.0 - beta2.powf(t)).sqrt() / (1.0 - beta1.powf(t));
            let keep = 1.0 - lr * weight_decay;
            update2(&ScaledAdd { keep, scale: -keep * step }, weight, &direction)?;
        }
        // After the update: a gradient is never seen in a basis that it helped to choose.
        self.change_bases(prepared)
    }

    fn state(&self) -> State {
        let mut state =
            State::new().tensor("first", &self.first).tensor("second", &self.second).number("gradients", self.gradients as f64);
        for (side, [factor, basis]) in self.sides.iter().zip(SIDE_NAMES) {
            if let Some(side) = side {
                state = state.tensor(factor, &side.factor).tensor(basis, &side.basis);
            }
        }
        state
    }

    fn restored(&self, state: &mut State) -> Result<Box<dyn Rule>> {
        let first = state.take_like("first", &self.first)?;
        let second = state.take_like("second", &self.second)?;
        let gradients = take_count(state, "gradients")?;
        let mut sides = [None, None];
        for (dim, side) in sides.iter_mut().enumerate() {
            if gradients > 0 && self.has_basis[dim] {
                let size = self.first.dim(dim)?;
                let mut take = |name| {
                    Ok::<_, Error>(state.take_var(name, &(size, size).into(), first.dtype(), first.device())?.into_inner())
                };
                let [factor, basis] = SIDE_NAMES[dim];
                *side = Some(Side { factor: take(factor)?, basis: take(basis)? });
            }
        }
        Ok(Box::new(Self { settings: self.settings, has_basis: self.has_basis, sides, first, second, gradients, prepared: None }))
    }
}

/// Names of the factor and the basis of each side in a state.
const SIDE_NAMES: [[&str; 2]; 2] = [["left", "left_basis"], ["right", "right_basis"]];

/// What is to be computed for one side, on the CPU.
enum Task {
    /// The eigenvectors of a factor.
    Start(Mat<f64>),
    /// One step of orthogonal iteration for a factor from a basis.
    Refresh(Mat<f64>, Mat<f64>),
}

impl Task {
    /// The basis, and which old column each column of a refreshed one came from.
    fn solved(self) -> Result<(Mat<f64>, Option<Vec<u32>>)> {
        match self {
            Self::Start(factor) => {
                // By nonincreasing eigenvalue.
                let vectors = eigh(factor.as_ref())?.vectors;
                let last = vectors.ncols() - 1;
                Ok((Mat::from_fn(last + 1, last + 1, |i, j| vectors[(i, last - j)]), None))
            }
            Self::Refresh(factor, basis) => {
                let (basis, order) = refreshed(&factor, &basis)?;
                Ok((basis, Some(order)))
            }
        }
    }
}

/// One step of orthogonal iteration, and which old column each new one came from.
fn refreshed(factor: &Mat<f64>, basis: &Mat<f64>) -> Result<(Mat<f64>, Vec<u32>)> {
    let size = factor.nrows();
    let mut product = Mat::zeros(size, size);
    faer::linalg::matmul::matmul(product.as_mut(), Accum::Replace, factor.as_ref(), basis.as_ref(), 1.0, Par::Seq);
    if !all_finite(product.as_ref()) {
        return Err(Error::NonFiniteFactor { size });
    }
    let estimates: Vec<f64> = (0..size).map(|j| (0..size).map(|i| basis[(i, j)] * product[(i, j)]).sum()).collect();
    let mut order: Vec<usize> = (0..size).collect();
    order.sort_by(|&i, &j| estimates[j].total_cmp(&estimates[i]));
    let sorted = Mat::from_fn(size, size, |i, j| product[(i, order[j])]);
    let order = order.into_iter().map(|j| u32::try_from(j).expect("a dense factor has fewer than 2³² columns")).collect();
    Ok((thin_q(sorted), order))
}
