use std::fmt::Write as _;

use isorate_optim::replay_on;

use super::open;
use crate::args::Replay;
use crate::{Verdict, output};

pub fn run(arguments: &Replay) -> anyhow::Result<Verdict> {
    // All are read before any verdict is printed: a file that cannot be replayed is wrong input, not a failed check.
    let device = open(arguments.device).device;
    let replays = arguments.files.iter().map(|file| replay_on(file, &device)).collect::<Result<Vec<_>, _>>()?;
    let (mut text, mut failed) = (String::new(), 0);
    for replay in &replays {
        let tolerance = arguments.tol.unwrap_or(replay.tolerance);
        writeln!(text, "{} {:.3e}", replay.file.display(), replay.max_abs_diff)?;
        if replay.basis_from_reference {
            output::message(&format!(
                "{}: SOAP leaves the basis of a null space open; the reference's was taken from w.2",
                replay.file.display()
            ));
        }
        // A difference that is not a number fails.
        if replay.max_abs_diff > tolerance || replay.max_abs_diff.is_nan() {
            failed += 1;
            output::message(&format!(
                "{}: differs by {:.3e} at step {}, more than {tolerance:e}",
                replay.file.display(),
                replay.max_abs_diff,
                replay.worst_step
            ));
        }
    }
    output::data(&text)?;
    Ok(if failed == 0 { Verdict::Passed } else { Verdict::Failed })
}
