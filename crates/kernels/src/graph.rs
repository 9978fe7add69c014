//! The backward pass over a graph of this crate's operations.
//!
//! candle's own makes zeros for each tensor of the graph and adds the gradient to them: two tensors more and several times the
//! memory traffic, where nearly every tensor has one gradient. It also keeps to itself which operation made a tensor. So
//! each operation here is entered in a table when it is applied, and [`backward`] follows candle's order of the graph with
//! the table in its hand. The table keeps nothing alive: an entry ends with its tensor.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, TensorId};

use crate::add;

/// The gradients of a loss by all variables that it depends on: those of candle's `backward`, in less time and memory.
///
/// A graph with any other operation in it goes through candle's `backward` as a whole.
///
/// ```
/// use candle_core::{Device, Var};
/// use isorate_kernels::{affine, backward};
///
/// let w = Var::new(&[[1.0_f32, 2.0]], &Device::Cpu)?;
/// let x = Var::new(&[[3.0_f32, 4.0]], &Device::Cpu)?;
/// let gradients = backward(&affine(&x, &w, None)?)?;
/// assert_eq!(gradients.get(&w).unwrap().to_vec2::<f32>()?, [[3.0, 4.0]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn backward(loss: &Tensor) -> Result<GradStore> {
    let order = loss.sorted_nodes();
    match find(&order) {
        Some(operations) => along(loss, &order, &operations),
        None => loss.backward(),
    }
}

/// `operations` has None for the variables.
fn along(loss: &Tensor, order: &[&Tensor], operations: &[Option<Arc<Applied>>]) -> Result<GradStore> {
    let mut gradients = GradStore::default();
    gradients.insert(loss, loss.ones_like()?);
    for (tensor, operation) in order.iter().zip(operations) {
        let Some(Applied { inputs, gradients: of_inputs }) = operation.as_deref() else { continue };
        // There is none where what follows has no gradient.
        let Some(gradient) = gradients.remove(tensor) else { continue };
        for (input, part) in inputs.iter().zip(of_inputs(inputs, tensor, &gradient)?) {
            // Data lead to no variable.
            if let Some(part) = part.filter(|_| input.track_op()).map(|part| part.detach()) {
                let sum = match gradients.remove(input) {
                    Some(before) => add(&before, &part)?,
                    None => part,
                };
                gradients.insert(input, sum);
            }
        }
    }
    Ok(gradients)
}

/// The gradients of the inputs, from the inputs, the result and the gradient of the result.
type Gradients = dyn Fn(&[Tensor], &Tensor, &Tensor) -> Result<Vec<Option<Tensor>>> + Send + Sync;

/// What an operation was applied to, and its gradients.
struct Applied {
    inputs: Vec<Tensor>,
    gradients: Box<Gradients>,
}

/// The operation as it stands in candle's graph. The entry in the table ends with it.
struct Entered<O> {
    op: Arc<O>,
    _applied: Arc<Applied>,
}

/// Applies an operation as candle's `apply_op1` does, so that [`backward`] knows of it.
pub(crate) fn apply1<O: CustomOp1 + Send + Sync + 'static>(x: &Tensor, op: O) -> Result<Tensor> {
    let (op, bwd) = twice(op);
    let gradients = move |x: &[Tensor], y: &Tensor, g: &Tensor| Ok(vec![bwd.bwd(&x[0], y, g)?]);
    enter(&[x], op, gradients, |op| x.apply_op1(op))
}

/// [`apply1`] for two inputs.
pub(crate) fn apply2<O: CustomOp2 + Send + Sync + 'static>(a: &Tensor, b: &Tensor, op: O) -> Result<Tensor> {
    let (op, bwd) = twice(op);
    let gradients = move |x: &[Tensor], y: &Tensor, g: &Tensor| bwd.bwd(&x[0], &x[1], y, g).map(|(a, b)| vec![a, b]);
    enter(&[a, b], op, gradients, |op| a.apply_op2(b, op))
}

/// [`apply1`] for three inputs.
pub(crate) fn apply3<O: CustomOp3 + Send + Sync + 'static>(a: &Tensor, b: &Tensor, c: &Tensor, op: O) -> Result<Tensor> {
    let (op, bwd) = twice(op);
    let gradients = move |x: &[Tensor], y: &Tensor, g: &Tensor| bwd.bwd(&x[0], &x[1], &x[2], y, g).map(|(a, b, c)| vec![a, b, c]);
    enter(&[a, b, c], op, gradients, |op| a.apply_op3(b, c, op))
}

fn twice<O>(op: O) -> (Arc<O>, Arc<O>) {
    let op = Arc::new(op);
    (op.clone(), op)
}

fn enter<O>(
    inputs: &[&Tensor],
    op: Arc<O>,
    gradients: impl Fn(&[Tensor], &Tensor, &Tensor) -> Result<Vec<Option<Tensor>>> + Send + Sync + 'static,
    apply: impl FnOnce(Entered<O>) -> Result<Tensor>,
) -> Result<Tensor> {
    let applied = Arc::new(Applied { inputs: inputs.iter().map(|&x| x.clone()).collect(), gradients: Box::new(gradients) });
    let entry = Arc::downgrade(&applied);
    let y = apply(Entered { op, _applied: applied })?;
    // candle drops the operation of a tensor that leads to no variable.
    if y.track_op() {
        let mut table = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
        if table.entries.len() >= table.full {
            table.entries.retain(|_, entry| entry.strong_count() > 0);
            table.full = (2 * table.entries.len()).max(Table::LEAST);
        }
        table.entries.insert(y.id(), entry);
    }
    Ok(y)
}

impl<O: CustomOp1> CustomOp1 for Entered<O> {
    fn name(&self) -> &'static str {
        self.op.name()
    }

    fn cpu_fwd(&self, s: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        self.op.cpu_fwd(s, l)
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        self.op.bwd(x, y, g)
    }
}

impl<O: CustomOp2> CustomOp2 for Entered<O> {
    fn name(&self) -> &'static str {
        self.op.name()
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        self.op.cpu_fwd(s1, l1, s2, l2)
    }

    fn bwd(&self, a: &Tensor, b: &Tensor, y: &Tensor, g: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        self.op.bwd(a, b, y, g)
    }
}

impl<O: CustomOp3> CustomOp3 for Entered<O> {
    fn name(&self) -> &'static str {
        self.op.name()
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.op.cpu_fwd(s1, l1, s2, l2, s3, l3)
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        c: &Tensor,
        y: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        self.op.bwd(a, b, c, y, g)
    }
}

/// The operations that made the tensors which still exist. Entries of others are swept out when it is full.
struct Table {
    entries: HashMap<TensorId, Weak<Applied>>,
    full: usize,
}

impl Table {
    /// More than the tensors of most networks.
    const LEAST: usize = 1 << 10;
}

static TABLE: LazyLock<Mutex<Table>> = LazyLock::new(|| Mutex::new(Table { entries: HashMap::new(), full: Table::LEAST }));

/// For each tensor that is no variable the operation that made it; None if that of any is not known.
fn find(order: &[&Tensor]) -> Option<Vec<Option<Arc<Applied>>>> {
    let table = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
    let operation = |tensor: &&Tensor| table.entries.get(&tensor.id()).and_then(Weak::upgrade);
    order.iter().map(|tensor| if tensor.is_variable() { Some(None) } else { operation(tensor).map(Some) }).collect()
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;
    use crate::{affine, relu};

    fn var(shape: &[usize], seed: usize) -> Var {
        let values: Vec<f32> = (0..shape.iter().product()).map(|i| ((i * i + 7 * i + seed) as f32).sin()).collect();
        Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap()
    }

    fn values(tensor: Option<&Tensor>) -> Vec<f32> {
        tensor.unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    /// A network with a branch, a variable that is used twice, and data; the loss is a sum of one row.
    fn loss(x: &Tensor, w: &Var, b: &Var, last: &Var) -> Tensor {
        let first = affine(x, w, Some(b)).unwrap();
        let second = affine(&relu(&first).unwrap(), w, None).unwrap();
        affine(&add(&first, &second).unwrap(), last, None).unwrap()
    }

    #[test]
    fn the_gradients_are_those_of_candle() {
        let (w, b, last) = (var(&[5, 5], 1), var(&[5], 2), var(&[1, 5], 3));
        let (data, input) = (var(&[1, 5], 4).as_detached_tensor(), var(&[1, 5], 4));
        for x in [&data, input.as_tensor()] {
            let loss = loss(x, &w, &b, &last);
            let operations = find(&loss.sorted_nodes()).expect("all operations are known");
            assert_eq!(operations.iter().flatten().count(), 5);
            let (ours, theirs) = (backward(&loss).unwrap(), loss.backward().unwrap());
            for var in [&w, &b, &last] {
                assert_eq!(values(ours.get(var)), values(theirs.get(var)));
            }
            assert_eq!(ours.get(x).is_some(), x.is_variable());
            // Only the gradients of variables stay.
            assert_eq!(ours.get_ids().count(), 3 + usize::from(x.is_variable()));
        }
    }

    #[test]
    fn other_operations_go_through_candle() {
        let (w, x) = (var(&[1, 4], 1), var(&[1, 4], 2));
        let loss = affine(&x.sqr().unwrap(), &w, None).unwrap();
        assert!(find(&loss.sorted_nodes()).is_none());
        let gradients = backward(&loss).unwrap();
        let expected: Vec<f32> = values(Some(&w)).iter().zip(values(Some(&x))).map(|(w, x)| 2.0 * x * w).collect();
        assert_eq!(values(gradients.get(&x)), expected);
    }

    #[test]
    fn entries_end_with_their_tensors() {
        let alive = |id: TensorId| {
            let table = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
            table.entries.get(&id).is_some_and(|entry| entry.strong_count() > 0)
        };
        let (w, x) = (var(&[3, 3], 1), var(&[1, 3], 2));
        let y = affine(&x, &w, None).unwrap();
        let z = relu(&y).unwrap();
        let (y_id, z_id) = (y.id(), z.id());
        drop(y);
        assert!(alive(y_id) && alive(z_id), "z needs y");
        drop(z);
        assert!(!alive(y_id) && !alive(z_id));
        // What leads to no variable is not entered, and the table is swept.
        assert!(!alive(relu(&x.as_detached_tensor()).unwrap().id()));
        for _ in 0..3 * Table::LEAST {
            relu(&x).unwrap();
        }
        assert!(TABLE.lock().unwrap_or_else(PoisonError::into_inner).entries.len() <= Table::LEAST + 100);
    }
}
