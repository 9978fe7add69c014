//! The spectrum of the moments of Colored-MNIST, and which components read the colour:
//!
//! ```text
//! cargo run --release -p isorate-data --example spectrum -- [CORRELATION]
//! ```

#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use std::error::Error;
use std::time::Instant;

use isorate_data::{Centering, ColorLaw, LabelledFeatures, Moments, Split, colorize, mnist, variance_shares};

fn main() -> Result<(), Box<dyn Error>> {
    let correlation = std::env::args().nth(1).map_or(Ok(0.99), |text| text.parse())?;
    let start = Instant::now();
    let (train, test) = (mnist().load(Split::Train)?, mnist().load(Split::Test)?);
    println!("loading {} + {} images: {:.2?}", train.len(), test.len(), start.elapsed());

    let start = Instant::now();
    let train = colorize(&train, &ColorLaw::correlated(correlation), 1, "train")?;
    let test = colorize(&test, &ColorLaw::UNIFORM, 1, "test")?;
    println!("colouring: {:.2?}", start.elapsed());

    let view = LabelledFeatures::new(train.pixels(), train.dim(), train.labels(), train.classes())?;
    let balanced = LabelledFeatures::new(test.pixels(), test.dim(), test.labels(), test.classes())?;
    for centering in [Centering::Raw, Centering::Centered] {
        let start = Instant::now();
        let moments = Moments::new(&view, centering)?;
        println!("\n{centering:?} moments of {} × {}: {:.2?}", view.len(), view.dim(), start.elapsed());
        let shares = variance_shares(&balanced, test.colors(), test.color_count(), moments.right_vectors())?;
        println!("  c      s_yx      s_xx     s_yx/s_xx   digit  colour  interaction  within");
        for (c, ((s_yx, s_xx), s)) in moments.s_yx().iter().zip(moments.s_xx()).zip(&shares).enumerate() {
            println!(
                "{c:3}  {s_yx:8.5}  {s_xx:8.4}  {:10.5}  {:6.3}  {:6.3}  {:11.3}  {:6.3}",
                s_yx / s_xx,
                s.class,
                s.attribute,
                s.interaction,
                s.within
            );
        }
        println!(
            "residual {:.4} (components among themselves {:.4}); components hold {:.3} of the second moment",
            moments.residual(),
            moments.block_residual(),
            moments.s_xx().iter().sum::<f64>() / moments.trace()
        );
        let start = Instant::now();
        let eigenvalues = moments.eigenvalues()?;
        println!("eigenvalues of Σ_xx in {:.2?}: {:.4?} …", start.elapsed(), &eigenvalues[..12]);
    }
    Ok(())
}
